#!/bin/bash
# weftd exports exactly what runtime/weft.dyn lists: no more (nothing internal, rt_ or other), no less.
# Beside that stand only the C library's own variables that the program refers to, its locks and its allocator.
set -eu
[ -x "$WEFTD" ]
sed -nE 's/^[[:space:]]+([a-z_0-9]+);.*/\1/p' runtime/weft.dyn | sort >"$TMP/listed"
LC_ALL=C sort -c "$TMP/listed"
nm -D --defined-only "$WEFTD" | awk '{ print $3 }' | grep -v '@GLIBC' | sort >"$TMP/exported"
# Functions of the C library that weftd puts its own in front of (runtime/interpose_*.c, plock.c, heap.c): all, and only these.
interposed='close close_range dup2 dup3 pthread_create'
interposed="$interposed aligned_alloc calloc free malloc memalign posix_memalign pvalloc realloc reallocarray valloc"
locks=$(sed -nE 's/^	X\([a-z]+, ([a-z_]+),.*/\1/p; s/^.*visibility\("default"\)\)\) void ([a-z]+)\(.*/\1/p' runtime/plock.c)
[ "$(wc -w <<<"$locks")" -ge 20 ]
interposed="$interposed ${locks//$'\n'/ }"
case $V in
asan | tsan | cov) grep '^\(weft\|rt\)_' "$TMP/exported" >"$TMP/ours" || : ;;
*)
	for name in $interposed; do
		grep -qx "$name" "$TMP/exported" || { echo "$name is not exported: plugins get the C library's"; exit 1; }
	done
	grep -vxF "${interposed// /$'\n'}" "$TMP/exported" >"$TMP/ours"
	;;
esac
diff "$TMP/listed" "$TMP/ours"

# Every function of weft.h is listed, and nothing else.
gcc -E -P -Iruntime/include -DWEFT_NO_SUGAR -x c runtime/include/weft.h | tr '\n' ' ' |
	grep -oE '\bweft_[a-z_0-9]+ ?\([^;{}]*\)[^;{}]*;' | grep -oE '^weft_[a-z_0-9]+' | sort -u >"$TMP/declared"
diff "$TMP/declared" "$TMP/listed"

# A bundled plugin exports its entry alone.
for so in "$B"/plugins/*.so; do
	[ "$(nm -D --defined-only "$so" | awk '{ print $3 }' | grep -v '^__\(asan\|odr\|tsan\|gcov\)')" = weft_plugin_entry ] || {
		echo "$so exports more or less than weft_plugin_entry"
		exit 1
	}
done
