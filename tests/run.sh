#!/bin/bash
# run.sh SUITE... - the driver behind make check: one line a test, then "N passed, N failed[, N skipped]".
#
#   unit    every suite of $B/unit in a process of its own, its test cases counted one by one
#   SUITE   every tests/SUITE/NN-name.sh, one test each
#
# Those that run beside others are first, AT_ONCE (2) at a time, then all others, one by one; each part in order. A
# script with a line "# runs beside others" in it minds no neighbour: it compares no times, shares of the CPU or counts
# of the machine that one would spoil.  A unit suite minds none unless a line " * Runs alone" in its file says so.
#
# A test script runs in the root of the tree with B (build folder, absolute), V (variant), WEFTD (the
# daemon) and TMP (an empty folder of its own) set, in a session of its own.  Exit status 0 passes, 77
# skips (its last line is the reason), all else fails; so does leaving a process behind.  A line
# "# limit: SECONDS" in it sets another time limit than 300 s (a sanitizer variant, or an emulated one, gets 3 times as
# much, and E2E_SLOW says 5 to what waits inside).  Its output is kept in $B/test-logs, and
# on failure the end of it is shown and TMP is kept beside it.
#
# tests/exclusions names what is no part of a variant; that is not a skip.  ONLY=PATTERN runs the tests
# whose SUITE/NN-name it matches.
#
# A sanitizer's report fails the test during which it was written, whatever its exit status.
set -u
cd "$(dirname "$0")/.." || exit 1
V=${V:-release}
B=$(realpath -m "${B:-build/$V}")
LOGS=$B/test-logs
WEFTD=$B/weftd
export B V WEFTD
export LC_ALL=C.UTF-8
# A make that a test calls keeps the variables of the one that called us, but not its job slots.
MAKEFLAGS=$(sed -E 's/ ?-j[0-9]*//; s/ ?--jobserver[^ ]*//' <<<"${MAKEFLAGS:-}")
MAKE=${MAKE:-make}
export MAKE MAKEFLAGS
unset MAKELEVEL MFLAGS
AT_ONCE=${AT_ONCE:-2}
passed=0 failed=0 skipped=0 slow=1 current=''
declare -A jobs=() # process of a job: its place in the list
case $V in
asan | tsan | arm64)
	slow=3
	export E2E_SLOW="${E2E_SLOW:-5}"
	;;
esac
mkdir -p "$LOGS"

