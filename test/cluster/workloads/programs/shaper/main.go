// Package main is a slow link in a program, for kernels without netem: two TAPs, frames carried between them at a given
// rate, delay and loss, each direction by itself. "up" is from the near TAP to the far one.
//
//	shaper -near NAME -far NAME -control SOCKET
//
// The control socket takes a line of JSON (see control.go) a connection and answers with the counters. A direction with a
// rate or a loss gets its packets as they would be on a wire, cut and summed by the kernel; any other passes them whole.
package main

import (
	"flag"
	"log"
)

func main() {
	near := flag.String("near", "", "name of the TAP on the laptop's side")
	far := flag.String("far", "", "name of the TAP on the other side")
	control := flag.String("control", "", "path of the unix socket that takes settings")
	flag.Parse()
	log.SetFlags(log.Lmicroseconds | log.LUTC)
	nearTap, err := openTap(*near)
	if err != nil {
		log.Fatalf("opening TAP %q: %v", *near, err)
	}
	farTap, err := openTap(*far)
	if err != nil {
		log.Fatalf("opening TAP %q: %v", *far, err)
	}
	up, down := newDirection(nearTap, farTap, 1), newDirection(farTap, nearTap, 2)
	for _, direction := range []*direction{up, down} {
		go direction.receive()
		go direction.deliver()
	}
	log.Fatal(serveControl(*control, up, down))
}
