#!/usr/bin/env bash
# The bundled plugin gateway: what it answers, also to clients that are slow, rude or wrong; and that its tasks,
# regions, labels, profile and metrics are seen where its head says.
# runs beside others
# shellcheck source=../lib/e2e.sh
. "$(dirname "$0")/../lib/e2e.sh"

gateway() { printf '{ "name": "%s", "plugin": "gateway.so", "config": { "listen": "127.0.0.1:0", %s } }' "$@"; }
servers() { config "$(jq -n --argjson mine "[ $1 ]" --arg path "$B/plugins" '{ plugins: { path: $path }, instances: $mine }')"; }
servers "$(gateway busy '"visitors": 4, "pause": "5ms", "idle": "300ms"'),
	$(gateway strict '"visitors": 0, "token": "tell", "backend": "400ms", "timeout": "100ms", "sessions": 5, "idle": "1m"')"
weftd_start_servers
BUSY=$(port_of '\[busy [0-9]+\] gateway on 127.0.0.1')
STRICT=$(port_of '\[strict [0-9]+\] gateway on 127.0.0.1')

# ask PORT PATH [CURL ARGS]
ask() { get_from "http://127.0.0.1:$1" "$2" "${@:3}"; }
# say PORT TEXT: a connection of its own, with that in it; what comes back.
say() {
	local fd
	exec {fd}<>"/dev/tcp/127.0.0.1/$1"
	printf '%b' "$2" >&"$fd"
	timeout $((10 * E2E_SLOW)) cat <&"$fd"
	exec {fd}>&-
}
metric() { # PORT NAME
	ask "$1" /metrics -H 'Authorization: Bearer tell'
	awk -v m="$2" '{ at = match($0, / [^ ]*$/); if (substr($0, 1, at - 1) == m) print substr($0, at + 1) }' "$BODY"
}

# What it answers
ask "$BUSY" /item/7
eq "an item: status" "$CODE" 200
match "an item" "$(head -n 1 "$BODY")" '^item 7 costs [1-9][0-9]*$'
price=$(head -n 1 "$BODY")
ask "$BUSY" '/item/7?again'
eq "it costs the same in the cache" "$(head -n 1 "$BODY")" "$price"
ask "$BUSY" /report
eq "a report: status" "$CODE" 200
eq "a report: items" "$(grep -cE '^item 100[0-3] costs [1-9][0-9]*$' "$BODY")" 4
for path in / /items /item/ /item/x /item/7x /reports; do
	ask "$BUSY" "$path"
	eq "$path is not there" "$CODE" 404
done
ask "$STRICT" /item/7
eq "without its token" "$CODE" 401
ask "$STRICT" /item/7 -H 'Authorization: Bearer tel'
eq "with another" "$CODE" 401
for path in /item/7 /report; do
	ask "$STRICT" "$path" -H 'authorization: Bearer tell'
	eq "$path with it, and a backend that is too slow" "$CODE" 504
done

# Clients that are wrong, slow or rude
for text in 'rubbish' 'GET /item/7' 'GET /item/7 FTP/1.1' ' '; do
	match "\"$text\" is no request" "$(say "$BUSY" "$text\r\n\r\n")" '^HTTP/1\.1 400 '
done
ask "$BUSY" /item/7 -H "X: $(printf '%05000d' 0)"
eq "a head too long" "$CODE" 431
match "one that does not go on" "$(say "$BUSY" 'GET /item/7 HT')" '^HTTP/1\.1 408 '
match "one that says nothing" "$(say "$BUSY" '')" '^HTTP/1\.1 408 '
hung_up() { [ "$(metric "$BUSY" gateway_hung_up_total)" -gt "$before" ]; }
before=$(metric "$BUSY" gateway_hung_up_total)
exec 5<>"/dev/tcp/127.0.0.1/$BUSY"
printf 'GET /item' >&5
exec 5>&-
check "one that hangs up is counted" wait_until 10 hung_up

