#!/usr/bin/env python3
"""pollers.py PORT THREADS SECONDS DIR - many clients that ask for every profile in every form, at random.

Goes on until SECONDS are over or nobody listens on PORT any more.  Profiles go to DIR, at most FILES of them.
Prints "KIND STATUS COUNT" for what was answered ("left": the client went before; "gone": the server did), and
a line "bad: ..." for each answer that is neither of the form that was asked for nor an allowed refusal.
The seed is printed first and taken from WEFT_SEED."""
import collections
import http.client
import os
import random
import re
import sys
import threading
import time

FILES = 400
LEAVE = 0.05  # part of the requests whose client does not wait

port, threads, seconds, folder = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
patience = 60 * int(os.environ.get("E2E_SLOW", "1"))
seed = int(os.environ.get("WEFT_SEED", "0")) or int(time.time())
counts = collections.Counter()
lock = threading.Lock()
saved = 0
end = time.monotonic() + seconds


def ask(path, leave=False):
    """Status, headers and body; status "left" or "gone" without an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patience)
    try:
        connection.request("GET", path)
        if leave:
            time.sleep(0.02)
            return "left", {}, b""
        answer = connection.getresponse()
        return answer.status, answer, answer.read()
    except (ConnectionError, http.client.HTTPException):
        return "gone", {}, b""
    finally:
        connection.close()


def requests(names, rnd):
    """Path, kind, and what the body must begin with."""
    gzip, base = b"\x1f\x8b", "/debug/pprof/"
    for query in ("", "&hz=%d" % rnd.randint(1, 1000), "&symbolize=none", "&instance=burn", "&plugin=burn"):
        yield base + "profile?seconds=1" + query, "profile", gzip
    for name in names:
        yield base + name, name, gzip
        yield base + name + "?seconds=1", name + "-delta", gzip
        yield base + name + "?symbolize=none", name, gzip
        yield base + name + "?debug=1", name + "-text", b""
    yield base + "goroutine?debug=2", "dump", b""  # none at first
    yield base, "index", b"<"
    yield base + "symbol?0x10+0x20", "symbol", b"num_symbols"
    yield "/metrics", "metrics", b"# HELP"
    yield "/debug/weft/sched", "sched", b"SCHED"


def bad(path, why):
    with lock:
        print("bad: %s: %s" % (path, why))


def keep(body):
    global saved
    with lock:
        n, saved = saved, saved + 1
    if n < FILES:
        with open(os.path.join(folder, "%d.pb.gz" % n), "wb") as f:
            f.write(body)


def check(path, kind, start, status, answer, body):
    # 503 is what a server that stops says; one without profiles of that difference says 400.
    if status not in (200, 400, 429, 503, "left", "gone") or (status == 400 and not kind.endswith("-delta")):
        bad(path, "status %s: %r" % (status, body[:100]))
    elif status == 200 and not body.startswith(start):
        bad(path, "begins %r" % body[:40])
    elif status == 503 and b"stopping" not in body:
        bad(path, "503: %r" % body[:100])
    elif status == 200 and start == b"\x1f\x8b":
        if answer.getheader("Content-Type") != "application/octet-stream":
            bad(path, "type %s" % answer.getheader("Content-Type"))
        keep(body)


def poll(number, names):
    rnd = random.Random(seed + number)
    while time.monotonic() < end:
        path, kind, start = rnd.choice(list(requests(names, rnd)))
        status, answer, body = ask(path, rnd.random() < LEAVE)
        check(path, kind, start, status, answer, body)
        with lock:
            counts[kind, status] += 1
        if status == "gone" and ask("/healthz")[0] == "gone":
            return


def main():
    print("seed %d (WEFT_SEED=)" % seed)
    index = ask("/debug/pprof/")[2].decode()
    links = set(re.findall(r'href="([a-z_]+)\?debug=1"', index)) - {"profile", "trace", "cmdline"}
    if "goroutine" not in links:
        bad("/debug/pprof/", "lists %s" % sorted(links))
    pollers = [threading.Thread(target=poll, args=(i, sorted(links))) for i in range(threads)]
    for p in pollers:
        p.start()
    for p in pollers:
        p.join()
    for (kind, status), n in sorted(counts.items(), key=str):
        print(kind, status, n)


main()
