#!/bin/bash
# A whole plugin in C and one in C++20, which use all of weft.h, compile and link without a warning,
# with gcc and clang; and export their entry.
set -eu
warn=(-Wall -Wextra -Wpedantic -Wshadow -Werror -Iruntime/include)
n=0
build() { # COMPILER...
	n=$((n + 1))
	echo "$*"
	"$@" -shared -fPIC -Wl,-z,now -Wl,--build-id -o "$TMP/$n.so"
	nm -D --defined-only "$TMP/$n.so" | grep -q ' weft_plugin_entry$'
}
for opt in -O0 -O2; do
	for std in c11 c17 gnu17; do
		build gcc -std=$std $opt "${warn[@]}" tests/abi/whole.c
		build clang -std=$std $opt "${warn[@]}" tests/abi/whole.c
	done
	build g++ -std=c++20 $opt "${warn[@]}" tests/abi/whole.cc
	build clang++ -std=c++20 $opt "${warn[@]}" tests/abi/whole.cc
done

# whole.c and whole.cc are whole: what weft.dyn exports, one of them calls.
{
	nm -D --undefined-only "$TMP/1.so"
	nm -D --undefined-only "$TMP/$n.so"
} | awk '{ print $2 }' | grep '^weft_' | sort -u >"$TMP/called"
sed -nE 's/^[[:space:]]+(weft_[a-z_]+);.*/\1/p' runtime/weft.dyn | sort >"$TMP/exported"
diff "$TMP/exported" "$TMP/called"

# A wrong element does not compile; the right one does.
compiles() { # STATEMENTS
	printf '#include <weft.h>\nstruct job { int a; };\ntypedef WEFT_CHAN(struct job) job_chan;\n
		int f(job_chan c);\nint f(job_chan c)\n{\n%s\n}\n' "$1" |
		gcc -std=gnu17 -Iruntime/include -Werror -fsyntax-only -x c - 2>/dev/null
}
compiles 'struct job j; return weft_send(c, (struct job){ 1 }) + weft_recv(c, &j);'
compiles 'struct job j; return weft_select(weft_on_send(c, (struct job){ 1 }), weft_on_recv(c, &j), weft_on_recv(c, NULL));'
for wrong in 'return weft_send(c, 1);' 'struct other { int a; } o = { 1 }; return weft_send(c, o);' \
	'long x; return weft_recv(c, &x);' 'return weft_select(weft_on_send(c, 1));' \
	'long x; return weft_select(weft_on_recv(c, &x));'; do
	if compiles "$wrong"; then
		echo "compiles, and should not: $wrong"
		exit 1
	fi
done
