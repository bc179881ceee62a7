#!/usr/bin/env bash
# Paths, methods, parameters, status codes and headers: as a Go server's where tools depend on it, and
# weft's own rules for who may ask.
# runs beside others
# shellcheck source=../lib/e2e.sh
. "$(dirname "$0")/../lib/e2e.sh"
need_plugins parked burn
config '{ "http": { "allowed_hosts": ["weft.example"], "max_profile_seconds": 100 }, "instances": [ { "name": "crowd",
	"plugin": "parked.so", "config": { "receiving": 6, "sending": 3, "locking": 2, "sleeping": 1 } } ] }'
weftd_start
check "all are started" wait_until 10 logged 'all started'
gooracle_start

# What the last answer says, without what may differ: Date, how the length is given (after HEAD: whether
# it is), headers that only forbid browsers something, and X-Go-Pprof on 405, which Go's router does not
# know of. -s keeps those in: the text forms have exactly Go's set.
signature() {
	local drop='^(date|connection)$'
	case $* in
	*-s*) ;;
	*-I*) drop='^(date|connection|length|cache-control|cross-origin-resource-policy|x-frame-options|content-security-policy)$' ;;
	*) drop='^(date|connection|cache-control|cross-origin-resource-policy|x-frame-options|content-security-policy)$' ;;
	esac
	[ "$CODE" != 405 ] || drop="${drop%)$}|x-go-pprof)\$"
	printf '%s' "$CODE"
	awk -v drop="$drop" 'NR > 1 && /:/ { sub(/\r$/, ""); at = index($0, ":"); name = tolower(substr($0, 1, at - 1))
		value = substr($0, at + 1); sub(/^[ \t]*/, "", value)
		if (name == "content-length" || name == "transfer-encoding") { name = "length"; value = "given" }
		if (name !~ drop) print name "=" value }' "$HEAD" | sort -u | while read -r line; do printf ' | %s' "$line"; done
}

# same WHAT PATH [CURL ARGS]: both servers answer alike.
same() {
	local strict='' theirs
	case $1 in text*) strict=-s ;; esac
	get_from "$GO_URL" "${@:2}"
	theirs=$(signature $strict "${@:3}")
	get "${@:2}"
	eq "$1 ($2)" "$(signature $strict "${@:3}")" "$theirs"
	[ "$CODE" != 405 ] || eq "$1: X-Go-Pprof" "$(header X-Go-Pprof)" 1
}

P=/debug/pprof
get $P # newer Go says 307
match "no slash redirects" "$CODE" '^30[17]$'
eq "no slash redirects to" "$(header Location)" $P/
same "index" $P/
same "profile of goroutines" $P/goroutine
same "text 1" "$P/goroutine?debug=1"
same "text 2" "$P/goroutine?debug=2"
same "text 3 is text 2" "$P/goroutine?debug=3"
same "a negative debug is text" "$P/goroutine?debug=-1"
same "debug that is no number is 0" "$P/goroutine?debug=abc"
same "the first value of a repeated key wins" "$P/goroutine?debug=1&debug=0"
same "unknown keys are ignored" "$P/goroutine?debug=1&colour=blue"
same "empty seconds are absent" "$P/goroutine?seconds="
same "seconds that are no number" "$P/goroutine?seconds=abc"
same "seconds that are no integer" "$P/goroutine?seconds=1.5"
same "seconds below 1" "$P/goroutine?seconds=0"
same "seconds with text 1" "$P/goroutine?debug=1&seconds=1"
same "seconds with text 2" "$P/goroutine?debug=2&seconds=1"
same "an unknown profile" $P/nothing
same "an unknown profile wins over bad seconds" "$P/nothing?seconds=abc"
same "a slash behind" $P/goroutine/
same "a slash behind profile" $P/profile/
same "a name with markup" "$P/%3Cscript%3E"
same "cmdline" $P/cmdline
same "cmdline ignores parameters" "$P/cmdline?debug=1&seconds=abc"
same "symbol" $P/symbol
same "CPU profile" "$P/profile?seconds=1"
same "compression is not offered" $P/goroutine -H 'Accept-Encoding: gzip'
for method in POST PUT DELETE OPTIONS; do
	same "$method on goroutine" $P/goroutine -X "$method"
	same "$method on the index" $P/ -X "$method"
