#!/bin/bash
# Every script is clean by shellcheck and starts with what it is for; python compiles.
# runs beside others
set -eu
mapfile -t scripts < <(find tests -name '*.sh'; echo .ci/run)
shellcheck --shell=bash "${scripts[@]}"
for f in "${scripts[@]}"; do
	head -n 2 "$f" | grep -q '^# ' || { echo "$f: says nowhere in its first two lines what it is for"; exit 1; }
done
find tests -name '*.py' -exec python3 - {} + <<'PY'
import sys
for name in sys.argv[1:]:
    with open(name, encoding="utf-8") as f:
        compile(f.read(), name, "exec")
PY
