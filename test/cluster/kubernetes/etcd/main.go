// Package main is etcd's server. Debian's 3.4 is too old for Kubernetes 1.36: some watches never start on it.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