done
same "HEAD on the index" $P/ -I
same "HEAD on goroutine" $P/goroutine -I
same "HEAD on the text" "$P/goroutine?debug=2" -I
same "HEAD on cmdline" $P/cmdline -I

# The 404 line is compared by tools; others are free but are one line.
get_from "$GO_URL" $P/nothing
theirs=$(cat "$BODY")
get $P/nothing
eq "the text of an unknown profile" "$(cat "$BODY")" "$theirs"
for path in "$P/goroutine?seconds=abc" $P/nothing; do
	get "$path"
	eq "one line with its newline ($path)" "$(wc -l <"$BODY")" 1
	eq "X-Go-Pprof on errors ($path)" "$(header X-Go-Pprof)" 1
done

# HEAD collects nothing.
start=$(now_ms)
get "$P/profile?seconds=30" -I
eq "HEAD on profile" "$CODE" 200
between "HEAD on profile does not collect, ms" $(($(now_ms) - start)) 0 $((1000 * E2E_SLOW))

# The index and the command line.
get $P/
for name in goroutine cmdline profile; do
	match "the index links $name" "$(cat "$BODY")" "href=[\"']$name"
done
match "the index links the full dump" "$(cat "$BODY")" "href=[\"']goroutine\\?debug=2"
no_match "the index does not list symbol" "$(cat "$BODY")" "href=[\"']symbol"
get $P/cmdline
eq "cmdline is argv joined by NUL" "$(tr '\0' ' ' <"$BODY")" "$WEFTD --config $CONFIG"

# Durations.
for bad in 101 9223372036854775807 18446744073709551616 99999999999999999999999; do
	get "$P/profile?seconds=$bad"
	eq "seconds=$bad is refused" "$CODE" 400
	eq "seconds=$bad: X-Go-Pprof" "$(header X-Go-Pprof)" 1
done

# Everything else that serves.
for path in /healthz /readyz /version /metrics; do
	get $path
	eq "$path answers" "$CODE" 200
	eq "$path: nosniff" "$(header X-Content-Type-Options)" nosniff
	get $path -X DELETE
	eq "$path: other methods are refused" "$CODE" 405
	match "$path: Allow" "$(header Allow)" 'GET'
done
get /metrics
eq "/metrics: its type" "$(header Content-Type)" "text/plain; version=0.0.4; charset=utf-8"
get /version
match "/version says the version of --version" "$(cat "$BODY")" "$("$WEFTD" --version | awk '{ print $2; exit }')"
get /nowhere
eq "elsewhere: 404" "$CODE" 404

# Who may ask.
allowed() { get "$P/goroutine?debug=1" "${@:2}"; eq "allowed: $1" "$CODE" 200; }
refused() {
	get "$P/goroutine?debug=1" "${@:2}"
	match "refused: $1" "$CODE" '^(403|421|400)'
	no_match "refused: $1: no goroutines in the answer" "$(cat "$BODY")" 'goroutine profile'
	[ "${CODE%% *}" = 400 ] || eq "refused: $1: X-Go-Pprof" "$(header X-Go-Pprof)" 1
}
allowed "localhost" -H "Host: localhost:$PORT"
allowed "an address" -H 'Host: 192.0.2.7'
allowed "an IPv6 address" -H 'Host: [::1]:6060'
allowed "a configured name" -H 'Host: weft.example'
refused "another name" -H 'Host: evil.example'
refused "a name that only begins like an address" -H 'Host: 127.0.0.1.evil.example'
refused "a name that only ends like a configured one" -H 'Host: notweft.example'
refused "a page of another site" -H 'Sec-Fetch-Site: cross-site'
refused "a page of a sister site" -H 'Sec-Fetch-Site: same-site'
refused "a foreign origin" -H 'Origin: http://evil.example'
allowed "a page of ours" -H 'Sec-Fetch-Site: same-origin'
allowed "typed by hand" -H 'Sec-Fetch-Site: none'
allowed "our own origin" -H "Origin: $URL"

