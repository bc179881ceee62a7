#!/usr/bin/env python3
"""netload.py - a client of the echo plugin: many connections from one thread.

  netload.py load PORT IDLE BUSY ROUNDS   IDLE connections that say nothing and BUSY ones that each make ROUNDS round
                                          trips of 64 bytes; then every idle one is asked once.  Prints "idle" and
                                          waits for a line on standard input between the two.
  netload.py rough PORT N                 N peers that reset in the middle, N that close their sending side
  netload.py hold PORT N                  N connections; prints how many were answered within a second, waits for a
                                          line, closes half of them, prints how many of the rest are answered then
  netload.py pipeline PORT N              N HTTP requests at once on one connection; prints how many answers came

What is wrong is said on standard error, and the status is 1.
"""
import resource
import select
import socket
import struct
import sys
import time

LIMIT = 60


def connect(port):
    s = socket.create_connection(("127.0.0.1", port), timeout=LIMIT)
    s.setblocking(False)
    return s


def message(i, k):
    return (b"%08d.%08d " % (i, k)).ljust(64, b"x")


def drive(conns, rounds):
    """Closed loop: one message outstanding on each connection.  Returns the number of round trips."""
    poll, by_fd, done = select.epoll(), {}, 0
    for i, s in enumerate(conns):
        by_fd[s.fileno()] = [s, i, 0, b""]
        poll.register(s, select.EPOLLIN)
        s.sendall(message(i, 0))
    left, end = len(conns), time.monotonic() + LIMIT
    while left and time.monotonic() < end:
        for fd, _ in poll.poll(1):
            c = by_fd[fd]
            got = c[0].recv(64 - len(c[3]))
            if not got:
                sys.exit("connection %d was closed" % c[1])
            c[3] += got
            if len(c[3]) < 64:
                continue
            if c[3] != message(c[1], c[2]):
                sys.exit("connection %d got another answer than it sent: %r" % (c[1], c[3]))
            done, c[2], c[3] = done + 1, c[2] + 1, b""
            if c[2] == rounds:
                left -= 1
                poll.unregister(fd)
            else:
                c[0].sendall(message(c[1], c[2]))
    poll.close()
    return done


def load(port, idle, busy, rounds):
    quiet = [connect(port) for _ in range(idle)]
    print("idle", flush=True)
    sys.stdin.readline()
    loud = [connect(port) for _ in range(busy)]
    print(drive(loud, rounds), flush=True)
    print(drive(quiet, 1), flush=True)


def rough(port, n):
    for i in range(n):
        s = connect(port)
        s.sendall(b"x" * (i * 100))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()
    for i in range(n):
        s = socket.create_connection(("127.0.0.1", port), timeout=LIMIT)
        sent = b"y" * (i * 10 + 1)
        s.sendall(sent)
        s.shutdown(socket.SHUT_WR)
        got = b""
        while True:
            part = s.recv(65536)
            if not part:
                break
            got += part
        if got != sent:
            sys.exit("half-open peer %d: %d bytes came back of %d" % (i, len(got), len(sent)))
        s.close()


def answered(conns, seconds):
    """How many of them get their byte back."""
    poll, left = select.epoll(), {s.fileno(): s for s in conns}
    for s in conns:
        poll.register(s, select.EPOLLIN)
    end = time.monotonic() + seconds
    while left and time.monotonic() < end:
        for fd, _ in poll.poll(0.1):
            if not left[fd].recv(10):
                sys.exit("a connection was closed")
            poll.unregister(fd)
            del left[fd]
    return len(conns) - len(left)


def hold(port, n):
    conns = [connect(port) for _ in range(n)]
    for s in conns:
        s.sendall(b"?")
    print(answered(conns, 1), flush=True)
    sys.stdin.readline()
    for s in conns[: n // 2]:
        s.close()
    rest = conns[n // 2 :]
    for s in rest:
        s.sendall(b"?")
    print(answered(rest, LIMIT), flush=True)


def pipeline(port, n):
    s = socket.create_connection(("127.0.0.1", port), timeout=LIMIT)
    s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * (n - 1) + b"HEAD / HTTP/1.1\r\nConnection: close\r\n\r\n")
    got = b""
    while True:
        part = s.recv(65536)
        if not part:
            break
        got += part
    print(got.count(b"HTTP/1.1 200 OK\r\n"))


def main():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    what = {"load": load, "rough": rough, "hold": hold, "pipeline": pipeline}[sys.argv[1]]
    what(*map(int, sys.argv[2:]))


main()
