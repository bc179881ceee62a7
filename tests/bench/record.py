"""What recording adds to an operation: CPU time with it less without, in pairs that are run in turn.

weft's recorder beside Go's execution trace, which is taken to nowhere. Each pair has a run without before it and
one behind; how much those two differ is the noise of the machine. What an event costs is the mean over all of an
operation's: of a switch every second one has a stack, of a ping-pong two in three.
"""

import statistics

PAIRS = 20
GOAL = 25  # ns an event; what one without a stack may cost (one with: 45)
WORKLOADS = (("switch", 500_000), ("chan_pingpong", 200_000))
WARM_UP = 1.1  # a tenth of the operations more, before those that are timed


class Pairs:
    """One program and workload on one P: per pair, ns that an operation takes longer; and the noise."""

    def __init__(self, program, workload, n):
        self.program, self.workload, self.n = program, workload, n
        self.added, self.noise, self.events = [], [], 0

    def add(self, run):
        argv, cpu = [self.program, self.workload, "1", str(self.n)], self.workload + ".cpu"
        before, recorded, after = (run(argv, 1, recorder) for recorder in ("0", str(16 << 20), "0"))
        self.added.append(recorded[cpu][0] - (before[cpu][0] + after[cpu][0]) / 2)
        self.noise.append(before[cpu][0] - after[cpu][0])
        if "recorder.events" in recorded:
            self.events = recorded["recorder.events"][0] / (self.n * WARM_UP)

    def each(self):
        return [ns / self.events for ns in self.added]


def span(values):
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def record(run, weft, go):
    """One line a workload. run(argv, procs, recorder) gives a program's values."""
    print(f"\nWhat recording adds, ns of CPU time, {PAIRS} pairs:")
    for workload, n in WORKLOADS:
        ours, theirs = Pairs(weft, workload, n), Pairs(go, workload, n)
        for _ in range(PAIRS):
            ours.add(run)
            if go != "-":
                theirs.add(run)
        print(f"{workload:<14} {span(ours.added)} each, off/off {span(ours.noise)}; an event of {ours.events:.1f}: "
              f"{span(ours.each())}, goal at most {GOAL}: {'met' if min(ours.each()) <= GOAL else 'MISSED'}"
              + (f"; Go, tracing: {span(theirs.added)} each" if theirs.added else ""))
