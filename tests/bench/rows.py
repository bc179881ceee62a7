"""The rows of make bench: what is run, which of its values is shown, and what is aimed at.

Rows that name the same program run share it. Goals, each judged by itself:
    go      weft/Go at most (more: at least)
    most    weft's own value at most
    least   weft's own value at least
    epoll   weft/epoll server at least
"""

from dataclasses import dataclass

ALL = ("weft", "rec", "go")
PLAIN = ("weft", "go")  # no column with the recorder on
TRACED = ("rec", "go")  # only while both of them trace
TCP = ("weft", "go", "epoll")


@dataclass(frozen=True)
class Row:
    ident: str
    workload: str
    procs: int
    n: int
    k: int | None
    value: str
    go: float | None = None
    more: bool = False  # greater is better
    most: float | None = None
    least: float | None = None
    epoll: float | None = None
    sides: tuple = ALL
    asked: bool = False  # only when BENCH_ONLY names it

    def program(self):
        return self.workload, self.procs, self.n, self.k


def late(ident, workload, k):
    return Row(ident, workload, 2, 500, k, "late.p99", 0.10, sides=PLAIN)


def profile(ident, k, sides=PLAIN):
    """How much slower mix is while something is observed; prof_none, where nothing is, shows the noise."""
    return Row(ident, "profile", 2, 40_000, k, "profile.slowdown", sides=sides)


