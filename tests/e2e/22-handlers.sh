#!/usr/bin/env bash
# What signal handlers reach, read from the machine code: nothing of libc, no allocation, no lock, and in the
# sanitizer variants nothing instrumented (runtime/sanity.h).
# runs beside others
# shellcheck source=../lib/e2e.sh
. "$(dirname "$0")/../lib/e2e.sh"

# reach FUNCTION...: what is outside of weftd and may be called, however indirectly, from there, each with
# its way; a call whose target the code does not name; a FUNCTION that is not there.
cat >"$T/reach.py" <<'EOP'
import re, subprocess, sys

HEAD = re.compile(r"^([0-9a-f]+) <(.*)>:$")
DIRECT = re.compile(r"\t(?:call|j[a-z]+) +([0-9a-f]+) <[^>+]+(?:\+0x([0-9a-f]+))?>")
INDIRECT = re.compile(r"\tcall +\*")  # a jump is a switch's
name, calls, blind, at = {}, {}, set(), None
for line in open(sys.argv[1]):
    if m := HEAD.match(line):
        at = int(m[1], 16)
        name[at], calls[at] = m[2], set()
    elif m := DIRECT.search(line):
        calls[at].add(int(m[1], 16) - int(m[2] or "0", 16))  # a jump may lead into another function
    elif INDIRECT.search(line):
        blind.add(at)
via = {a: None for a in name if name[a] in sys.argv[2:]}
for missing in set(sys.argv[2:]) - {name[a] for a in via}:
    print("there is no", missing)
todo = list(via)
while todo:
    for to in calls.get(f := todo.pop(), ()):
        if to not in via:
            via[to] = f
            if not name.get(to, "?@").endswith("@plt"):
                todo.append(to)
for a in via:
    outside, way, f = "@" in name.get(a, "?@"), [], a
    while f is not None:
        way.append(name.get(f, hex(f)))
        f = via[f]
    if outside:
        print(" < ".join(way))
    elif a in blind:
        print("a call through a pointer:", " < ".join(way))
EOP
objdump -d --no-show-raw-insn "$WEFTD" >"$T/code" || skip "no objdump"
reach() { python3 "$T/reach.py" "$T/code" "$@" 2>&1; }

# The test itself can fail: these reach libc.
match "a call into libc is found" "$(reach weft_host_thread)" '^pthread_once@plt <.* weft_host_thread$'
match "so is one through several functions" "$(reach rt_signals_start)" '^pthread_atfork|^__register_atfork|@plt <'
eq "a name that is none is found" "$(reach no_such_function)" "there is no no_such_function"

eq "the CPU sampler's handler reaches nothing outside" "$(reach on_prof)" ""
eq "the capture's handler reaches nothing outside" "$(reach on_urg)" ""
# A second fault during a dump is told whatever state a sanitizer is in.
eq "giving up a dump reaches nothing outside" \
	"$(reach rt_out_begin rt_out_strn rt_out_end rt_signal_die | grep -v '^clock_gettime@plt < rt_now ')" ""
finish
