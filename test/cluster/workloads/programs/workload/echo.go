package main

import (
	"fmt"
	"io"
	"log"
	"net"
)

// maxDatagram is the largest UDP payload of IPv4 (65535 minus the two headers).
const maxDatagram = 65507

// serveUDPEcho returns each datagram, whole, to where it came from.
func serveUDPEcho(port int) {
	socket, err := net.ListenUDP("udp", &net.UDPAddr{Port: port})
	if err != nil {
		log.Fatal(err)
	}
	buffer := make([]byte, maxDatagram)
	for {
		size, peer, err := socket.ReadFromUDPAddrPort(buffer)
		if err != nil {
			log.Fatal(err)
		}
		if _, err := socket.WriteToUDPAddrPort(buffer[:size], peer); err != nil {
			log.Printf("answering %s: %v", peer, err)
		}
	}
}

// serveTCPEcho returns each byte of a connection, and its end as an end.
func serveTCPEcho(port int) {
	listener, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		log.Fatal(err)
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			defer connection.Close()
			_, _ = io.Copy(connection, connection)
		}()
	}
}
