#!/usr/bin/env python3
"""make check-instructions: instructions per operation, counted by callgrind.

Times on a shared machine are too noisy to see a few per cent; instruction counts are not. Every row
runs a workload with N and with 3N operations on one P and divides the difference of the counts by
2N, so that start and end fall out. All threads but main's are counted, and the least of several runs
taken: of two, which seldom differ by more than 0.5 %, and of five where two say that the row has changed.

A row fails above its figure in the table by more than 3 %; below by more than that it asks for a new
table (`instructions.py --update PROGRAM TABLE` writes one). Rows with the recorder on (.rec) have 10 %:
which stacks share a slot of its cache follows from addresses, and so changes with every build and run.

Exit status 77 (skipped) without valgrind.
"""

import glob
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

TOLERANCE, TOLERANCE_REC = 0.03, 0.10
TRIES, TRIES_CHANGED = 2, 5
AT_ONCE = 2  # counts do not mind a neighbour
# id, workload, N, K, with the recorder on as well
ROWS = [
    ("switch", "switch", 20_000, None, True),
    ("spawn", "spawn_join", 10_000, 1000, True),
    ("spawn1", "spawn_join", 10_000, 1, True),
    ("pingpong", "chan_pingpong", 10_000, None, True),
    ("self", "chan_self", 20_000, 128, True),
    ("buffered", "chan_buffered", 20_000, 128, True),
    ("selready8", "select_ready", 10_000, 8, False),
    ("selblock8", "select_block", 8_000, 8, True),
    ("rwmutex", "rwmutex", 40_000, 8, False),
    ("malloc", "malloc", 200_000, 64, False),
    ("annotate", "annotate", 20_000, 0, True),
]


def thread_count(path):
    with open(path, encoding="utf-8") as f:
        return next((int(line.split()[1]) for line in f if line.startswith("totals:")), 0)


def count(program, workload, n, k, recorder):
    """Instructions of all threads but the first, which is main's."""
    argv = [program, workload, "1", str(n)] + ([] if k is None else [str(k)])
    with tempfile.TemporaryDirectory() as d:
        out = os.path.join(d, "out")
        done = subprocess.run(["valgrind", "--tool=callgrind", "--separate-threads=yes", f"--callgrind-out-file={out}",
                               *argv], env=dict(os.environ, RECORDER=recorder), stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True, timeout=300, check=False)
        threads = [thread_count(f) for f in glob.glob(out + "-*") if not f.endswith("-01")]
    if done.returncode != 0 or not threads:
        sys.exit(f"check-instructions: valgrind {' '.join(argv)}: exit status {done.returncode}:\n{done.stderr}")
    return sum(threads)


class Row:
    """One workload with N and with 3N operations, and the counts of all runs so far."""

    def __init__(self, program, row, recorder):
        _, self.workload, self.n, self.k, _ = row
        self.program, self.recorder = program, recorder
        self.few, self.many = [], []

    def run(self, tries):
        """Instructions per operation after so many runs of each."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            runs = [pool.submit(count, self.program, self.workload, n, self.k, self.recorder)
                    for n in (self.n, 3 * self.n) for _ in range(tries - len(self.few))]
            counts = [run.result() for run in runs]
        self.few += counts[: len(counts) // 2]
        self.many += counts[len(counts) // 2 :]
        return (min(self.many) - min(self.few)) / (2 * self.n * 1.1)  # the warm-up runs a tenth more of each


def differs(now, was, tolerance):
    return was is None or not was * (1 - tolerance) <= now <= was * (1 + tolerance)


def load(table):
    with open(table, encoding="ascii") as f:
        lines = [line.split() for line in f if line.strip() and not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def save(table, counts):
    with open(table, "w", encoding="ascii") as f:
        f.write("# Instructions per operation (callgrind, one P, release build, gcc 12.2); .rec: recorder on.\n"
                "# Written by instructions.py --update; check-instructions fails above these by 3 % (.rec: 10 %).\n")
        for name, value in counts.items():
            f.write(f"{name:<16}{value:>8.1f}\n")


def main():
    args = sys.argv[1:]
    update = args[:1] == ["--update"]
    program, table = args[1:] if update else args
    if not shutil.which("valgrind"):
        print("SKIP check-instructions: valgrind is not installed")
        sys.exit(77)
    known = {} if update else load(table)
    counts, bad = {}, 0
    for row in ROWS:
        for name, recorder in ((row[0], "0"), (row[0] + ".rec", str(16 << 20)))[: 2 if row[4] else 1]:
            runs = Row(program, row, recorder)
            was, tolerance = known.get(name), TOLERANCE_REC if name.endswith(".rec") else TOLERANCE
            now = runs.run(TRIES)
            if differs(now, was, tolerance):
                now = runs.run(TRIES_CHANGED)
            counts[name] = now
            change = f"{now / was - 1:+7.1%}" if was else "    new"
            changed = not update and differs(now, was, tolerance)
            grown = changed and (was is None or now > was)
            shrunk = changed and not grown
            bad += grown
            print(f"{name:<16}{now:>8.1f}{change}" + ("  GREW" if grown else "  less: --update the table" if shrunk else ""),
                  flush=True)
    if update:
        save(table, counts)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