ROWS = [
    Row("switch_p1", "switch", 1, 2_000_000, None, "switch", 0.20),
    Row("spawn_p1", "spawn_join", 1, 600_000, 1000, "spawn_join", 0.25),
    Row("spawn_p2", "spawn_join", 2, 600_000, 1000, "spawn_join", 0.50),
    Row("spawn1_p1", "spawn_join", 1, 400_000, 1, "spawn_join", 0.25),
    Row("tree_p1", "spawn_tree", 1, 100_000, 10, "spawn_tree", 0.60),
    Row("tree_p2", "spawn_tree", 2, 100_000, 10, "spawn_tree", 0.60),
    Row("skynet_p1", "skynet", 1, 1_000_000, 10, "skynet", 0.25),
    Row("skynet_p2", "skynet", 2, 1_000_000, 10, "skynet", 0.40),
    Row("fib_p1", "fib", 1, 35, 12, "fib", 0.50),
    Row("fib_p2", "fib", 2, 35, 12, "fib", 0.70),
    Row("msort_p2", "mergesort", 2, 4_000_000, 4096, "mergesort", 1.00),
    Row("pingpong_p1", "chan_pingpong", 1, 800_000, None, "chan_pingpong", 0.30),
    Row("pingpong_p2", "chan_pingpong", 2, 800_000, None, "chan_pingpong", 0.50),
    Row("self_p1", "chan_self", 1, 5_000_000, 128, "chan_self", 0.50),
    Row("buf_p1", "chan_buffered", 1, 5_000_000, 128, "chan_buffered", 0.50),
    Row("buf_p2", "chan_buffered", 2, 5_000_000, 128, "chan_buffered", 0.60),
    Row("mpmc_p2", "mpmc", 2, 4_000_000, 4, "mpmc", 0.40),
    Row("selready2", "select_ready", 1, 2_000_000, 2, "select_ready", 0.40),
    Row("selready8", "select_ready", 1, 1_000_000, 8, "select_ready", 0.25),
    Row("selblock2", "select_block", 1, 1_000_000, 2, "select_block", 0.30),
    Row("selblock8", "select_block", 1, 500_000, 8, "select_block", 0.25),
    Row("ring1k_p1", "ring", 1, 1_000_000, 1000, "ring", 0.30),
    Row("ring1k_p2", "ring", 2, 1_000_000, 1000, "ring", 0.50),
    Row("ring100k_p1", "ring", 1, 1_000_000, 100_000, "ring", 0.60),
    Row("ring100k_p2", "ring", 2, 1_000_000, 100_000, "ring", 0.90),
    Row("sieve_p1", "sieve", 1, 0, 1000, "sieve.ms", 0.30),
    Row("sieve_p2", "sieve", 2, 0, 1000, "sieve.ms", 0.60),
    Row("mix_p2", "mix", 2, 200_000, 100, "mix"),
    Row("mutex1", "mutex", 1, 10_000_000, 1, "mutex", 1.00),
    Row("mutex2", "mutex", 2, 4_000_000, 2, "mutex", 1.00),
    Row("mutex100", "mutex", 2, 2_000_000, 100, "mutex", 0.50),
    Row("rw8", "rwmutex", 2, 8_000_000, 8, "rwmutex", 0.60),
    Row("waitgroup", "waitgroup", 1, 10_000_000, None, "waitgroup", 0.90),
    Row("mem100k", "memory", 2, 0, 100_000, "memory", 1.60),
    Row("mem100k_4k", "memory", 2, 4096, 100_000, "memory", 1.05),
    Row("create100k", "memory", 2, 0, 100_000, "memory.create", 1.00),
    Row("timers100k", "timers", 2, 0, 100_000, "timers.p99", 0.10),
    Row("timers100k.cpu", "timers", 2, 0, 100_000, "timers.cpu", 0.60),
    Row("timers1m.cpu", "timers", 2, 0, 1_000_000, "timers.cpu", 0.70, sides=PLAIN, asked=True),
    Row("fair", "cpu_fairness", 2, 1000, 4, "fairness.p99", 0.025, most=1000, sides=PLAIN),
    late("late_compute", "late_compute", 8),
    late("late_compute100", "late_compute", 100),
    late("late_malloc", "late_malloc", 8),
    late("late_print", "late_print", 8),
    late("late_sort", "late_sort", 8),
    late("late_once", "late_once", 8),
    late("late_lock", "late_lock", 8),
    Row("block", "blocking", 2, 10, 1000, "blocking", most=50, sides=PLAIN),
    Row("block.rate", "blocking", 2, 10, 1000, "blocking.rate", more=True, least=0.6, sides=PLAIN),
    Row("block_raw", "blocking_raw", 2, 10, 1000, "blocking", sides=PLAIN),
    Row("block_raw.rate", "blocking_raw", 2, 10, 1000, "blocking.rate", more=True, sides=PLAIN),
    Row("malloc", "malloc", 1, 20_000_000, 64, "malloc", sides=PLAIN),
    Row("prof_heap", "prof_heap", 1, 20_000_000, 64, "prof_heap.cost", most=1.0, sides=PLAIN),
    Row("tcp64", "tcp_server", 2, 150_000, 64, "tcp.rate", 1.25, more=True, epoll=0.95, sides=TCP),
    Row("tcp64.p99", "tcp_server", 2, 150_000, 64, "tcp.p99", 1.00, sides=TCP),
    Row("tcp64.server", "tcp_server", 2, 150_000, 64, "tcp.server.cpu", sides=TCP),
    Row("tcp1000", "tcp_server", 2, 150_000, 1000, "tcp.rate", 1.25, more=True, epoll=0.95, sides=TCP),
    Row("tcp1000.p99", "tcp_server", 2, 150_000, 1000, "tcp.p99", 1.00, sides=TCP),
    Row("tcp1000.server", "tcp_server", 2, 150_000, 1000, "tcp.server.cpu", sides=TCP),
    Row("annotate", "annotate", 1, 400_000, 0, "annotate"),
    Row("annotate.traced", "annotate", 1, 400_000, 1, "annotate", sides=TRACED),
    profile("prof_none", 0),
    profile("prof_cpu100", 1),
    profile("prof_block1", 2),
    profile("prof_block10us", 3),
    profile("prof_mutex1", 4),
    profile("prof_mutex100", 5),
    profile("prof_waits", 6, sides=("weft",)),
]
# Recorder on against off: the same run's own bound.
RECORDER_GOAL = {"switch_p1": 1.8, "pingpong_p1": 1.8, "pingpong_p2": 1.8, "mix_p2": 1.03}
