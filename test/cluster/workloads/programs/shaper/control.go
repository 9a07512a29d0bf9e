package main

import (
	"encoding/json"
	"errors"
	"net"
	"os"
)

// request sets what it names; a direction that it leaves out stays as it is.
type request struct {
	Up   *settings `json:"up"`
	Down *settings `json:"down"`
}

// serveControl answers each connection's one request with the counters of both directions.
func serveControl(path string, up, down *direction) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		answer(connection, up, down)
		connection.Close()
	}
}

func answer(connection net.Conn, up, down *direction) {
	var wanted request
	if err := json.NewDecoder(connection).Decode(&wanted); err != nil {
		return
	}
	if err := errors.Join(up.change(wanted.Up), down.change(wanted.Down)); err != nil {
		return
	}
	_ = json.NewEncoder(connection).Encode(map[string]any{"up": up.report(), "down": down.report()})
}

func (d *direction) report() map[string]int64 {
	return map[string]int64{
		"packets": d.count.Packets.Load(), "bytes": d.count.Bytes.Load(), "lost": d.count.Lost.Load(),
		"full": d.count.Full.Load(), "cut": d.count.Cut.Load(), "resets": d.count.Resets.Load(),
	}
}
