package main

import (
	"fmt"
	"net"
	"os"
)

// TCP echo server, a goroutine per connection; n is the port, 0 for any. Ends when stdin does.
func ownTCPServer(n, _ int) {
	ln, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", n))
	if err != nil {
		fail("%v", err)
	}
	fmt.Printf("ready %d\n", ln.Addr().(*net.TCPAddr).Port)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go echo(c)
		}
	}()
	var b [1]byte
	for {
		if n, _ := os.Stdin.Read(b[:]); n <= 0 {
			return
		}
	}
}

// TCP_NODELAY is set by the net package.
func echo(c net.Conn) {
	defer c.Close()
	var buf [64]byte
	for {
		n, err := c.Read(buf[:])
		if err != nil {
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}
