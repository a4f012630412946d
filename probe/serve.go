package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/logger"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// greeting is what a server tells an authenticated client.
type greeting struct {
	Server string `json:"server"`
	Client string `json:"client"`
}

// serve answers authenticated clients until ctx ends. The listener opens when the first X.509-SVID has arrived, so that
// a TCP readiness probe means ready.
func serve(ctx context.Context, args []string, _, stderr io.Writer) (int, error) {
	address, authorizer, err := serveOptions(args)
	if err != nil {
		return exitUsage, err
	}
	logs := log.New(stderr, "", log.LstdFlags|log.LUTC)
	logs.Print("waiting for an X.509-SVID")
	source, err := workloadapi.NewX509Source(ctx, workloadapi.WithDefaultX509SVIDPicker(pick), workloadapi.WithClientOptions(
		workloadapi.WithBackoffStrategy(constantBackoff(identityRetry)),
		workloadapi.WithLogger(logger.Writer(&changes{out: stderr})),
	))
	if err != nil {
		if ctx.Err() != nil {
			return exitYes, nil
		}
		return exitNo, fmt.Errorf("no X.509-SVID: %w", err)
	}
	defer source.Close()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return exitNo, err
	}
	return exitYes, serveOn(ctx, listener, source, authorizer, logs)
}

// serveOn answers GET / on a listener until ctx ends.
func serveOn(ctx context.Context, listener net.Listener, source *workloadapi.X509Source, authorizer tlsconfig.Authorizer, logs *log.Logger) error {
	self, err := source.GetX509SVID()
	if err != nil {
		return err
	}
	config := tlsconfig.MTLSServerConfig(source, source, authorizer)
	// A resumed session would not be checked against the bundles of the moment.
	config.SessionTicketsDisabled = true
	server := &http.Server{
		Handler:           greet(source, logs),
		ErrorLog:          logs,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       10 * time.Second,
	}
	release := context.AfterFunc(ctx, func() { server.Close() })
	defer release()
	logs.Printf("%s listens on %s", self.ID, listener.Addr())
	err = server.Serve(newMTLSListener(listener, config, logs))
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// greet tells a client both SPIFFE IDs; its own SVID is read each time because it rotates.
func greet(source *workloadapi.X509Source, logs *log.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		self, err := source.GetX509SVID()
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		client, err := x509svid.IDFromCert(r.TLS.PeerCertificates[0])
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		logs.Printf("answering %s", client)
		w.Header().Set("content-type", "application/json")
		if err := json.NewEncoder(w).Encode(greeting{Server: self.ID.String(), Client: client.String()}); err != nil {
			logs.Printf("answering %s: %v", client, err)
		}
	})
	return mux
}

func serveOptions(args []string) (string, tlsconfig.Authorizer, error) {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	address := flags.String("listen", "0.0.0.0:8443", "")
	var allowed []spiffeid.ID
	allow := func(text string) error {
		id, err := spiffeid.FromString(text)
		allowed = append(allowed, id)
		return err
	}
	flags.Func("authorize", "", allow)
	if err := flags.Parse(args); err != nil {
		return "", nil, fmt.Errorf("%w: %v", errUsage, err)
	}
	// --authorize takes several: what follows the last flag belongs to it.
	for _, text := range flags.Args() {
		if len(allowed) == 0 || strings.HasPrefix(text, "-") {
			return "", nil, fmt.Errorf("%w: unexpected %q", errUsage, text)
		}
		if err := allow(text); err != nil {
			return "", nil, fmt.Errorf("%w: --authorize %q: %v", errUsage, text, err)
		}
	}
	if len(allowed) == 0 {
		return *address, tlsconfig.AuthorizeAny(), nil
	}
	return *address, tlsconfig.AuthorizeOneOf(allowed...), nil
}
