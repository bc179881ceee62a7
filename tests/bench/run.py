#!/usr/bin/env python3
"""make bench: weft and Go side by side, interleaved, with the physical floor of the same run.

Every row (rows.py) is measured in rounds of weft, weft with the recorder, Go, weft, ... so that a
machine that slows down slows all of them. The table shows medians; ratios are taken round by round,
and their spread is least-greatest. A goal counts as met when the spread reaches it.

    BENCH_ROUNDS=5      rounds; fewer are made when the time is over (at least 3)
    BENCH_SECONDS=300   time for all rows
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

from record import record
from rows import RECORDER_GOAL, ROWS

LIMIT = 60  # seconds a single program may take


def pinned(procs):
    """The CPUs a program with that many procs may use: one for one, two for two."""
    return sorted(os.sched_getaffinity(0))[:procs]


def started(argv, procs, recorder, **pipes):
    env = dict(os.environ, RECORDER=recorder) if recorder is not None else dict(os.environ)
    cpus = pinned(procs)
    return subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            preexec_fn=lambda: os.sched_setaffinity(0, cpus), **pipes)


def run(argv, procs, recorder):
    with started(argv, procs, recorder) as p:
        try:
            out, err = p.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            p.kill()
            raise
    if p.returncode != 0:
        last = err.strip().splitlines()[-1:] or ["no message"]
        raise RuntimeError(f"{' '.join(argv)}: exit status {p.returncode}: {last[0]}")
    values = {}
    for line in out.splitlines():
        name, value, unit = line.split("\t")
        values[name] = (float(value), unit)
    return values


def serve(argv, floor, row, recorder):
    """The values of a client, while argv serves it on the same CPUs."""
    with started(argv, row.procs, recorder, stdin=subprocess.PIPE) as server:
        try:
            words = server.stdout.readline().split()
            if words[:1] != ["ready"]:
                raise RuntimeError(f"{' '.join(argv)}: {server.stderr.read().strip() or 'not ready'}")
            return run([floor, "load", words[1], str(row.k), str(row.n), str(server.pid)], row.procs, None)
        finally:
            server.stdin.close()
            try:
                server.wait(timeout=LIMIT)
            except subprocess.TimeoutExpired:
                server.kill()


class Bench:
    def __init__(self, weft, go, floor, rows, raw):
        self.program = {"weft": weft, "rec": weft, "go": go, "epoll": floor}
        self.recorder = {"weft": "0", "rec": None, "go": "0", "epoll": None}
        self.floor, self.rows, self.raw = floor, rows, raw
        self.got = {r.ident: {s: [] for s in self.program} for r in rows}  # per round: values by name, or None
        self.failed = {}

    def once(self, number, row, side):
        if (row.program(), side) in self.failed:
            return None
        argv = [self.program[side], row.workload, str(row.procs), str(row.n)] + ([] if row.k is None else [str(row.k)])
        try:
            if row.workload == "tcp_server":
                argv = [self.floor, "echo"] if side == "epoll" else argv[:3] + ["0"]
                values = serve(argv, self.floor, row, self.recorder[side])
            else:
                values = run(argv, row.procs, self.recorder[side])
        except (RuntimeError, ValueError, subprocess.TimeoutExpired) as e:
            self.failed[row.program(), side] = str(e)
            return None
        for name, (value, unit) in values.items():
            print(number, side, row.ident, name, value, unit, sep="\t", file=self.raw)
        return values

    def round(self, number):
        done = {}
        for row in self.rows:
            for side in row.sides:
                if self.program[side] == "-":
                    continue
                key = row.program(), side
                if key not in done:
                    done[key] = self.once(number, row, side)
                self.got[row.ident][side].append(done[key])

    def rounds(self, most, seconds):
        end = time.monotonic() + seconds
        for number in range(1, most + 1):
            start = time.monotonic()
            self.round(number)
            took = time.monotonic() - start
            print(f"round {number}: {took:.0f} s", file=sys.stderr)
            if number >= 3 and time.monotonic() + took > end:
                return number
        return most

    def series(self, row, side, suffix=""):
        name = row.value + suffix
        return [v[name][0] if v and name in v else None for v in self.got[row.ident][side]]

    def ratios(self, row, over, under, suffix=""):
        pairs = zip(self.series(row, over, suffix), self.series(row, under, suffix))
        return [a / b for a, b in pairs if a is not None and b]

    def unit(self, row):
        for values in self.got[row.ident]["weft"] + self.got[row.ident]["rec"]:
            if values and row.value in values:
                return values[row.value][1]
        return ""


def number(v):
    if v is None:
        return "-"
    return f"{v:.0f}" if v >= 1000 else f"{v:.1f}" if v >= 10 else f"{v:.2f}"


def middle(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


def two(values):
    return f"{statistics.median(values):.2f}" if values else "-"


def spread(values):
    return f"{min(values):.2f}-{max(values):.2f}" if values else "-"


def reached(values, goal, more):
    """Whether the spread of values reaches the goal; None without goal or values."""
    if goal is None or not values:
        return None
    return max(values) >= goal if more else min(values) <= goal


def word(met):
    return "" if met is None else "met" if met else "MISSED"


def line(bench, row):
    """One row of the table, and whether its goal was met (None: nothing to compare)."""
    wall, cpu, rec = (bench.ratios(row, "weft", "go"), bench.ratios(row, "weft", "go", ".cpu"),
                      bench.ratios(row, "rec", "go"))
    met = reached(wall + (cpu if row.procs == 1 else []), row.go, row.more)
    own = bench.ratios(row, "rec", "weft")
    goal = "" if row.go is None else f"{'>' if row.more else ''}{row.go:.3g}"
    print(f"{row.ident:<15}{number(middle(bench.series(row, 'weft'))):>8}{number(middle(bench.series(row, 'rec'))):>8}"
          f"{number(middle(bench.series(row, 'go'))):>8} {bench.unit(row):<3}{two(wall):>6} {spread(wall):<10}"
          f"{two(cpu):>6}{two(rec):>6}{two(own):>6}{goal:>6} {word(met)}")
    return met


def others(bench, row):
    """Goals that are no ratio to Go, one a line: (what, values, goal, greater is better)."""
    weft = [v for v in bench.series(row, "weft") if v is not None]
    goals = [(f"{row.ident}, {bench.unit(row)}", weft, row.most, False),
             (f"{row.ident}, {bench.unit(row)}", weft, row.least, True),
             (f"{row.ident}, of the epoll server's", bench.ratios(row, "weft", "epoll"), row.epoll, True),
             (f"recorder on/off, {row.ident}", bench.ratios(row, "rec", "weft"), RECORDER_GOAL.get(row.ident), False)]
    judged = []
    for what, values, goal, more in goals:
        met = reached(values, goal, more)
        if met is not None:
            print(f"{what}: {number(middle(values))} ({number(min(values))}-{number(max(values))}), "
                  f"goal {'at least' if more else 'at most'} {goal:g}: {word(met)}")
            judged.append(met)
    return judged


def report(bench, rounds):
    print(f"\nMedians of {rounds} rounds; weft: recorder off, +rec: on.\n"
          "weft/Go: ratio, spread, of CPU time, recorder on. rec/off: weft alone.\n")
    print(f"{'':<15}{'weft':>8}{'+rec':>8}{'Go':>8} {'':<3}{'w/Go':>6} {'spread':<10}{'cpu':>6}{'+rec':>6}{'r/off':>6}"
          f"{'goal':>6}")
    judged = [line(bench, row) for row in bench.rows]
    print()
    for row in bench.rows:
        judged += others(bench, row)
    judged = [m for m in judged if m is not None]
    print(f"\n{sum(judged)} of {len(judged)} goals met.")
    for ((workload, procs, n, k), side), why in sorted(bench.failed.items(), key=str):
        print(f"FAILED {workload} {procs} {n} {'' if k is None else k} ({side}): {why}")


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
    rows = [r for r in ROWS
            if r.procs <= cpus and (r.ident.startswith(tuple(only)) if only else not r.asked)]
    if not rows and not set(only) & {"floor", "record"}:
        sys.exit(f"bench: BENCH_ONLY={','.join(only)}: no such row; there are: "
                 f"{' '.join(r.ident for r in ROWS)} record floor")
    bench = None
    with open(os.environ.get("BENCH_RAW", os.devnull), "w", encoding="utf-8") as raw:
        if rows:
            bench = Bench(weft, go, floor_program, rows, raw)
            report(bench, bench.rounds(int(os.environ.get("BENCH_ROUNDS", "5")),
                                       float(os.environ.get("BENCH_SECONDS", "300"))))
    if not only or "record" in only:
        record(run, weft, go)
    if not only or "floor" in only:
        floor(floor_program)
    sys.exit(1 if bench and bench.failed else 0)


if __name__ == "__main__":
    main()