# Its profile: connections that are open, and no more of them than it may have
exec 5<>"/dev/tcp/127.0.0.1/$STRICT" 6<>"/dev/tcp/127.0.0.1/$STRICT" 7<>"/dev/tcp/127.0.0.1/$STRICT"
sessions() { get '/debug/pprof/strict.sessions?debug=1' && grep -qx "strict.sessions profile: total $1" "$BODY"; }
check "three connections are three sessions" wait_until 10 sessions 3
has "by the function that serves them" "$BODY" '^#	0x[0-9a-f]+	serve\+0x'
has "with its labels" "$BODY" '^# labels: \{"instance":"strict", "role":"session"\}'
eq "the gauge says so, and counts who asks" "$(metric "$STRICT" gateway_sessions)" 4
exec 8<>"/dev/tcp/127.0.0.1/$STRICT" 9<>"/dev/tcp/127.0.0.1/$STRICT"
check "five are all it takes" wait_until 10 sessions 5
ask "$STRICT" /metrics -m 0.3
match "a sixth has to wait" "$CODE" '^000 '
exec 8>&- 9>&-
ask "$STRICT" /metrics
eq "for one that leaves" "$CODE" 401
check "they are gone from the profile" wait_until 10 sessions 3

# Its metrics
ask "$BUSY" /metrics
cp "$BODY" "$T/metrics"
if command -v promtool >/dev/null; then
	check "promtool finds nothing" promtool check metrics <"$T/metrics"
fi
for code in 200 404; do
	has "answers with $code" "$T/metrics" "^gateway_requests_total\\{route=\"[^\"]+\",code=\"$code\"\\} [1-9]"
done
has "hits" "$T/metrics" '^gateway_cache_lookups_total\{result="hit"\} [1-9]'
has "misses" "$T/metrics" '^gateway_cache_lookups_total\{result="miss"\} [1-9]'
has "times" "$T/metrics" '^gateway_request_seconds_bucket\{le="0.01"\} [1-9]'

# Labels, in profiles
get '/debug/pprof/goroutine?debug=1'
for role in session visitor; do
	has "goroutines: role=$role" "$BODY" "^# labels: \\{.*\"role\":\"$role\""
done
curl -s -o "$T/reports" "http://127.0.0.1:$BUSY/report?[1-100000]" &
STARTED+=("$!")
get '/debug/pprof/profile?seconds=1'
cp "$BODY" "$T/cpu.pb.gz"
get '/debug/pprof/trace?seconds=1'
cp "$BODY" "$T/trace"
kill "${STARTED[-1]}"
if command -v go >/dev/null; then
	eq "CPU time of a route" "$(pprof -top -tagfocus='route=GET /report' "$T/cpu.pb.gz" | awk '$6 == "seal" { print $6 }')" seal
fi

# Tasks, regions and log lines, in the viewer of traces
if command -v go >/dev/null; then
	viewer "$T/trace"
	for task in 'GET /item/' 'GET /report' 'part of a report'; do
		page /usertasks "$task"
	done
	page '/usertask?type=part+of+a+report' 'item 1000: (hit|miss)'
	for region in parse auth cache backend render reply; do
		page /userregions "$region"
	done
	for function in serve look_up_part; do
		page "/goroutine?name=$function" 'Block time \(network\)'
	done
fi

# Stopping calls everybody off, also those who wait for a client.
weftd_stop
has_not "nobody is late" "$LOG" 'still|late|not ended'

# Instances that cannot be
servers "$(gateway one '"sessions": 1'), $(gateway two '"sessions": 1')"
jq ".instances[].config.listen = \"127.0.0.1:$BUSY\"" "$CONFIG" >"$CONFIG.same"
weftd_run --config "$CONFIG.same"
eq "a port that another has" "$STATUS" 78
match "is named" "$ERR" "\[two [0-9]+\] listen: cannot listen on 127.0.0.1:$BUSY: Address already in use"
finish