# raw TEXT: the first line of the answer to these bytes, sent in one piece.
raw() {
	printf '%b' "$1" >"$T/raw"
	exec 9<>"/dev/tcp/127.0.0.1/$PORT" || return
	cat "$T/raw" >&9
	IFS= read -r -t 10 line <&9
	exec 9>&-
	printf '%s' "${line%$'\r'}"
}
match "two Host headers are refused" "$(raw 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n')" ' 400| 403'
match "no Host header is refused" "$(raw 'GET /healthz HTTP/1.1\r\n\r\n')" ' 400'
match "a chunked body is refused" "$(raw 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n')" ' 4[0-9][0-9]| 501'
match "a body where none belongs is refused" "$(raw 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc')" ' 4[0-9][0-9]'
match "an absolute target is understood" "$(raw 'GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n')" ' 200'
match "HTTP/1.0 is served" "$(raw 'GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n')" ' 200'

# Refusals of what can't be read as a request have the headers of every other.
letters() { head -c "$1" /dev/zero | tr '\0' a; }
# refused_whole WHAT TEXT STATUS: these bytes are answered so, and the connection is closed.
refused_whole() {
	printf '%b' "$2" >"$T/raw"
	exec 9<>"/dev/tcp/127.0.0.1/$PORT" || return
	cat "$T/raw" >&9
	timeout 10 cat <&9 >"$HEAD"
	exec 9>&-
	sed '1,/^\r$/d' "$HEAD" >"$BODY"
	sed -i '/^\r$/q' "$HEAD"
	match "$1: status" "$(head -n 1 "$HEAD")" "^HTTP/1\\.1 $3 "
	eq "$1: nosniff" "$(header X-Content-Type-Options)" nosniff
	eq "$1: text" "$(header Content-Type)" 'text/plain; charset=utf-8'
	eq "$1: X-Go-Pprof" "$(header X-Go-Pprof)" 1
	eq "$1: one line" "$(wc -l <"$BODY")" 1
}
for size in 16385 30000; do
	refused_whole "a target of $size bytes" "GET /$(letters $((size - 1))) HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n" 414
done
for size in 33000 60000; do
	refused_whole "$size bytes of headers" "GET /healthz HTTP/1.1\\r\\nHost: localhost\\r\\nX: $(letters "$size")\\r\\n\\r\\n" 431
done
refused_whole "many headers" "GET /healthz HTTP/1.1\\r\\nHost: localhost\\r\\n$(yes "X: $(letters 95)\\r\\n" | head -n 340 | tr -d '\n')\\r\\n" 431
refused_whole "no Host header" 'GET /healthz HTTP/1.1\r\n\r\n' 400
refused_whole "two Host headers" 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n' 400
refused_whole "a chunked body" 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n' 501
refused_whole "a space in the target" 'GET /health z HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' 400
match "a target just short enough is looked for" "$(raw "GET /$(letters 16383) HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")" ' 404'
match "headers just short enough are read" "$(raw "GET /healthz HTTP/1.1\\r\\nHost: localhost\\r\\nCookie: $(letters 32000)\\r\\n\\r\\n")" ' 200'
# What does not fit into a connection's memory, or is no HTTP, the library refuses in its own way.
match "a target larger than the memory" "$(raw "GET /$(letters 200000) HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")" '^HTTP/1\.1 414 |^$'
match "headers larger than the memory" "$(raw "GET /healthz HTTP/1.1\\r\\nHost: localhost\\r\\nX: $(letters 200000)\\r\\n\\r\\n")" '^HTTP/1\.1 431 |^$'
match "a header without a colon" "$(raw 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nnonsense\r\n\r\n')" '^HTTP/1\.1 400 '
get /healthz
eq "and it still serves" "$CODE" 200
weftd_stop

