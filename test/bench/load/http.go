package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"time"
)

// patience is how long one answer may take.
const patience = 10 * time.Second

func keepAlive(s settings, done func(time.Duration) bool) error {
	connection, err := net.DialTimeout("tcp", s.address, patience)
	if err != nil {
		return err
	}
	defer connection.Close()
	reader := bufio.NewReader(connection)
	for {
		start := time.Now()
		if err := get(connection, reader, "keep-alive"); err != nil {
			return err
		}
		if !done(time.Since(start)) {
			return nil
		}
	}
}

func connect(s settings, done func(time.Duration) bool) error {
	for {
		start := time.Now()
		if err := connectOnce(s.address); err != nil {
			return err
		}
		if !done(time.Since(start)) {
			return nil
		}
	}
}

func connectOnce(address string) error {
	connection, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return err
	}
	defer connection.Close()
	return get(connection, bufio.NewReader(connection), "close")
}

func get(connection net.Conn, reader *bufio.Reader, then string) error {
	_ = connection.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(connection, "GET / HTTP/1.1\r\nhost: web\r\nconnection: "+then+"\r\n\r\n"); err != nil {
		return err
	}
	text := textproto.NewReader(reader)
	status, err := text.ReadLine()
	if err != nil {
		return err
	}
	if !strings.HasPrefix(status, "HTTP/1.1 200 ") {
		return fmt.Errorf("answered %q", status)
	}
	header, err := text.ReadMIMEHeader()
	if err != nil {
		return err
	}
	length, err := strconv.Atoi(header.Get("content-length"))
	if err != nil {
		return err
	}
	_, err = reader.Discard(length)
	return err
}
