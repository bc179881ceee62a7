#!/usr/bin/env bash
# 24 clients that ask for all profiles at once, while the plugins start, work and stop: every answer is what was asked
# for or an allowed refusal, and every profile keeps the rules of those who take uploads.
# WEFT_STRESS_SECONDS for longer than some seconds a round.
# limit: 900
# shellcheck source=../lib/e2e.sh
. "$(dirname "$0")/../lib/e2e.sh"
need_plugins burn churn parked
PROFCHECK=$B/e2e/profcheck
gcc -std=gnu17 -D_GNU_SOURCE -O1 -I"$ROOT/tests/lib" -I"$B/gen" -o "$PROFCHECK" "$ROOT/tests/e2e/profcheck.c" \
	"$ROOT/tests/lib/pprof_check.c" "$B/gen/profile.pb-c.c" -lprotobuf-c -lz || exit 1

config '{ "http": { "max_collections": 20 }, "instances": [
	{ "name": "burn", "plugin": "burn.so", "config": { "goroutines": 3 } },
	{ "name": "crowd", "plugin": "parked.so", "config": { "receiving": 300, "sending": 20, "locking": 20, "sleeping": 20 } },
	{ "name": "churn", "plugin": "churn.so", "config": { "parked": 300, "per_second": 2000 } } ] }'
EACH=${WEFT_STRESS_SECONDS:-$((3 + E2E_SLOW))}

: >"$T/answers"
for round in 1 2; do
	# The pollers are there from the first moment on, and still when it ends.
	weftd_spawn
	weftd_listens || fail "weftd listens"
	mkdir -p "$T/profiles.$round"
	python3 "$ROOT/tests/lib/pollers.py" "$PORT" 24 $((EACH + 30 * E2E_SLOW)) "$T/profiles.$round" >"$T/pollers" 2>&1 &
	pollers=$!
	STARTED+=("$pollers")
	check "round $round: it becomes ready beside 24 pollers" wait_until 15 ready
	sleep "$EACH"
	kill -TERM "$PID"
	weftd_exit 20
	eq "round $round: it stops beside 24 pollers" "$STATUS" 0
	wait "$pollers"
	cat "$T/pollers" >>"$T/answers"
	has_not "round $round: every answer is what was asked for, or an allowed refusal" "$T/pollers" '^bad|Traceback'
	if why=$("$PROFCHECK" "$T/profiles.$round"/*); then ok "round $round: every profile keeps the rules"; else
		fail "round $round: every profile keeps the rules" "$why"; fi
	has_not "round $round: no crash, no warning" "$LOG" 'SIGSEGV|SIGABRT|Sanitizer|^fatal'
done
for kind in profile index symbol metrics; do
	has "served: $kind" "$T/answers" "^$kind 200 "
done
# Which of the others get through in that time beside 24 is chance, in a slow variant above all.
between "kinds of answers that were served" "$(awk '$2 == 200 { print $1 }' "$T/answers" | sort -u | wc -l)" 10 100
between "profiles that were checked" "$(find "$T"/profiles.* -type f | wc -l)" 20 1000
finish
