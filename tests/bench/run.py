#!/usr/bin/env python3
"""make bench: weft and Go side by side, interleaved, with the physical floor of the same run.

Every row is measured in rounds of weft, weft with the recorder, Go, weft, ... so that a machine that
slows down slows all of them. The table shows medians; ratios are taken round by round, and their
spread is least-greatest. A goal counts as met when the spread reaches it.

    BENCH_ROUNDS=5      rounds; fewer are made when the time is over (at least 3)
    BENCH_SECONDS=180   time for all rows
    BENCH_ONLY=a,b      rows whose id starts with one of these
    BENCH_RAW=FILE      every single value as round<TAB>side<TAB>id<TAB>name<TAB>value<TAB>unit

Arguments: the weft program, the Go program ("-" without Go), the floor program. Exit status 1 when
a program failed; a missed goal is no failure (the machine may be busy): the gate is
check-instructions.
"""

import os
import statistics
import subprocess
import sys
import time

# id, workload, procs, N, K, value, goal for weft/Go (None: no goal of its own)
ROWS = [
    ("switch_p1", "switch", 1, 2_000_000, None, "switch", 0.20),
    ("spawn_p1", "spawn_join", 1, 600_000, 1000, "spawn_join", 0.25),
    ("spawn_p2", "spawn_join", 2, 600_000, 1000, "spawn_join", 0.50),
    ("spawn1_p1", "spawn_join", 1, 400_000, 1, "spawn_join", 0.25),
    ("tree_p1", "spawn_tree", 1, 100_000, 10, "spawn_tree", 0.60),
    ("tree_p2", "spawn_tree", 2, 100_000, 10, "spawn_tree", 0.60),
    ("skynet_p1", "skynet", 1, 1_000_000, 10, "skynet", 0.25),
    ("skynet_p2", "skynet", 2, 1_000_000, 10, "skynet", 0.40),
    ("fib_p1", "fib", 1, 35, 12, "fib", 0.50),
    ("fib_p2", "fib", 2, 35, 12, "fib", 0.70),
    ("pingpong_p1", "chan_pingpong", 1, 800_000, None, "chan_pingpong", 0.30),
    ("pingpong_p2", "chan_pingpong", 2, 800_000, None, "chan_pingpong", 0.50),
    ("self_p1", "chan_self", 1, 5_000_000, 128, "chan_self", 0.50),
    ("buf_p1", "chan_buffered", 1, 5_000_000, 128, "chan_buffered", 0.50),
    ("buf_p2", "chan_buffered", 2, 5_000_000, 128, "chan_buffered", 0.60),
    ("ring1k_p1", "ring", 1, 1_000_000, 1000, "ring", 0.30),
    ("ring1k_p2", "ring", 2, 1_000_000, 1000, "ring", 0.50),
    ("ring100k_p1", "ring", 1, 1_000_000, 100_000, "ring", 0.60),
    ("ring100k_p2", "ring", 2, 1_000_000, 100_000, "ring", 0.90),
    ("sieve_p1", "sieve", 1, 0, 1000, "sieve.ms", 0.30),
    ("sieve_p2", "sieve", 2, 0, 1000, "sieve.ms", 0.60),
    ("mutex1", "mutex", 1, 10_000_000, 1, "mutex", 1.00),
    ("mutex2", "mutex", 2, 4_000_000, 2, "mutex", 1.00),
    ("mutex100", "mutex", 2, 2_000_000, 100, "mutex", 0.50),
    ("waitgroup", "waitgroup", 1, 10_000_000, None, "waitgroup", 0.90),
    ("mem100k", "memory", 2, 0, 100_000, "memory", 1.60),
    ("mem100k_4k", "memory", 2, 4096, 100_000, "memory", 1.05),
    ("create100k", "memory", 2, 0, 100_000, "memory.create", 1.00),
]
# Recorder on against off: the same run's own bound.
RECORDER_GOAL = {"switch_p1": 1.8, "pingpong_p1": 1.8, "pingpong_p2": 1.8}
SIDES = ("weft", "rec", "go")
LIMIT = 60  # seconds a single program may take


def pinned(procs):
    """The CPUs a program with that many procs may use: one for one, two for two."""
    return sorted(os.sched_getaffinity(0))[:procs]


def run(argv, procs, recorder):
    env = dict(os.environ, RECORDER=recorder) if recorder is not None else dict(os.environ)
    cpus = pinned(procs)
    done = subprocess.run(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=LIMIT, check=False, preexec_fn=lambda: os.sched_setaffinity(0, cpus))
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise RuntimeError(f"{' '.join(argv)}: exit status {done.returncode}: {last[0]}")
    values = {}
    for line in done.stdout.splitlines():
        name, value, unit = line.split("\t")
        values[name] = (float(value), unit)
    return values


