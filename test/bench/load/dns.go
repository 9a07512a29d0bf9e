package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"time"
)

const (
	dnsHeaderBytes = 12
	typeA          = 1
	classIN        = 1
)

func askDNS(s settings, done func(time.Duration) bool) error {
	connection, err := net.Dial("udp", s.address)
	if err != nil {
		return err
	}
	defer connection.Close()
	question := encodeQuestion(s.name)
	answer := make([]byte, 4096)
	for id := uint16(1); ; id++ {
		binary.BigEndian.PutUint16(question, id)
		start := time.Now()
		_ = connection.SetDeadline(start.Add(patience))
		if _, err := connection.Write(question); err != nil {
			return err
		}
		size, err := connection.Read(answer)
		if err != nil {
			return err
		}
		if err := checkAnswer(id, answer[:size]); err != nil {
			return err
		}
		if !done(time.Since(start)) {
			return nil
		}
	}
}

// encodeQuestion returns a message that asks for the name's A records, recursion desired (RFC 1035 §4.1).
func encodeQuestion(name string) []byte {
	message := make([]byte, dnsHeaderBytes)
	message[2], message[5] = 1, 1
	for _, label := range strings.Split(strings.TrimSuffix(name, "."), ".") {
		message = append(append(message, byte(len(label))), label...)
	}
	message = append(message, 0)
	message = binary.BigEndian.AppendUint16(message, typeA)
	return binary.BigEndian.AppendUint16(message, classIN)
}

func checkAnswer(id uint16, answer []byte) error {
	if len(answer) < dnsHeaderBytes || binary.BigEndian.Uint16(answer) != id {
		return fmt.Errorf("an answer to another question than %d", id)
	}
	if code, records := answer[3]&15, binary.BigEndian.Uint16(answer[6:]); code != 0 || records == 0 {
		return fmt.Errorf("answered code %d with %d records", code, records)
	}
	return nil
}
