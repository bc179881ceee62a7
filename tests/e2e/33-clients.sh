#!/usr/bin/env bash
# Clients that leave, that are too many, and that are still waiting when the daemon stops.
# runs beside others
# shellcheck source=../lib/e2e.sh
. "$(dirname "$0")/../lib/e2e.sh"
need_plugins burn parked

# leave HOW PATH: a client that asks for a long profile and goes, closing (or resetting, or half-closing). Prints after
# how many ms what it had asked for was over: the sampler's timers or the raised rate, and its place among collections.
leave() {
	python3 - "$PORT" "$PID" $((3 * E2E_SLOW)) "$@" <<-'EOF'
		import os, socket, struct, sys, time, urllib.request
		port, pid, patience, how, path = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), *sys.argv[4:]
		timers = f"/proc/{pid}/timers"
		def page(path):
		    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
		        return answer.read().decode()
		def on():
		    if "/profile?" not in path:
		        name, query = path.split("?")
		        return f": {query.split('&')[0].split('=')[1]}\n" in page(name + "?debug=1")  # the rate that holds
		    if os.path.exists(timers) and "signal: 27/" not in open(timers).read():
		        return False
		    return "\nweft_http_cpu_sessions 1\n" in page("/metrics")
		def over():
		    return not on() and "\nweft_http_collections 0\n" in page("/metrics")
		def await_(what):
		    start = time.monotonic()
		    while not what() and time.monotonic() - start < patience:
		        time.sleep(0.01)
		    return time.monotonic() - start
		s = socket.create_connection(("127.0.0.1", port))
		s.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
		await_(on)
		if not on():
		    sys.exit(1)
		if how == "reset":
		    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
		if how == "half":
		    s.shutdown(socket.SHUT_WR)
		else:
		    s.close()
		print(int(await_(over) * 1000))
	EOF
}

# soon HOW PATH: the same in time. The machine may be busy with other things for a moment: one attempt of a few does.
soon() {
	local ms=''
	for _ in 1 2 3 4; do
		ms=$(leave "$@") && [ "$ms" -le $((500 * E2E_SLOW)) ] && break
	done
	between "$1: the client of $2 gone, in ms" "$ms" 0 $((500 * E2E_SLOW))
}

config '{ "http": { "max_collections": 1 }, "instances": [ { "name": "burn", "plugin": "burn.so" } ] }'
weftd_start
free() { get '/debug/pprof/profile?seconds=1'; [ "$CODE" = 200 ]; }

long=
full() {
	# Either of the two may be the first to be served; a long one that came second is sent again.
	if [ -z "$long" ] || gone "$long"; then
		curl -s -m 60 -o "$T/long" "$URL/debug/pprof/profile?seconds=30" &
		long=$!
		STARTED+=("$long")
	fi
	get '/debug/pprof/profile?seconds=1'
	[ "$CODE" = 429 ] && ! gone "$long"
}
check "one collection too many gets 429" wait_until 10 full
match "429 says when to come again" "$(header Retry-After)" '^[0-9]+$'
eq "429 has X-Go-Pprof" "$(header X-Go-Pprof)" 1
get /metrics
eq "/metrics answers beside a full budget" "$CODE" 200
get /healthz
eq "/healthz answers beside a full budget" "$CODE" 200
kill "$long"
wait "$long" 2>/dev/null
check "the budget is free when the client is killed" wait_until 3 free

for how in close reset half; do
	soon $how '/debug/pprof/profile?seconds=60'
	check "$how: the collection ends with its client" wait_until 3 free
done
weftd_stop

# Overlapping profiles share the sampler: both are whole.
config '{ "instances": [ { "name": "burn", "plugin": "burn.so" } ] }'
weftd_start
curl -s -m 60 -o "$T/one" "$URL/debug/pprof/profile?seconds=2" &
one=$!
STARTED+=("$one")
get '/debug/pprof/profile?seconds=2'
eq "a second profile at the same time" "$CODE" 200
cp "$BODY" "$T/two"
wait "$one"
check "both are gzipped" cmp -s -n 2 "$T/one" "$T/two"
# A rate that a request has raised falls back with its client.
soon close '/debug/pprof/block?rate=10&seconds=60'
soon reset '/debug/pprof/mutex?fraction=1&seconds=60'
if command -v go >/dev/null; then
	for f in one two; do
		pprof -top "$T/$f" >"$T/top.$f"
		has "profile $f of two at once has the samples" "$T/top.$f" 'burn_seventy'
	done
fi
weftd_stop

# 100 connections that say nothing, and slow ones, do not keep others out.
config '{ "instances": [ { "name": "crowd", "plugin": "parked.so", "config": { "receiving": 1000 } } ] }'
weftd_start
python3 - "$PORT" >"$T/idle" 2>&1 <<-'EOF' &
	import socket, sys, time
	port = int(sys.argv[1])
	held = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
	for s in held[::2]:
	    s.sendall(b"GET /debug/pprof/goroutine?debug=2 HTTP/1.1\r\nHost: loc")
	print("held", flush=True)
	time.sleep(60)
EOF
STARTED+=("$!")
check "100 idle connections" wait_until 10 test -s "$T/idle"
start=$(now_ms)
for path in /metrics /healthz '/debug/pprof/goroutine?debug=2'; do
	get "$path"
	eq "$path beside 100 idle connections" "$CODE" 200
done
between "all three, in ms" $(($(now_ms) - start)) 0 $((2000 * E2E_SLOW))

# A client that reads nothing of a large answer does not hold a thread or the dump of others.
python3 - "$PORT" >"$T/stall" 2>&1 <<-'EOF' &
	import socket, sys, time
	held = []
	for _ in range(6):
	    s = socket.socket()
	    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
	    s.connect(("127.0.0.1", int(sys.argv[1])))
	    s.sendall(b"GET /debug/pprof/goroutine?debug=2 HTTP/1.1\r\nHost: localhost\r\n\r\n")
	    held.append(s)
	print("held", flush=True)
	time.sleep(60)
EOF
STARTED+=("$!")
check "six stalled readers" wait_until 10 test -s "$T/stall"
for path in /metrics '/debug/pprof/goroutine?debug=2' '/debug/pprof/profile?seconds=1'; do
	get "$path" -m 10
	eq "$path beside six stalled readers" "$CODE" 200
done
weftd_stop

# Stopping with collections pending: they are answered, the process ends cleanly and soon.
config '{ "shutdown_timeout": "5s", "instances": [ { "name": "burn", "plugin": "burn.so" } ] }'
weftd_start
for i in 1 2 3; do
	curl -s -m 60 -o /dev/null -w '%{http_code}\n' "$URL/debug/pprof/profile?seconds=60" >"$T/pending.$i" &
	STARTED+=("$!")
done
in_flight() { [ "$(awk '$4 == "01" && $2 ~ /:'"$(printf '%04X' "$PORT")"'$/' "/proc/$PID/net/tcp" | wc -l)" -ge 3 ]; }
check "three collections pending" wait_until 10 in_flight
start=$(now_ms)
weftd_stop
between "stops soon with collections pending, in ms" $(($(now_ms) - start)) 0 $((4000 * E2E_SLOW))
answered() { [ "$(cat "$T"/pending.* | grep -c '^[0-9]')" = 3 ]; }
check "the clients are done" wait_until 5 answered
eq "pending collections are answered 503" "$(sort -u "$T"/pending.*)" 503
finish
