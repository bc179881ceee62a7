#!/usr/bin/env bash
# /debug/pprof/symbol: names for addresses, by GET and by POST, however many.
# runs beside others
# shellcheck source=../lib/e2e.sh
. "$(dirname "$0")/../lib/e2e.sh"
need_plugins parked
config '{ "instances": [ { "name": "crowd", "plugin": "parked.so", "config": { "receiving": 2 } } ] }'
weftd_start
SYMBOL=/debug/pprof/symbol

# The call address of parked_receiving, as debug=1 shows it.
address() {
	get '/debug/pprof/goroutine?debug=1'
	A=$(awk '/^#\t0x/ && /parked_receiving\+/ { print $2; exit }' "$BODY")
	[ -n "$A" ]
}
check "the address of a function is known" wait_until 10 address

get $SYMBOL
eq "GET without addresses" "$CODE" 200
match "GET without addresses: can name" "$(head -n 1 "$BODY")" '^num_symbols: [1-9]'
eq "its type" "$(header Content-Type)" "text/plain; charset=utf-8"

get "$SYMBOL?$A"
eq "GET names an address" "$(tail -n 1 "$BODY")" "$A parked_receiving"
get "$SYMBOL?$A+0x10+$A"
eq "GET: one line each, unknown ones left out" "$(grep -c parked_receiving "$BODY")" 2
has_not "GET: nothing is made up for an unknown address" "$BODY" '^0x10 '
get $SYMBOL -X POST --data-binary "$A"
eq "POST answers" "$CODE" 200
eq "POST names an address" "$(tail -n 1 "$BODY")" "$A parked_receiving"
get $SYMBOL -X POST --data-binary "$((A))+0$(printf '%o' "$A")"
eq "POST takes any base of C" "$(grep -c parked_receiving "$BODY")" 2

awk -v a="$A" 'BEGIN { for (i = 0; i < 50000; i++) printf "%s%s", i ? "+" : "", a }' >"$T/many"
get $SYMBOL -X POST -H 'Content-Type: application/octet-stream' --data-binary "@$T/many"
eq "POST of 50,000 addresses" "$CODE" 200
eq "POST of 50,000 addresses: all named" "$(grep -c parked_receiving "$BODY")" 50000
head -c 5000000 /dev/zero | tr '\0' 1 >"$T/huge"
get $SYMBOL -X POST --data-binary "@$T/huge"
match "POST of 5 MB is refused" "$CODE" '^413'
get $SYMBOL -X POST --data-binary 'no addresses at all'
eq "POST of nonsense" "$CODE" 200
get $SYMBOL -X PUT --data-binary "$A"
eq "PUT is refused" "$CODE" 405
eq "PUT is told what is allowed" "$(header Allow)" "GET, HEAD, POST"
weftd_stop
finish
