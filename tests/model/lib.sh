# lib.sh - sourced by the model tests: builds a model from the runtime's own files and searches it (mc.h).
#
#   model NAME [CASE...]           tests/model/model_NAME.c with the runtime as it is: nothing may be found
#   plant WHAT FILE SED [CASE...]  the same with FILE of the runtime changed by SED: it must be found, in
#                                  one of the CASEs (default: all)
#
# The runtime's larger constants are made small first: the same code, fewer states.  An expression, there or
# of a plant, that changes nothing is an error: the code it was meant for is no longer there.
# Functions called once stay functions: inlined, what they leave in registers would make more states of one.
# MODEL_RUNTIME=DIR takes another copy of runtime/*.[ch], to try a change.
# shellcheck shell=bash
set -eu
: "${TMP:?is set by tests/run.sh}" "${CC:=cc}"
MODEL_FLAGS=(-std=gnu17 -D_GNU_SOURCE -O1 -g -DRT_CHECKS=0 -fno-strict-aliasing -fno-omit-frame-pointer
	-fno-stack-protector -fcf-protection=none -fno-inline-functions-called-once -no-pie -Wall -Wextra -Wno-unused-function
	-Wno-unused-const-variable)

# edit FILE SED
edit() {
	cp "$1" "$TMP/before"
	sed -i -E "$2" "$1"
	if cmp -s "$1" "$TMP/before"; then
		echo "FAIL  $1: nothing there for: $2"
		exit 1
	fi
}

# compile DIR-OF-RUNTIME OUT [FLAG...]
compile() {
	"$CC" "${MODEL_FLAGS[@]}" "${@:3}" -Itests/model -I"$1" -Iruntime/include -Iruntime/host -Iruntime/read \
		-o "$2" "tests/model/model_$model_name.c" "$TMP"/mc*.o "$TMP/switch.a"
}

model() {
	model_name=$1
	mkdir "$TMP/rt"
	cp "${MODEL_RUNTIME:-runtime}"/*.[ch] "$TMP/rt"
	rm "$TMP/rt/atomic.h"
	edit "$TMP/rt/base.h" 's/^(#define RT_RUNQ) .*/\1 4/'
	edit "$TMP/rt/base.h" 's/^(#define RT_DEQUE) .*/\1 4/'
	edit "$TMP/rt/base.h" 's/^(#define RT_FREE_MAX) .*/\1 4/'
	edit "$TMP/rt/lock.c" 's/^(#define SPINS) .*/\1 1/'
	edit "$TMP/rt/mutex.c" 's/^(#define SPINS) .*/\1 1/;s/^(#define SPIN_PAUSES) .*/\1 1/'
	edit "$TMP/rt/find.c" 's/^(#define STEAL_ROUNDS) .*/\1 1/'
	edit "$TMP/rt/sema.c" 's/^(#define BUCKETS) .*/\1 2/'
	edit "$TMP/rt/inst.c" 's/^(#define INSTANCES_MAX) .*/\1 4/'
	local part
	for part in mc mc_state mc_search; do
		"$CC" "${MODEL_FLAGS[@]}" -O2 -c -o "$TMP/$part.o" "tests/model/$part.c"
	done
	"$CC" -Drt_switch=real_switch -Drt_syscall=real_syscall -c -o "$TMP/switch.o" runtime/switch_amd64.S
	ar rcs "$TMP/switch.a" "$TMP/switch.o"
	compile "$TMP/rt" "$TMP/model"
	shift
	"$TMP/model" "$@"
}

# The checker itself: what has to be found in the model as it is
finds() {
	"$TMP/model" -p "$1" || {
		echo "FAIL  $model_name: nothing was found in: $1"
		exit 1
	}
}

plant() {
	local what=$1 file=$2 sed=$3 rc=0
	shift 3
	rm -rf "$TMP/planted"
	cp -r "$TMP/rt" "$TMP/planted"
	edit "$TMP/planted/$file" "$sed"
	compile "$TMP/planted" "$TMP/model-planted" -w
	echo "--- planted: $what ($file)"
	"$TMP/model-planted" -p "$@" || rc=$?
	if [ $rc -ne 0 ]; then
		echo "FAIL  $model_name: a planted bug was not found: $what"
		exit 1
	fi
}
