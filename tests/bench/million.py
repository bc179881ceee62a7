#!/usr/bin/env python3
"""make check-million: 1,000,000 goroutines, each parked for ever in a channel receive.

Passes when one takes at most 4.3 KiB of resident memory, page tables and side tables included, and
all were started within 20 s. Needs 6 GiB of available memory: exit status 77 (skipped) without.
"""

import subprocess
import sys

GOROUTINES = 1_000_000
MOST_BYTES = 4.3 * 1024
MOST_SECONDS = 20
NEED_GIB = 6


def available_gib():
    with open("/proc/meminfo", encoding="ascii") as f:
        for line in f:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) / (1 << 20)
    return 0.0


def main():
    if available_gib() < NEED_GIB:
        print(f"SKIP check-million: {available_gib():.1f} GiB of memory are available, it needs {NEED_GIB}")
        sys.exit(77)
    try:
        done = subprocess.run([sys.argv[1], "memory", "2", "0", str(GOROUTINES)], stdout=subprocess.PIPE, text=True,
                              timeout=120, check=False)
    except subprocess.TimeoutExpired:
        sys.exit("check-million: the program was not done after 120 s")
    if done.returncode != 0:
        sys.exit(f"check-million: {sys.argv[1]}: exit status {done.returncode}")
    values = {name: float(value) for name, value, _ in (line.split("\t") for line in done.stdout.splitlines())}
    each, seconds = values["memory"], values["memory.create"] * GOROUTINES / 1e9
    print(f"{GOROUTINES:,} parked goroutines: {each / 1024:.3f} KiB each (at most {MOST_BYTES / 1024}), "
          f"started in {seconds:.2f} s (at most {MOST_SECONDS})")
    sys.exit(0 if each <= MOST_BYTES and seconds <= MOST_SECONDS else 1)


if __name__ == "__main__":
    main()
