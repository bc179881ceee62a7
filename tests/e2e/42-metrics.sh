#!/usr/bin/env bash
# /metrics: well formed for promtool, the promised names, and values that are true.
# shellcheck source=../lib/e2e.sh
. "$(dirname "$0")/../lib/e2e.sh"
need_plugins parked churn
config '{ "instances": [ { "name": "crowd", "plugin": "parked.so", "config": { "receiving": 500, "locking": 7 } },
	{ "name": "quick", "plugin": "churn.so", "config": { "per_second": 500 } } ] }'
weftd_start
# metric NAME-AND-LABELS: its value, exactly so written.
metric() { awk -v want="$1" '{ at = match($0, / [^ ]*$/); if (substr($0, 1, at - 1) == want) print substr($0, at + 1) }' "$BODY"; }
scrape() { get /metrics; }
parked() { scrape; [ "$(metric 'weft_goroutines{state="waiting"}')" -ge 507 ] 2>/dev/null; }
check "507 goroutines wait" wait_until 20 parked

for name in weft_goroutines weft_goroutines_created_total weft_threads weft_maxprocs weft_runq_length \
	weft_switches_total weft_steals_total weft_parks_total weft_build_info process_cpu_seconds_total \
	process_open_fds process_max_fds process_virtual_memory_bytes process_resident_memory_bytes \
	process_start_time_seconds; do
	has "$name: help" "$BODY" "^# HELP $name ."
	has "$name: type" "$BODY" "^# TYPE $name (counter|gauge)\$"
	has "$name: a value" "$BODY" "^$name(\\{.*\\})? [-+0-9.eE]+\$"
done
for state in running runnable waiting not-in-go; do
	has "weft_goroutines has state $state" "$BODY" "^weft_goroutines\\{.*state=\"$state\".*\\} [0-9]"
done
eq "weft_maxprocs" "$(metric weft_maxprocs)" 2
for p in 0 1; do
	has "weft_runq_length has P $p" "$BODY" "^weft_runq_length\\{p=\"$p\"\\} [0-9]+\$"
done
has "weft_parks_total by reason" "$BODY" '^weft_parks_total\{reason="chan receive"\} [0-9]'
eq "no sample twice" "$(grep -v '^#' "$BODY" | sed 's/ [^ ]*$//' | sort | uniq -d)" ""
eq "the text ends with a newline" "$(tail -c 1 "$BODY" | od -An -tx1 | tr -d ' ')" 0a

# True values.
between "process_open_fds" "$(metric process_open_fds)" "$(($(find "/proc/$PID/fd" -mindepth 1 | wc -l) - 3))" \
	"$(($(find "/proc/$PID/fd" -mindepth 1 | wc -l) + 3))"
rss=$(awk '/^VmRSS/ { print $2 * 1024 }' "/proc/$PID/status")
between "process_resident_memory_bytes" "$(metric process_resident_memory_bytes)" $((rss * 8 / 10)) $((rss * 12 / 10))
between "process_start_time_seconds" "$(metric process_start_time_seconds)" "$(($(date +%s) - 60 * E2E_SLOW))" "$(($(date +%s) + 1))"
between "weft_threads" "$(metric weft_threads)" 2 "$(find "/proc/$PID/task" -mindepth 1 -maxdepth 1 | wc -l)"

# Counters grow, and by what happened.
created=$(metric weft_goroutines_created_total)
switches=$(metric weft_switches_total)
grown() { scrape; [ "$(metric weft_goroutines_created_total)" -ge $((created + 200)) ]; }
check "weft_goroutines_created_total counts births" wait_until 10 grown
check "weft_switches_total grows" test "$(metric weft_switches_total)" -gt "$switches"
cp "$BODY" "$T/before"
scrape
went_down=$(awk '/^#/ { if ($2 == "TYPE") type[$3] = $4; next } { name = $1; sub(/\{.*/, "", name)
	key = $0; sub(/ [^ ]*$/, "", key); value = $NF
	if (type[name] == "counter") { if (FNR == NR) was[key] = value; else if (value + 0 < was[key] + 0) print key } }' "$T/before" "$BODY")
eq "no counter goes down" "$went_down" ""

tool=${PROMTOOL:-$(command -v promtool)}
if [ -n "$tool" ]; then
	if said=$("$tool" check metrics <"$BODY" 2>&1); then ok "promtool check metrics"; else fail "promtool check metrics" "$said"; fi
fi
weftd_stop
[ -n "$tool" ] || [ "$FAILED" -ne 0 ] || skip "the rest passed, but promtool is neither in PROMTOOL nor on PATH"
finish
