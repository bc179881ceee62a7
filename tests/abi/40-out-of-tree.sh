#!/bin/bash
# A plugin is built out of the tree with the one line that weft promises, in C and in C++20, against an
# installed weft; the installed weftd runs both and shows their functions by name.
set -eu
root=$TMP/root
$MAKE -s install B="$B" V="$V" DESTDIR="$root"
export PKG_CONFIG_PATH=$root/usr/local/share/pkgconfig PKG_CONFIG_SYSROOT_DIR=$root
pkg-config --modversion weft | grep -xE '[0-9]+(\.[0-9]+)*'
[ "$(pkg-config --variable=plugindir weft | sed "s#^$root##")" = /usr/local/lib/weft/plugins ]
[ "$(pkg-config --variable=abi weft)" = 0 ]

cd "$TMP"
cat >my.c <<'C'
#include <weft.h>

static void nap_in_c(void *arg)
{
	(void)arg;
	while (weft_sleep(WEFT_SEC) == 0)
		;
}

static int run(void *state)
{
	(void)state;
	return weft_go(nap_in_c, NULL);
}

WEFT_PLUGIN(.name = "my", .run = run);
C
cat >mine.cc <<'C'
#include <weft.h>
#include <memory>

static void nap_in_cxx(void *arg)
{
	std::unique_ptr<int> mine(static_cast<int *>(arg));

	while (weft_sleep(WEFT_SEC) == 0)
		++*mine;
}

static int run(void *)
{
	return weft_go(nap_in_cxx, new int(0));
}

WEFT_PLUGIN(.name = "mine", .run = run);
C
# shellcheck disable=SC2046 # words are meant
cc -O2 -g -shared -fPIC my.c -o my.so $(pkg-config --cflags --libs weft)
# shellcheck disable=SC2046
c++ -std=c++20 -O2 -g -shared -fPIC mine.cc -o mine.so $(pkg-config --cflags --libs weft)
cat >weftd.json <<J
{ "http": { "listen": ["unix:$TMP/http"] },
  "instances": [ { "name": "c", "plugin": "$TMP/my.so" }, { "name": "cxx", "plugin": "$TMP/mine.so" } ] }
J
"$root/usr/local/sbin/weftd" --config weftd.json 2>log &
pid=$!
trap 'kill "$pid" 2>/dev/null || :; wait "$pid" || :; cat log' EXIT
get() { curl -sf --max-time 10 --unix-socket http "http://localhost$1"; }
for ((i = 0; i < 200; i++)); do
	get /readyz >ready 2>/dev/null && break
	kill -0 "$pid" || exit 1
	sleep 0.1
done
for ((i = 0; i < 100; i++)); do
	get '/debug/pprof/goroutine?debug=2' >dump || :
	grep -q nap_in_c dump && grep -q nap_in_cxx dump && break
	sleep 0.1
done
cat dump
grep -q nap_in_cxx dump
grep -q 'nap_in_c\b' dump
trap - EXIT
kill -TERM "$pid"
wait "$pid" || { echo "exit status $?"; cat log; exit 1; }
