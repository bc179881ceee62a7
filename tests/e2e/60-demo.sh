#!/usr/bin/env bash
# The configuration that `make run` uses: worth looking at, and not a burden.
# runs beside others
# shellcheck source=../lib/e2e.sh
. "$(dirname "$0")/../lib/e2e.sh"
jq '.http.listen = ["127.0.0.1:0"] | (.instances[].config | select(has("listen")) | .listen) = "127.0.0.1:0"' \
	"$ROOT/conf/weftd.json" >"$CONFIG"
weftd_start_servers

cpu_ms() { awk '{ sub(/.*\) /, ""); print ($12 + $13) * 10 }' "/proc/$PID/stat"; }
# The age of the process reaches so many seconds.
aged() {
	local start hz=100
	start=$(awk '{ sub(/.*\) /, ""); print $20 }' "/proc/$PID/stat")
	[ "$(now_ms)" -ge $((start * 1000 / hz + $1 * 1000)) ]
}
check "5 s old" wait_until 20 aged 5
before=$(cpu_ms)
check "10 s old" wait_until 20 aged 10
between "CPU time of the second 5 s, in ms" $(($(cpu_ms) - before)) 0 $((1000 * E2E_SLOW))

has_not "none of them is taken for a deadlock" "$LOG" 'deadlock:'

get '/debug/pprof/goroutine?debug=1'
for name in $(jq -r '.instances[].name' "$ROOT/conf/weftd.json"); do
	has_not "instance $name is well" "$LOG" "\"?$name\"?.*(failed|refused)"
done
between "there are goroutines to look at" "$(sed -n '1s/.*total //p' "$BODY")" 10 1000000
has "goroutines are labelled" "$BODY" '^# labels: \{'
get '/debug/pprof/profile?seconds=2'
eq "a CPU profile" "$CODE" 200
if command -v go >/dev/null; then
	cp "$BODY" "$T/cpu.pb.gz"
	pprof -top "$T/cpu.pb.gz" >"$T/top" || fail "pprof reads it" "$(cat "$T/pprof.err")"
	between "functions by name in the CPU profile" "$(awk 'NR > 6 && $6 ~ /^[a-z_]+$/' "$T/top" | wc -l)" 3 1000
fi
weftd_stop INT
finish