# Each endpoint that tells something has a switch; /healthz, /readyz and /version always answer.
# switched NAME JSON: weftd with these endpoints; then off PATH KEY, on PATH.
switched() {
	config "{ \"http\": $2, \"instances\": [ { \"name\": \"crowd\", \"plugin\": \"parked.so\", \"config\": {
		\"receiving\": 1 } } ] }"
	WHAT=$1
	weftd_start
	for path in /healthz /readyz /version; do
		get $path
		eq "$WHAT: $path" "$CODE" 200
	done
}
off() {
	get "$1" "${@:3}"
	eq "$WHAT: $1 ${*:3} is switched off" "$CODE $(cat "$BODY")" "403 switched off: http.endpoints.$2 is false"
	eq "$WHAT: $1 ${*:3}: X-Go-Pprof, nosniff" "$(header X-Go-Pprof) $(header X-Content-Type-Options)" "1 nosniff"
}
on() {
	get "$1" "${@:2}"
	eq "$WHAT: $1 ${*:2} is served" "$CODE" 200
}
switched "no metrics" '{ "endpoints": { "metrics": false } }'
off /metrics metrics
get /metrics -I
eq "no metrics: HEAD" "$CODE" 403
on $P/
no_match "no metrics: no link to them" "$(cat "$BODY")" 'href="/metrics"'
match "the full dump is still linked" "$(cat "$BODY")" 'debug=2'
on $P/cmdline
has_not "no metrics: the log does not promise them" "$LOG" 'listening.*/metrics'
weftd_stop
switched "no pprof" '{ "endpoints": { "pprof": false } }'
for path in $P $P/ $P/goroutine "$P/goroutine?debug=2" "$P/profile?seconds=1" $P/cmdline $P/symbol; do off "$path" pprof; done
off $P/symbol pprof --data 0x1
on /metrics
has_not "no pprof: the log does not promise it" "$LOG" 'listening.*/debug/pprof'
weftd_stop
switched "no details" '{ "endpoints": { "cmdline": false, "symbol": false, "dump": false } }'
off $P/cmdline cmdline
off $P/symbol symbol
off $P/symbol symbol --data 0x1
off "$P/goroutine?debug=2" dump
off "$P/goroutine?debug=77" dump
on $P/goroutine
on "$P/goroutine?debug=1"
on "$P/profile?seconds=1"
on /metrics
on $P/
match "no details: the index links what there is" "$(cat "$BODY")" 'href="goroutine\?debug=1"'
no_match "no details: and nothing else" "$(cat "$BODY")" 'href="cmdline|href="goroutine\?debug=2|>cmdline<'
weftd_stop

# Without labels a profile knows instances and threads only.
labels() {
	config "{ \"http\": { \"labels\": $1 }, \"instances\": [ { \"name\": \"crowd\", \"plugin\": \"parked.so\", \"config\": {
		\"receiving\": 1 } }, { \"name\": \"fire\", \"plugin\": \"burn.so\" } ] }"
	WHAT="labels $1"
	weftd_start
	check "$WHAT: all are started" wait_until 10 logged 'all started'
	on "$P/goroutine?debug=1"
	has "$WHAT: debug=1 has the instance" "$BODY" '# labels: .*"instance":"crowd"'
	"$2" "$WHAT: debug=1 and the goroutine's labels" "$BODY" '# labels: .*"kind":"receiving"'
	on $P/goroutine
	gzip -dc <"$BODY" >"$T/profile" # a string of its table has its length before it
	has "$WHAT: the profile has the instance" "$T/profile" 'crowd'
	"$2" "$WHAT: the profile and the goroutine's labels" "$T/profile" $'\004kind'
	on "$P/profile?seconds=1"
	gzip -dc <"$BODY" >"$T/profile"
	has "$WHAT: the CPU profile has the instance" "$T/profile" 'fire'
	"$2" "$WHAT: the CPU profile and the goroutine's labels" "$T/profile" $'\004part'
	weftd_stop
}
labels true has
labels false has_not

# Other listeners: a Unix socket (any Host), none at all, an occupied port.
config "{ \"http\": { \"listen\": [\"unix:$T/debug.sock\"] } }"
weftd_spawn
over_unix() { [ "$(curl -s -o "$BODY" -w '%{http_code}' --unix-socket "$T/debug.sock" http://any.example/healthz)" = 200 ]; }
check "a Unix socket serves, whatever the Host" wait_until 10 over_unix
eq "a Unix socket is not for everybody" "$(stat -c %a "$T/debug.sock" | tail -c 2)" 0
weftd_stop
check "the Unix socket is removed" test ! -e "$T/debug.sock"

config '{ "http": { "listen": ["127.0.0.1:0"] } }'
weftd_start
first=$PID
config "{ \"http\": { \"listen\": [\"127.0.0.1:$PORT\"] } }"
weftd_run --config "$CONFIG"
check "an occupied port: it does not start ($STATUS)" test "$STATUS" -ne 0
match "an occupied port: the listener is named" "$ERR" "127\\.0\\.0\\.1:$PORT"
PID=$first
weftd_stop
finish
