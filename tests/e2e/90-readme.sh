#!/bin/bash
# The README's commands do what it says: every ```sh block is run in order, on a terminal where it is one
# to start and to end with Ctrl-C (look: at once), and the ```text block after one is compared with its output.
# limit: 400
# In a network of its own: the README's ports are fixed.
if [ -z "${OWN_NET:-}" ]; then
	map=()
	[ "$(id -u)" = 0 ] || map=(--map-root-user)
	# SIOCSIFFLAGS brings up lo: flags IFF_UP, IFF_RUNNING.
	# shellcheck disable=SC2016 # perl's variables
	lo='my $r = pack("a16 s x22", "lo", 0x41); socket(S, 2, 2, 0) && ioctl(S, 0x8914, $r) or die "lo: $!\n"'
	if unshare --net "${map[@]}" perl -e "$lo" 2>/dev/null; then
		export OWN_NET=1
		exec unshare --net "${map[@]}" bash -c "perl -e '$lo' && exec bash '$0'"
	fi
	for port in 6060 6061 8081 8082; do
		if (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
			echo "SKIP: port $port is in use, and no network namespace can be made"
			exit 77
		fi
	done
fi
# shellcheck source=../lib/e2e.sh
. "$(dirname "$0")/../lib/e2e.sh"
need_go
cd "$ROOT" || exit 1
# The README writes to ~/hello, and says build/release where the folder under test is meant.
GOCACHE=$(go env GOCACHE)
export GOCACHE HOME=$T/home BROWSER=true MAKEFLAGS=
mkdir -p "$HOME/hello" "$T/blocks"
readme=$T/blocks/README.md
sed "s#\$PWD/build/release#$B#g" README.md >"$readme"
python3 tests/lib/readme.py extract "$readme" "$T/blocks" >"$T/names" || exit 1

terminals=() # of each running one: "PID OUTPUT KEYS", the last started last

says() { python3 tests/lib/readme.py match "$1" "$2"; }
summary() { grep -v '^ *$' "$1" | head -n 1; }

start() { # BLOCK: on a terminal, as a user's second one would be
	local out=$1.out keys=$1.keys
	mkfifo "$keys"
	# Read and write, so that neither side waits for the other to open it.
	# A background job of a script ignores SIGINT; what it starts must not.
	env --default-signal=INT,QUIT script -qfec "exec $(<"$1")" "$out" <>"$keys" >/dev/null 2>&1 &
	STARTED+=("$!")
	terminals+=("$! $out $keys")
	if grep -q 'pprof -http' "$1"; then
		check "the flame graph has the plugin's worker and fib" wait_until 60 flame_graph
	elif grep -q 'go tool trace' "$1"; then
		check "the trace has the gateway's tasks and regions" wait_until 60 viewer
	else
		check "ready: $(summary "$1")" wait_until 60 answers http://127.0.0.1:6060/readyz
	fi
}

# Ctrl-C on the terminal started last.
interrupt() { # STATUS that it has to end with, or any
	local pid out keys rc last=$((${#terminals[@]} - 1))
	read -r pid out keys <<<"${terminals[$last]}"
	unset "terminals[$last]"
	printf '\003' 1<>"$keys"
	if ! wait_until 15 gone "$pid"; then
		fail "Ctrl-C ends it" "$(tail -n 5 "$out")"
		return
	fi
	wait "$pid"
	rc=$?
	[ "$1" = any ] || eq "exit status after Ctrl-C" "$rc" "$1"
	has_not "make has nothing to say about it" "$out" '^make.*(Error|Interrupt)'
}

answers() { curl -sf -m 5 -o "$T/answer" "$1"; }
flame_graph() {
	answers http://127.0.0.1:8081/ui/flamegraph && grep -q '"worker"' "$T/answer" && grep -q '"fib"' "$T/answer"
}

viewer() {
	answers http://127.0.0.1:8082/usertasks && grep -q 'GET /item/' "$T/answer" &&
		answers http://127.0.0.1:8082/userregions && grep -q 'backend' "$T/answer"
}

last_out=''
while read -r name; do
	block=$T/blocks/$name
	case $name in
	*.text)
		check "prints what the README says: $(summary "$block")" wait_until 10 says "$block" "$last_out"
		[ "$FAILED" = 0 ] || tail -n 20 "$last_out"
		continue
		;;
	*.file)
		path=$(head -n 1 "$block")
		tail -n +2 "$block" >"${path/#\~/$HOME}"
		continue
		;;
	*.elsewhere) continue ;; # check-install and check-boot
	*.start) start "$block" ;;
	*.look) start "$block" && interrupt any ;;
	*.restart) interrupt 0 && start "$block" ;;
	*.run)
		# In this shell: cd and export last, as on the reader's terminal.
		# shellcheck source=/dev/null
		. "$block" >"$block.out" 2>"$block.err"
		eq "exit status of: $(summary "$block")" "$?" 0
		[ ! -s "$block.err" ] || sed 's/^/    /' "$block.err"
		;;
	*)
		fail "a fence of the README is marked \"${name#*.}\""
		continue
		;;
	esac
	last_out=$block.out
done <"$T/names"
interrupt any # pprof's web server
interrupt 0
between "blocks in the README" "$(wc -l <"$T/names")" 12 100
finish
