#!/usr/bin/env bash
# The command line and the configuration file: what is accepted, what is refused and in which words.
# runs beside others
# shellcheck source=../lib/e2e.sh
. "$(dirname "$0")/../lib/e2e.sh"

# bad WHAT JSON REGEX...: --check refuses the file with status 78, naming it, and saying all that.
bad() {
	local re
	printf '%s\n' "$2" >"$T/bad.json"
	weftd_run --check --config "$T/bad.json"
	eq "$1: status 78" "$STATUS" 78
	for re in 'bad\.json' "${@:3}"; do
		match "$1: says $re" "$OUT$ERR" "$re"
	done
}

weftd_run --version
eq "--version: status 0" "$STATUS" 0
match "--version: names weftd and a version" "$OUT" '^weftd [^ ]'

weftd_run --help
eq "--help: status 0" "$STATUS" 0
for option in --config --check --print-config --version --help; do
	match "--help lists $option" "$OUT" "(^|[ ,])$option([ =,]|\$)"
done

weftd_run --no-such-option
check "an unknown option is refused" test "$STATUS" -ne 0
match "an unknown option is named" "$ERR" 'no-such-option'

weftd_run --check --config "$T/absent.json"
eq "no such file: status 78" "$STATUS" 78
match "no such file: named" "$ERR" 'absent\.json'

# The smallest useful file, as it stands in the documentation.
cat >"$T/minimal.json" <<'EOF'
{ "http":      { "listen": ["127.0.0.1:6060"] },
  "runtime":   { "maxprocs": "auto" },
  "instances": [ { "name": "primes", "plugin": "primes.so", "config": { "limit": 10000 } } ] }
EOF
weftd_run --check --config "$T/minimal.json"
eq "the minimal file passes --check" "$STATUS" 0
weftd_run --check --config "$ROOT/conf/weftd.json"
eq "conf/weftd.json passes --check" "$STATUS" 0
jq '.http.listen = ["127.0.0.1:0"]' "$T/minimal.json" >"$CONFIG"
weftd_start
get /debug/pprof/goroutine
eq "the minimal file runs and serves" "$CODE" 200
weftd_stop

# What --print-config prints is the file with every default, and loads again to the same thing.
for file in "$T/minimal.json" "$ROOT/conf/weftd.json"; do
	name=$(basename "$file")
	weftd_run --print-config --config "$file"
	eq "--print-config $name: status 0" "$STATUS" 0
	check "--print-config $name is JSON" jq -e . "$T/out"
	cp "$T/out" "$T/first.json"
	weftd_run --print-config --config "$T/first.json"
	eq "--print-config $name loads again to the same" "$OUT" "$(cat "$T/first.json")"
	weftd_run --check --config "$T/first.json"
	eq "--print-config $name passes --check" "$STATUS" 0
done
weftd_run --print-config --config "$T/minimal.json"
eq "--print-config keeps what was given" "$(jq -c '[.http.listen, .instances[0].config]' "$T/out")" \
	'[["127.0.0.1:6060"],{"limit":10000}]'
check "--print-config shows defaults" jq -e '.shutdown_timeout and .runtime.init_timeout and .runtime.recorder.memory' "$T/out"

bad "not JSON" '{ "http": ' 'bad\.json:[0-9]+'
bad "a list at the top" '[]' 'bad\.json:1'
bad "an unknown key" '{
  "instanses": [] }' 'bad\.json:2' 'instanses' 'did you mean "instances"'
bad "an unknown key inside" '{ "http": {
  "listten": ["127.0.0.1:0"] } }' 'bad\.json:2' 'http\.listten' 'did you mean "listen"'
bad "a wrong type" '{ "runtime": { "maxprocs": true } }' 'bad\.json:1' 'runtime\.maxprocs' 'auto'
bad "out of range" '{ "runtime": { "maxprocs": 100000 } }' 'runtime\.maxprocs' '100000' '256'
bad "a bad duration" '{ "shutdown_timeout": "soon" }' 'shutdown_timeout' 'soon'
bad "a bad word" '{ "runtime": { "preempt": "maybe" } }' 'runtime\.preempt' 'maybe' 'handoff' 'signal'
bad "a bad listener" '{ "http": { "listen": ["127.0.0.1:0", "nowhere"] } }' 'http\.listen\[1\]' 'nowhere'
bad "a listener for all the world" '{ "http": { "listen": ["0.0.0.0:6060"] } }' 'http\.listen\[0\]' 'allow_remote'
bad "an instance without a plugin" '{ "instances": [ { "name": "a" } ] }' 'instances\[0\]' 'plugin'
bad "an instance without a name" '{ "instances": [ { "plugin": "primes.so" } ] }' 'instances\[0\]' 'name'
bad "two instances of one name" '{ "instances": [ { "name": "a", "plugin": "primes.so" },
  { "name": "a", "plugin": "primes.so" } ] }' 'bad\.json:2' 'instances\[1\]' '"a"'
bad "a key twice" '{ "shutdown_timeout": "1s",
  "shutdown_timeout": "2s" }' 'bad\.json:[12]' 'shutdown_timeout'

# A bad file stops the daemon before it has begun.
printf '{ "runtime": { "maxprocs": -1 } }\n' >"$T/bad.json"
weftd_run --config "$T/bad.json"
eq "the daemon itself refuses a bad file with status 78" "$STATUS" 78
finish
