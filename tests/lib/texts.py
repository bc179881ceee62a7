#!/usr/bin/env python3
"""The grammar of the text profiles, and what is left of a text when names are taken out.

    texts.py shapes1 FILE     debug=1: one line per distinct shape of a record
    texts.py shapes2 FILE     debug=2: one line per distinct shape of a goroutine
    texts.py ids FILE         debug=2: ids in order of appearance
    texts.py counts FILE      debug=2: "count function" of the innermost frames that are not the runtime's

A text that breaks the grammar ends the program with the line that did. Shapes of two servers that
were asked the same are equal: addresses, ids, counts, names, files and arguments are gone, runs of
frames count as one.
"""

import collections
import re
import sys

ADDRESS = r"0x[0-9a-f]+"
RECORD = re.compile(rf"\d+ @( {ADDRESS})+$")
LABELS = re.compile(r'# labels: \{"[^"]+":"(?:[^"\\]|\\.)*"(?:, "[^"]+":"(?:[^"\\]|\\.)*")*\}$')
OWN_LABEL = re.compile(r'# labels: \{"instance":"[^"]*"\}$')  # weft's own, on every goroutine
FRAME = re.compile(rf"#\t{ADDRESS}(\t+\S.*\+{ADDRESS}\t+\S.*:\d+)?$")
MAPS = re.compile(r"[0-9a-f]+-[0-9a-f]+ [r-][w-][x-][ps] [0-9a-f]+ [0-9a-f]+:[0-9a-f]+ \d+( +.*)?$")

HEADER = re.compile(r"goroutine (\d+) \[([a-zA-Z. ()]+)(, \d+ minutes)?(, locked to thread)?\]:$")
FUNCTION = re.compile(r"(\S.*)\((?:\.\.\.|[0-9a-fx?{}, ._]*(?:\.\.\.)?[}]*)\)$")
FILE = re.compile(rf"\t(\S.*):(\d+)( \+{ADDRESS})?$")
CREATED = re.compile(r"created by (\S.*?)(?: in goroutine (\d+))?$")
ELIDED = re.compile(r"\.\.\.\d+ frames elided\.\.\.$")
UNAVAILABLE = re.compile(r"\tgoroutine running on other thread; stack unavailable$")


def bad(number, line, why):
    sys.exit(f"line {number}: {why}: {line!r}")


def lines_of(path):
    with open(path, encoding="utf-8", errors="strict") as f:
        text = f.read()
    if not text.endswith("\n"):
        sys.exit("the text does not end with a newline")
    return text[:-1].split("\n")


def shapes1(path):
    lines = lines_of(path)
    head = re.match(r"[a-z]+ profile: total (\d+)$", lines[0])
    if not head:
        bad(1, lines[0], "not the first line of a profile")
    shapes, shape, total, i = set(), None, 0, 1
    while i < len(lines):
        line = lines[i]
        if line.startswith("---"):
            if line != "--- Memory map: ---":
                bad(i + 1, line, "not the memory map's line")
            for j in range(i + 1, len(lines)):
                if lines[j] and not MAPS.match(lines[j]):
                    bad(j + 1, lines[j], "not a line of a memory map")
            break
        if RECORD.match(line):
            if shape:
                bad(i + 1, line, "a record without a blank line before it")
            shape, total = ["record"], total + int(line.split()[0])
        elif LABELS.match(line) and shape == ["record"]:
            if not OWN_LABEL.match(line):
                shape.append("labels")
        elif FRAME.match(line) and shape:
            if shape[-1] != "frames":
                shape.append("frames")
        elif line == "" and (shape or i + 1 == len(lines) or lines[i + 1].startswith("---")):
            if shape:
                shapes.add(" ".join(shape))
            shape = None
        else:
            bad(i + 1, line, "breaks the grammar")
        i += 1
    if shape:
        shapes.add(" ".join(shape))
    if total != int(head.group(1)):
        sys.exit(f"the records add up to {total}, the first line says {head.group(1)}")
    return sorted(shapes)


class Goroutine:
    def __init__(self, ident, state):
        self.ident, self.state, self.shape, self.functions = ident, state, [], []

    def add(self, token):
        if not self.shape or self.shape[-1] != token:
            self.shape.append(token)


def body_line(g, lines, i):
    """Take the frame, creator or remark at line i; returns the next line's index."""
    line = lines[i]
    if UNAVAILABLE.match(line):
        g.add("unavailable")
        return i + 1
    if ELIDED.match(line):
        g.add("elided")
        return i + 1
    created, function = CREATED.match(line), FUNCTION.match(line)
    if not created and not function:
        bad(i + 1, line, "breaks the grammar")
    if i + 1 >= len(lines) or not FILE.match(lines[i + 1]):
        bad(i + 2, lines[i + 1] if i + 1 < len(lines) else "", "not a file line")
    if created:
        g.add("created in" if created.group(2) else "created")
    else:
        g.add("frames")
        g.functions.append(function.group(1))
    return i + 2


def goroutines(path):
    lines, i, g = lines_of(path), 0, None
    while i < len(lines):
        head = HEADER.match(lines[i])
        if not head:
            bad(i + 1, lines[i], "not the first line of a goroutine")
        g = Goroutine(int(head.group(1)), head.group(2))
        i += 1
        while i < len(lines) and lines[i] != "":
            i = body_line(g, lines, i)
        yield g
        i += 1


def main():
    what, path = sys.argv[1:]
    if what == "shapes1":
        out = shapes1(path)
    elif what == "shapes2":
        out = sorted({f"[{g.state}] {' '.join(g.shape)}" for g in goroutines(path)})
    elif what == "ids":
        out = [str(g.ident) for g in goroutines(path)]
    elif what == "counts":
        seen = collections.Counter(next((f for f in g.functions if not f.startswith(("weft_", "rt_"))), "none")
                                   for g in goroutines(path))
        out = [f"{n} {name}" for name, n in seen.most_common()]
    else:
        sys.exit(__doc__)
    print("\n".join(out))


if __name__ == "__main__":
    main()