end() {
	trap '' INT TERM HUP
	[ -z "$current" ] || kill -KILL -- "-$current" 2>/dev/null
	[ ${#jobs[@]} -eq 0 ] || { kill -TERM "${!jobs[@]}" 2>/dev/null && wait "${!jobs[@]}"; }
	exit "$1"
}
trap 'end 130' INT
trap 'end 143' TERM HUP

# now: microseconds, for durations only
now() { echo "${EPOCHREALTIME/[.,]/}"; }

report() { # WORD NAME MICROSECONDS [REMARK]
	printf '%-4s  %-44s %6d.%d s%s\n' "$1" "$2" $(($3 / 1000000)) $(($3 / 100000 % 10)) "${4:+  $4}"
}

tail_of() { sed 's/^/        | /' "$1" | tail -n "${TAIL:-60}"; }

# The reason why NAME is no part of this variant; fails when it is.
excluded() {
	awk -v v="$V" -v n="$1" '$1 == v && $2 == n { $1 = $2 = ""; sub(/^ +/, ""); print; found = 1 }
		END { exit !found }' tests/exclusions
}

# in_session LIMIT LOG COMMAND...: sets rc; kills and reports what was left running, adds what sanitizers say.
in_session() {
	local limit=$1 log=$2 reports=${2%.log}.sanitizer left
	shift 2
	rm -f "$reports".*
	ASAN_OPTIONS="${ASAN_OPTIONS:-}:log_path=$reports" UBSAN_OPTIONS="${UBSAN_OPTIONS:-}:log_path=$reports" \
		TSAN_OPTIONS="${TSAN_OPTIONS:-}:log_path=$reports" \
		setsid timeout -k 10 "$limit" "$@" >"$log" 2>&1 </dev/null &
	current=$!
	wait "$current"
	rc=$?
	left=$(ps -o stat=,pid=,args= -s "$current" | awk '$1 !~ /^Z/')
	if [ -n "$left" ]; then
		printf 'left running:\n%s\n' "$left" >>"$log"
		ps -o pid= -s "$current" | xargs -r kill -KILL 2>/dev/null
		[ "$rc" -ne 0 ] || rc=1
	fi
	if compgen -G "$reports.*" >/dev/null; then
		cat "$reports".* >>"$log"
		[ "$rc" -ne 0 ] || rc=1
	fi
	current=''
}

log_of() { echo "$LOGS/$(tr '/ ' '--' <<<"$1").log"; }

# job NAME, in a process of its own: the outcome, "STATUS MICROSECONDS LIMIT", is left in a file.
job() {
	local log limit=300 t0 command
	log=$(log_of "$1")
	case $1 in
	unit/*)
		command=("$B/unit")
		export CK_RUN_SUITE=${1#unit/} CK_EXCLUDE_TAGS=$unit_tags CK_XML_LOG_FILE_NAME=${log%.log}.xml
		: >"$CK_XML_LOG_FILE_NAME"
		;;
	*)
		command=(bash "tests/$1.sh")
		limit=$(sed -n 's/^# limit: \([0-9]*\).*/\1/p' "tests/$1.sh")
		;;
	esac
	limit=$((${limit:-300} * slow))
	TMP=$(mktemp -d -t weft-test.XXXXXX)
	export TMP
	trap 'rm -rf "$TMP"' EXIT
	trap '[ -z "$current" ] || kill -KILL -- "-$current" 2>/dev/null; exit 143' TERM
	rm -rf "${log%.log}.files" "${log%.log}.outcome"
	t0=$(now)
	in_session "$limit" "$log" "${command[@]}"
	t0=$(($(now) - t0))
	[ "$rc" = 0 ] || [ "$rc" = 77 ] || cp -r "$TMP" "${log%.log}.files"
	echo "$rc $t0 $limit" >"${log%.log}.outcome"
}

report_job() { # NAME
	local log rc=1 took=0 limit=0
	log=$(log_of "$1")
	read -r rc took limit <"${log%.log}.outcome" || echo "the driver's process has ended" >>"$log"
	rm -f "${log%.log}.outcome"
	case $1 in
	unit/*) report_suite "$1" "$log" "$rc" "$took" "$limit" ;;
	*) report_script "$1" "$log" "$rc" "$took" "$limit" ;;
	esac
}

too_long() { # STATUS LIMIT
	[ "$1" != 124 ] || echo "no end within $2 s"
}

report_script() { # NAME LOG STATUS MICROSECONDS LIMIT
	case $3 in
	0) report ok "$1" "$4" && passed=$((passed + 1)) ;;
	77) report SKIP "$1" "$4" "$(tail -n 1 "$2" | sed -E 's/^SKIP[^:]*: *//')" && skipped=$((skipped + 1)) ;;
	*)
		failed=$((failed + 1))
		report FAIL "$1" "$4" "$(too_long "$3" "$5")"
		tail_of "$2"
		echo "        see $2, ${2%.log}.files"
		;;
	esac
}

# "PASSED FAILED COMPLETE" and a line a failure, from check's XML report.
unit_report() {
	awk '
		function inner() { sub(/^[^>]*>/, ""); sub(/<[^<]*$/, ""); return $0 }
		/<title>/ { suites++ }
		/<test result=/ { good = /"success"/; if (good) passed++; else failed++ }
		/<fn>/ { at = inner() }
		/<id>/ { id = inner() }
		/<message>/ && !good { why = why "        | " at " " id ": " inner() "\n" }
		/^<\/testsuites>/ { complete = suites == 1 }
		END { print passed + 0, failed + 0, complete + 0; printf "%s", why }' "$1" |
		sed 's/&lt;/</g; s/&gt;/>/g; s/&quot;/"/g; s/&apos;/'"'"'/g; s/&amp;/\&/g'
}

report_suite() { # NAME LOG STATUS MICROSECONDS LIMIT
	local lines p f complete why=''
	mapfile -t lines < <(unit_report "${2%.log}.xml")
	read -r p f complete <<<"${lines[0]}"
	if [ "$complete" = 0 ] || { [ "$3" -ne 0 ] && [ "$f" -eq 0 ]; }; then
		f=$((f + 1))
		why=$(too_long "$3" "$5")
		why=", ${why:-status $3: not all tests were run, a process was left, or a sanitizer reported}"
	fi
	passed=$((passed + p))
	failed=$((failed + f))
	if [ "$f" -eq 0 ]; then
		report ok "$1" "$4" "$p tests"
		return
	fi
	report FAIL "$1" "$4" "$((p + f)) tests, $f failed$why"
	[ ${#lines[@]} -eq 1 ] || printf '%s\n' "${lines[@]:1}"
	tail_of "$2"
	echo "        see $2"
}

# run_jobs N NAME...: N at a time; reported in order.
run_jobs() {
	local most=$1 names=("${@:2}") ended=() next=0 shown=0 pid
	while [ $shown -lt ${#names[@]} ]; do
		while [ $next -lt ${#names[@]} ] && [ ${#jobs[@]} -lt "$most" ]; do
			job "${names[next]}" &
			jobs[$!]=$((next++))
		done
		wait -n -p pid "${!jobs[@]}"
		ended[${jobs[$pid]}]=1
		unset "jobs[$pid]"
		while [ -n "${ended[shown]:-}" ]; do report_job "${names[shown++]}"; done
	done
}

wanted() { # NAME
	# shellcheck disable=SC2053 # a pattern is meant
	[ -z "${ONLY:-}" ] || [[ $1 == $ONLY ]]
}

# Both add to together and alone.
find_suites() {
	local test file title
	unit_tags=$(awk -v v="$V" '$1 == v && sub(/^unit-tag:/, "", $2) { printf "%s ", $2 }' tests/exclusions)
	[ -z "$unit_tags" ] || echo "----  unit tests tagged ${unit_tags% } are no part of $V: see tests/exclusions"
	while read -r test; do
		file=tests/unit/$test.c
		title=$(sed -n 's/.*suite_create("\([^"]*\)").*/\1/p' "$file")
		wanted unit || wanted "unit/$title" || continue
		if grep -q '^ \* Runs alone' "$file"; then
			alone+=("unit/$title")
		else
			together+=("unit/$title")
		fi
	done < <(sed 's/X(\(.*\))/\1/' "$B/gen/suites.h")
}

find_scripts() { # SUITE
	local script name why
	for script in tests/"$1"/[0-9][0-9]-*.sh; do
		[ -e "$script" ] || continue
		name=$1/$(basename "$script" .sh)
		wanted "$name" || continue
		if why=$(excluded "$name"); then
			echo "----  $name is no part of $V: $why"
		elif grep -q '^# runs beside others' "$script"; then
			together+=("$name")
		else
			alone+=("$name")
		fi
	done
}

together=() alone=() unit_tags=''
for suite; do
	if [ "$suite" = unit ]; then find_suites; else find_scripts "$suite"; fi
done
run_jobs "$AT_ONCE" "${together[@]}"
run_jobs 1 "${alone[@]}"
if [ "$skipped" -gt 0 ]; then
	echo "$passed passed, $failed failed, $skipped skipped"
else
	echo "$passed passed, $failed failed"
fi
[ "$failed" -eq 0 ] && [ $((passed + skipped)) -gt 0 ]
