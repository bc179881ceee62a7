#!/usr/bin/env bash
# A dump of 100,000 goroutines while others come and go: complete, nobody twice, nobody held up.
# shellcheck source=../lib/e2e.sh
. "$(dirname "$0")/../lib/e2e.sh"
need_plugins churn
PARKED=100000
config "{ \"instances\": [ { \"name\": \"crowd\", \"plugin\": \"churn.so\",
	\"config\": { \"parked\": $PARKED, \"per_second\": 1000, \"report\": \"$T/report\" } } ] }"
weftd_start
check "$PARKED goroutines start" wait_until 60 logged 'all started'
measuring() { [ "$(wc -l <"$T/report" 2>/dev/null || echo 0)" -gt 100 ]; }
check "the sleeper reports" wait_until 20 measuring

# Ten dumps and ten idle windows in turn; then the ids and the lateness of both kinds of window.
if python3 - "$URL" "$T/report" "$PARKED" "$E2E_SLOW" "$T/dump" <<'EOF'
import re
import statistics
import subprocess
import sys
import time

url, report, parked, slow, out = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
failed = 0


def result(good, text):
    global failed
    failed += not good
    print(f"{'ok' if good else 'not ok'} - 51-no-stop-the-world: {text}")


def dump():
    """A client that takes little of the CPUs that the daemon is measured on."""
    start = time.monotonic_ns()
    subprocess.run(["nice", "curl", "-sS", "-f", "-m", str(60 * slow), "-o", out, url + "/debug/pprof/goroutine?debug=2"],
                   check=True)
    end = time.monotonic_ns()
    with open(out, encoding="utf-8") as f:
        return start, end, f.read()


def ids(text):
    return [int(i) for i in re.findall(r"^goroutine (\d+) \[", text, re.M)]


def settle(seconds):
    """The time between windows: what a window left behind must not count for the next."""
    time.sleep(seconds)


dumps, idle = [], []
for _ in range(10):
    settle(0.1)
    dumps.append(dump())
    settle(0.1)
    start = time.monotonic_ns()
    settle(max(0.2, (dumps[-1][1] - dumps[-1][0]) / 1e9))
    idle.append((start, time.monotonic_ns()))
lengths = [(end - start) / 1e9 for start, end, _ in dumps]
print(f"    a dump takes {statistics.median(lengths):.2f} s (to {max(lengths):.2f} s), "
      f"{len(dumps[0][2]) / 1e6:.1f} MB")

seen = [ids(text) for _, _, text in dumps]
result(all(len(s) == len(set(s)) for s in seen), "no goroutine appears twice in a dump")
sets = [set(s) for s in seen]
missing = [len((before & after) - now) for before, now, after in zip(sets, sets[1:], sets[2:])]
result(not any(missing), f"who lived before and after a dump is in it ({sum(missing)} missing)")
counts = [len(re.findall(r"^churn_parked\(", text, re.M)) for _, _, text in dumps]
result(all(c == parked for c in counts), f"every parked goroutine has its stack ({min(counts)} to {max(counts)} of {parked})")
bare = [len(re.findall(r"^goroutine \d+ \[[^]]*\]:\n\n", text, re.M)) for _, _, text in dumps]
result(not any(bare), f"no goroutine is without a stack ({sum(bare)})")
wrong = [len(re.findall(r"^goroutine \d+ \[sleep\]:\n(?:(?!goroutine ).*\n)*?churn_parked\(", text, re.M)) for _, _, text in dumps]
result(not any(wrong), f"no stack belongs to another ({sum(wrong)})")


def late():
    with open(report, encoding="ascii") as f:
        return [tuple(map(int, line.split())) for line in f if line.count(" ") == 1 and line.endswith("\n")]


last = idle[-1][1]
end = time.monotonic() + 20 * slow
while time.monotonic() < end and (not late() or late()[-1][0] < last):
    settle(0.2)
samples = late()


def within(windows):
    got = sorted(l / 1e6 for at, l in samples if any(a <= at <= b for a, b, *_ in windows))
    return len(got), got[int(len(got) * 0.99)] if got else -1, got[-1] if got else -1


n, p99, worst = within(dumps)
n0, p99_idle, worst_idle = within(idle)
print(f"    sleeper, ms late: dumps p99 {p99:.2f} max {worst:.2f} ({n}); idle p99 {p99_idle:.2f} max {worst_idle:.2f} ({n0})")
result(n > 50 and n0 > 50, "the sleeper slept in both kinds of window")
result(p99 <= 2 * p99_idle + 2, f"p99 during dumps {p99:.2f} ms, at most 2 x {p99_idle:.2f} + 2")
result(worst <= 2 * worst_idle + 2, f"max during dumps {worst:.2f} ms, at most 2 x {worst_idle:.2f} + 2")
sys.exit(1 if failed else 0)
EOF
then ok "dumps and idle windows"; else fail "dumps and idle windows"; fi
get /metrics
eq "the metrics still come" "$CODE" 200
weftd_stop
finish
