#!/bin/bash
# run.sh SUITE... - the driver behind make check: one line a test, then "N passed, N failed[, N skipped]".
#
#   unit    every test case of $B/unit, counted one by one
#   SUITE   every tests/SUITE/NN-name.sh, one test each: in order, those first that run beside others
#
# A script with a line "# runs beside others" in it minds no neighbour: it compares no times, shares of the
# CPU or counts of the machine that one would spoil.  AT_ONCE (2) of these run at the same time, all others alone.
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
declare -A jobs=() # process of a script_job: its place in the list
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

# script_job NAME SCRIPT, in a process of its own: the outcome, "STATUS MICROSECONDS LIMIT", is left in a file.
script_job() {
	local log=$LOGS/${1//\//-}.log limit t0
	limit=$(sed -n 's/^# limit: \([0-9]*\).*/\1/p' "$2")
	limit=$((${limit:-300} * slow))
	TMP=$(mktemp -d -t weft-test.XXXXXX)
	export TMP
	trap 'rm -rf "$TMP"' EXIT
	trap '[ -z "$current" ] || kill -KILL -- "-$current" 2>/dev/null; exit 143' TERM
	rm -rf "${log%.log}.files" "${log%.log}.outcome"
	t0=$(now)
	in_session "$limit" "$log" bash "$2"
	t0=$(($(now) - t0))
	[ "$rc" = 0 ] || [ "$rc" = 77 ] || cp -r "$TMP" "${log%.log}.files"
	echo "$rc $t0 $limit" >"${log%.log}.outcome"
}

report_script() { # NAME
	local log=$LOGS/${1//\//-}.log rc=1 took=0 limit=0
	read -r rc took limit <"${log%.log}.outcome" || echo "the driver's process has ended" >>"$log"
	rm -f "${log%.log}.outcome"
	case $rc in
	0) report ok "$1" "$took" && passed=$((passed + 1)) ;;
	77) report SKIP "$1" "$took" "$(tail -n 1 "$log" | sed -E 's/^SKIP[^:]*: *//')" && skipped=$((skipped + 1)) ;;
	*)
		failed=$((failed + 1))
		report FAIL "$1" "$took" "$([ "$rc" != 124 ] || echo "no end within $limit s")"
		tail_of "$log"
		echo "        see $log, ${log%.log}.files"
		;;
	esac
}

# run_scripts N SCRIPT...: N at a time; reported in order.
run_scripts() {
	local most=$1 scripts=("${@:2}") names=() ended=() next=0 shown=0 pid script
	for script in "${scripts[@]}"; do names+=("$(name_of "$script")"); done
	while [ $shown -lt ${#names[@]} ]; do
		while [ $next -lt ${#names[@]} ] && [ ${#jobs[@]} -lt "$most" ]; do
			script_job "${names[next]}" "${scripts[next]}" &
			jobs[$!]=$((next++))
		done
		wait -n -p pid "${!jobs[@]}"
		ended[${jobs[$pid]}]=1
		unset "jobs[$pid]"
		while [ -n "${ended[shown]:-}" ]; do report_script "${names[shown++]}"; done
	done
}

name_of() { echo "$(basename "$(dirname "$1")")/$(basename "$1" .sh)"; }

run_suite() { # SUITE
	local script name why together=() alone=()
	for script in tests/"$1"/[0-9][0-9]-*.sh; do
		name=$(name_of "$script")
		[ -e "$script" ] || continue
		# shellcheck disable=SC2053 # a pattern is meant
		[ -z "${ONLY:-}" ] || [[ $name == $ONLY ]] || continue
		if why=$(excluded "$name"); then
			echo "----  $name is no part of $V: $why"
		elif grep -q '^# runs beside others' "$script"; then
			together+=("$script")
		else
			alone+=("$script")
		fi
	done
	run_scripts "$AT_ONCE" "${together[@]}"
	run_scripts 1 "${alone[@]}"
}

# A line a suite and one a failure, from check's XML report; last: "PASSED FAILED COMPLETE".
unit_report() {
	awk '
		function inner() { sub(/^[^>]*>/, ""); sub(/<[^<]*$/, ""); return $0 }
		/<title>/ { suite = inner(); order[++suites] = suite }
		/<test result=/ { good = /"success"/; n[suite]++; bad[suite] += !good; if (good) passed++; else failed++ }
		/<fn>/ { at = inner() }
		/<id>/ { id = inner() }
		/<message>/ && !good { why[suite] = why[suite] "        | " at " " id ": " inner() "\n" }
		/^<\/testsuites>/ { complete = passed + failed > 0 }
		END {
			for (i = 1; i <= suites; i++) {
				s = order[i]
				printf "%-4s  unit/%-39s %4d tests%s\n%s", bad[s] ? "FAIL" : "ok", s, n[s],
					bad[s] ? ", " bad[s] " failed" : "", why[s]
			}
			print passed + 0, failed + 0, complete + 0
		}' "$1" | sed 's/&lt;/</g; s/&gt;/>/g; s/&quot;/"/g; s/&apos;/'"'"'/g; s/&amp;/\&/g'
}

run_unit() {
	local rc t0 log=$LOGS/unit.log xml=$LOGS/unit.xml tags lines p f complete
	# shellcheck disable=SC2053 # a pattern is meant
	[ -z "${ONLY:-}" ] || [[ unit == $ONLY ]] || return 0
	tags=$(awk -v v="$V" '$1 == v && sub(/^unit-tag:/, "", $2) { printf "%s ", $2 }' tests/exclusions)
	[ -z "$tags" ] || echo "----  unit tests tagged ${tags% } are no part of $V: see tests/exclusions"
	: >"$xml"
	t0=$(now)
	CK_EXCLUDE_TAGS=$tags CK_XML_LOG_FILE_NAME=$xml in_session $((600 * slow)) "$log" "$B/unit"
	t0=$(($(now) - t0))
	mapfile -t lines < <(unit_report "$xml")
	read -r p f complete <<<"${lines[-1]}"
	[ ${#lines[@]} -eq 1 ] || printf '%s\n' "${lines[@]:0:${#lines[@]}-1}"
	if [ "$complete" = 0 ] || { [ "$rc" -ne 0 ] && [ "$f" -eq 0 ]; }; then
		f=$((f + 1))
		report FAIL unit "$t0" "status $rc: not all tests were run, a process was left, or a sanitizer reported"
	fi
	passed=$((passed + p))
	failed=$((failed + f))
	[ "$f" -eq 0 ] || { tail_of "$log" && echo "        see $log"; }
}

for suite; do
	if [ "$suite" = unit ]; then run_unit; else run_suite "$suite"; fi
done
if [ "$skipped" -gt 0 ]; then
	echo "$passed passed, $failed failed, $skipped skipped"
else
	echo "$passed passed, $failed failed"
fi
[ "$failed" -eq 0 ] && [ $((passed + skipped)) -gt 0 ]
