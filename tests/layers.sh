#!/bin/bash
# layers.sh [ROOT] - fails when a file includes across the architecture.
#
# The -I lists of the Makefile (INC.*) keep a folder from naming a header of a folder that it may not use.
# This catches the ways round them: paths, and libraries, which lie on the compiler's own path.
set -u
cd "${1:-$(dirname "$0")/..}" || exit 2

# includes FOLDERS: file:line:#include ... of every source file in them, the gaps taken out
includes() {
	local folder
	for folder; do
		[ ! -d "$folder" ] || find "$folder" -name '*.[chS]' -exec \
			grep -HnE '^[[:space:]]*#[[:space:]]*include' {} +
	done | sed -E 's/:[[:space:]]*#[[:space:]]*include[[:space:]]*/:#include /'
}

# refuse WHY: every line of stdin is a violation
refuse() { sed "s#\$#   ($1)#"; }

# only LIBRARY-PATTERN FOLDER...: who may include a library
only() {
	local pattern=$1 allowed
	shift
	allowed=$(printf '%s/|' "$@")
	includes runtime proto conf http daemon | grep -E "#include [<\"]($pattern)[>\"]" | grep -vE "^(${allowed%|})" |
		refuse "for $* alone"
}

violations() {
	includes runtime proto conf http daemon | grep -E '#include [<"](\.|/|[^>"]*\.\./)' | refuse 'a path round the -I lists'
	includes runtime proto conf http daemon | grep -E '#include [<"](runtime|proto|conf|http|daemon|tests)/' |
		refuse 'a path round the -I lists'
	includes runtime proto conf http daemon | grep -vE '#include [<"]' | refuse 'a name that no reader can see'
	only 'uv\.h|uv/.*' daemon
	only 'microhttpd\.h' http
	only 'jansson\.h' conf
	only 'protobuf-c/.*' proto
	only 'elfutils/.*|dwarf\.h|libelf\.h|gelf\.h' proto
	only 'zlib\.h' proto
	includes daemon/plugins | grep -E '#include "' | refuse 'plugins see <weft.h> and the system alone'
	includes runtime/include | grep -E '#include "' | refuse 'the public header stands alone'
	grep -REn --include='*.c' '\bdl(open|sym|close|addr1?|_iterate_phdr)\(' runtime proto conf http 2>/dev/null |
		grep -vE ':[0-9]+:[[:space:]]*(/?\*|//)|^runtime/(modules\.c:.*\bdl_iterate_phdr|(plock|interpose_thread)\.c:.*\bdlsym)' |
		refuse 'only the loader thread calls dl*: in daemon/, and to read the modules in runtime/modules.c; before main, runtime/plock.c and interpose_thread.c'
}

bad=$(violations)
[ -n "$bad" ] || exit 0
printf '%s\n' "$bad"
echo "layers: the lines above cross a layer (see INC.* in the Makefile)" >&2
exit 1