class Bench:
    def __init__(self, weft, go, rows, raw):
        self.program = {"weft": weft, "rec": weft, "go": go}
        self.recorder = {"weft": "0", "rec": None, "go": None}
        self.sides = [s for s in SIDES if self.program[s] != "-"]
        self.rows, self.raw = rows, raw
        self.got = {r[0]: {s: [] for s in SIDES} for r in rows}  # per round: values by name, or None
        self.failed = {}

    def once(self, number, row, side):
        ident, workload, procs, n, k = row[:5]
        argv = [self.program[side], workload, str(procs), str(n)] + ([] if k is None else [str(k)])
        values = None
        if (ident, side) not in self.failed:
            try:
                values = run(argv, procs, self.recorder[side])
            except (RuntimeError, ValueError, subprocess.TimeoutExpired) as e:
                self.failed[ident, side] = str(e)
        self.got[ident][side].append(values)
        for name, (value, unit) in (values or {}).items():
            print(number, side, ident, name, value, unit, sep="\t", file=self.raw)

    def rounds(self, most, seconds):
        end = time.monotonic() + seconds
        for number in range(1, most + 1):
            start = time.monotonic()
            for row in self.rows:
                for side in self.sides:
                    self.once(number, row, side)
            took = time.monotonic() - start
            print(f"round {number}: {took:.0f} s", file=sys.stderr)
            if number >= 3 and time.monotonic() + took > end:
                return number
        return most

    def series(self, row, side, suffix=""):
        name = row[5] + suffix
        return [v[name][0] if v and name in v else None for v in self.got[row[0]][side]]

    def ratios(self, row, over, under, suffix=""):
        pairs = zip(self.series(row, over, suffix), self.series(row, under, suffix))
        return [a / b for a, b in pairs if a is not None and b]


def number(v):
    if v is None:
        return "-"
    return f"{v:.1f}" if v < 1000 else f"{v:.0f}"


def middle(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


def two(values):
    return f"{statistics.median(values):.2f}" if values else "-"


def spread(values):
    return f"{min(values):.2f}-{max(values):.2f}" if values else "-"


def line(bench, row):
    """One row of the table, and whether its goal was met (None: nothing to compare)."""
    wall, cpu, rec = (bench.ratios(row, "weft", "go"), bench.ratios(row, "weft", "go", ".cpu"),
                      bench.ratios(row, "rec", "go"))
    met = min(wall + (cpu if row[2] == 1 else [])) <= row[6] if wall else None
    own = bench.ratios(row, "rec", "weft")
    print(f"{row[0]:<12}{number(middle(bench.series(row, 'weft'))):>8}{number(middle(bench.series(row, 'rec'))):>8}"
          f"{number(middle(bench.series(row, 'go'))):>8}{two(wall):>7} {spread(wall):<10}{two(cpu):>6}"
          f"{two(rec):>6}{two(own):>6}{row[6]:>6.2f} {'met' if met else '' if met is None else 'MISSED'}")
    return met


def report(bench, rounds):
    print(f"\nns per operation, medians of {rounds} rounds (sieve: ms, mem: bytes); weft: recorder off, +rec: on.\n"
          "weft/Go: ratio, spread, of CPU time, recorder on. rec/off: weft alone.\n")
    print(f"{'':<12}{'weft':>8}{'+rec':>8}{'Go':>8}{'w/Go':>7} {'spread':<10}{'cpu':>6}{'+rec':>6}{'r/off':>6}{'goal':>6}")
    met = [line(bench, row) for row in bench.rows]
    judged = [m for m in met if m is not None]
    print(f"\n{sum(judged)} of {len(judged)} goals met.")
    for row in bench.rows:
        goal, own = RECORDER_GOAL.get(row[0]), bench.ratios(row, "rec", "weft")
        if goal and own:
            print(f"recorder on/off, {row[0]}: {two(own)} ({spread(own)}), goal {goal:.2f}: "
                  f"{'met' if min(own) <= goal else 'MISSED'}")
    for (ident, side), why in sorted(bench.failed.items()):
        print(f"FAILED {ident} ({side}): {why}")


def floor(program):
    print("\nfloor of this machine:")
    values = run([program], len(os.sched_getaffinity(0)), None)
    cells = [f"{name.removeprefix('floor.'):<24}{value:>9.2f} {unit:<3}" for name, (value, unit) in values.items()]
    for i in range(0, len(cells), 2):
        print("  ".join(cells[i:i + 2]))


def main():
    weft, go, floor_program = sys.argv[1:]
    only = [s for s in os.environ.get("BENCH_ONLY", "").split(",") if s]
    cpus = len(os.sched_getaffinity(0))
    rows = [r for r in ROWS if r[2] <= cpus and (not only or r[0].startswith(tuple(only)))]
    if not rows and only != ["floor"]:
        sys.exit(f"bench: BENCH_ONLY={','.join(only)}: no such row; there are: {' '.join(r[0] for r in ROWS)} floor")
    bench = None
    with open(os.environ.get("BENCH_RAW", os.devnull), "w", encoding="utf-8") as raw:
        if rows:
            bench = Bench(weft, go, rows, raw)
            report(bench, bench.rounds(int(os.environ.get("BENCH_ROUNDS", "5")),
                                       float(os.environ.get("BENCH_SECONDS", "180"))))
    if not only or "floor" in only:
        floor(floor_program)
    sys.exit(1 if bench and bench.failed else 0)


if __name__ == "__main__":
    main()
