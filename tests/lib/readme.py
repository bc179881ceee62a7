#!/usr/bin/env python3
"""Takes the README apart for tests/e2e/90-readme.sh.

    readme.py extract README FOLDER   writes each fenced block to FOLDER/NN.KIND and prints the names in
                                      order. KIND is the fence's second word after sh ("run" without one),
                                      "text", or for another language "file", whose first line then is the
                                      path that the README gives it.
    readme.py match WANTED GOT        exit status 0 when GOT has WANTED's lines in a row, beginning
                                      anywhere. "..." in a line stands for anything, a line of "..." for any
                                      number of lines.
"""

import pathlib
import re
import sys


def extract(readme, folder):
    block, kind, names = None, "", []
    for line in pathlib.Path(readme).read_text(encoding="utf-8").splitlines():
        if not line.startswith("```"):
            if block is not None:
                block.append(line)
        elif block is None:
            words = line[3:].split() + [""]
            kind = {"sh": words[1] or "run", "text": "text"}.get(words[0], "file")
            block = [words[1]] if kind == "file" else []
        else:
            name = f"{len(names):02d}.{kind}"
            pathlib.Path(folder, name).write_text("\n".join(block) + "\n", encoding="utf-8")
            names.append(name)
            block = None
    if block is not None:
        sys.exit(f"{readme}: a fence is not closed")
    print("\n".join(names))


def pattern(wanted):
    lines = []
    for line in wanted:
        if line.strip() == "...":
            lines.append(r"(?:.*\n)*?")
        else:
            lines.append(".*".join(re.escape(part) for part in line.split("...")) + r"[ \t]*\n")
    return "".join(lines)


def match(wanted, got):
    want = pathlib.Path(wanted).read_text(encoding="utf-8").splitlines()
    have = pathlib.Path(got).read_text(encoding="utf-8", errors="replace").replace("\r", "")
    sys.exit(0 if re.search("^" + pattern(want), have + "\n", re.MULTILINE) else 1)


if __name__ == "__main__":
    {"extract": extract, "match": match}[sys.argv[1]](*sys.argv[2:])
