#!/bin/bash
# clang-format changes nothing.
# runs beside others
set -eu
find runtime proto conf http daemon tests \( -name '*.[ch]' -o -name '*.cc' \) -exec clang-format --dry-run -Werror {} +
