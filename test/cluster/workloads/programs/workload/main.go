// Package main is what runs in the pods of the tests' workloads: small servers whose answers tell which pod gave them.
//
//	workload pause          sleeps until it is told to stop (the sandbox container of a pod)
//	workload web [-port N]  HTTP, see web.go
//	workload echo [-port N] UDP and TCP echo
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	log.SetFlags(log.Lmicroseconds | log.LUTC)
	if len(os.Args) < 2 {
		usage()
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	port := flags.Int("port", 8080, "port to listen on")
	_ = flags.Parse(os.Args[2:])
	switch os.Args[1] {
	case "pause":
	case "web":
		go serveWeb(*port)
	case "echo":
		go serveTCPEcho(*port)
		go serveUDPEcho(*port)
	default:
		usage()
	}
	waitForStop()
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: workload pause | web [-port N] | echo [-port N]")
	os.Exit(64)
}

// waitForStop reaps children meanwhile: as the first process of a pod this program inherits them.
func waitForStop() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != nil || pid <= 0 {
				break
			}
		}
	}
}
