// Package main is CoreDNS with the plugins that the tests' cluster and its outside DNS server use, instead of all:
// that builds in a minute and starts in a fraction of a second.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/loop"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/reload"
	_ "github.com/coredns/coredns/plugin/rewrite"
	_ "github.com/coredns/coredns/plugin/template"
)

// The order in which a query passes the plugins: upstream's, but for template, which comes after the zones here, so
// that it can answer for whatever they do not know.
var order = []string{
	"reload", "ready", "health", "errors", "log", "rewrite", "cache",
	"loop", "hosts", "kubernetes", "template", "forward",
}

func init() {
	dnsserver.Directives = order
}

func main() {
	coremain.Run()
}
