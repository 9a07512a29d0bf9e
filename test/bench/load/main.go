// Package main makes load for the bench and measures it; one line of JSON is the result. Every answer is checked.
//
//	load keepalive  HTTP requests on connections that stay open, each as soon as the answer before it is there
//	load connect    open, GET, close
//	load roundtrip  64 bytes to a TCP echo and back, one at a time, -every apart
//	load dns        A questions over UDP, each as soon as the answer before it is there
//
// All: -address HOST:PORT -seconds S -at-once N. connect: -most N in all. dns: -name NAME. -skip S leaves out the start.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"
)

type settings struct {
	address string
	name    string
	atOnce  int
	most    int64
	every   time.Duration
	until   time.Time
	from    time.Time
}

// work does one thing again and again until it is told to stop, and calls done after each with the time it took.
type work func(s settings, done func(time.Duration) bool) error

var works = map[string]work{
	"keepalive": keepAlive,
	"connect":   connect,
	"roundtrip": roundTrip,
	"dns":       askDNS,
}

func main() {
	if len(os.Args) < 2 || works[os.Args[1]] == nil {
		fail(fmt.Errorf("usage: load keepalive | connect | roundtrip | dns -address HOST:PORT …"))
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	var s settings
	flags.StringVar(&s.address, "address", "", "HOST:PORT")
	flags.StringVar(&s.name, "name", "", "the name to ask for")
	flags.IntVar(&s.atOnce, "at-once", 1, "connections, or questions, at a time")
	flags.Int64Var(&s.most, "most", 1<<62, "how many in all")
	flags.DurationVar(&s.every, "every", 0, "time between two beginnings")
	seconds := flags.Float64("seconds", 3, "how long")
	skip := flags.Float64("skip", 0, "seconds at the start that do not count")
	_ = flags.Parse(os.Args[2:])
	s.from = time.Now().Add(time.Duration(*skip * float64(time.Second)))
	s.until = s.from.Add(time.Duration(*seconds * float64(time.Second)))
	result, err := measure(s, works[os.Args[1]])
	if err != nil {
		fail(err)
	}
	_ = json.NewEncoder(os.Stdout).Encode(result)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
