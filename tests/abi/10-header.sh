#!/bin/bash
# weft.h stands alone: every C and C++ it claims, gcc and clang, no warning.
set -eu
warn=(-Wall -Wextra -Wpedantic -Wshadow -Werror -Iruntime/include -fsyntax-only)
for cc in gcc clang; do
	for std in c99 c11 c17 gnu17; do
		echo "$cc $std"
		printf '#include <weft.h>\nint none;\n' | $cc -std=$std "${warn[@]}" -x c -
		printf '#include <weft.h>\n#include <weft.h>\n#include <errno.h>\nint none;\n' | $cc -std=$std "${warn[@]}" -x c -
	done
done
for cxx in g++ clang++; do
	for std in c++17 c++20 gnu++20; do
		echo "$cxx $std"
		printf '#include <weft.h>\nint none;\n' | $cxx -std=$std "${warn[@]}" -x c++ -
	done
done
