package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

const requestBytes = 64

func roundTrip(s settings, done func(time.Duration) bool) error {
	connection, err := net.DialTimeout("tcp", s.address, patience)
	if err != nil {
		return err
	}
	defer connection.Close()
	request, answer := make([]byte, requestBytes), make([]byte, requestBytes)
	for number := uint64(0); ; number++ {
		binary.BigEndian.PutUint64(request, number)
		start := time.Now()
		_ = connection.SetDeadline(start.Add(patience))
		if _, err := connection.Write(request); err != nil {
			return err
		}
		if _, err := io.ReadFull(connection, answer); err != nil {
			return err
		}
		took := time.Since(start)
		if !bytes.Equal(request, answer) {
			return fmt.Errorf("echo number %d differs", number)
		}
		if !done(took) {
			return nil
		}
		time.Sleep(s.every - took)
	}
}
