// Probe is a small workload that takes its identity from the SPIFFE Workload API: it answers other workloads over mTLS,
// and tells whether it can reach them, in one line of JSON.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage:
  probe serve [--listen 0.0.0.0:8443] [--authorize spiffe://… …]
  probe dial --address host:port --expect spiffe://… [--timeout 10s] [--any-server]
  probe show [--timeout 10s]

With --any-server, dial speaks with any server: it says nothing after the handshake, and waits a moment for a refusal.
The Workload API is at the address in SPIFFE_ENDPOINT_SOCKET; dial honours HTTPS_PROXY and NO_PROXY.
Exit code: 0 yes, 1 no (dial and show print the reason), 2 wrong usage.
`

const (
	exitYes   = 0
	exitNo    = 1
	exitUsage = 2
)

// errUsage is wrapped by what is wrong with the command line.
var errUsage = errors.New("wrong usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run executes one command and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	commands := map[string]func(context.Context, []string, io.Writer, io.Writer) (int, error){
		"serve": serve,
		"dial":  dial,
		"show":  show,
	}
	if len(args) == 0 || commands[args[0]] == nil {
		fmt.Fprint(stderr, usage)
		return exitUsage
	}
	code, err := commands[args[0]](ctx, args[1:], stdout, stderr)
	switch {
	case errors.Is(err, errUsage):
		fmt.Fprintf(stderr, "probe %s: %v\n%s", args[0], err, usage)
		return exitUsage
	case err != nil:
		fmt.Fprintf(stderr, "probe %s: %v\n", args[0], err)
		return exitNo
	}
	return code
}
