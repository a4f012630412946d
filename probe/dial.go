package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// success is what is printed when both sides have authenticated each other.
type success struct {
	OK                 bool   `json:"ok"`
	Self               string `json:"self"`
	Server             string `json:"server"`
	ClientSeenByServer string `json:"clientSeenByServer,omitempty"`
	HandshakeMs        int64  `json:"handshakeMs"`
	// What else the workload may call itself; its bundles are those of all its identities.
	OtherIdentities []string `json:"otherIdentities,omitempty"`
}

// dial makes one mTLS connection, asks the server who it sees, and prints the verdict.
func dial(ctx context.Context, args []string, stdout, _ io.Writer) (int, error) {
	flags := flag.NewFlagSet("dial", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	address := flags.String("address", "", "")
	expect := flags.String("expect", "", "")
	timeout := flags.Duration("timeout", 10*time.Second, "")
	anyServer := flags.Bool("any-server", false, "")
	if err := flags.Parse(args); err != nil {
		return exitUsage, fmt.Errorf("%w: %v", errUsage, err)
	}
	if flags.NArg() > 0 {
		return exitUsage, fmt.Errorf("%w: unexpected %q", errUsage, flags.Arg(0))
	}
	if _, _, err := net.SplitHostPort(*address); err != nil {
		return exitUsage, fmt.Errorf("%w: --address %q: %v", errUsage, *address, err)
	}
	expected, err := spiffeid.FromString(*expect)
	if err != nil {
		return exitUsage, fmt.Errorf("%w: --expect %q: %v", errUsage, *expect, err)
	}

	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	identity, err := fetchIdentity(ctx)
	if err != nil {
		return printFailure(stdout, "", err)
	}
	self := pick(identity.SVIDs).ID.String()
	result, err := handshake(ctx, *address, expected, identity, *anyServer)
	if err != nil {
		return printFailure(stdout, self, err)
	}
	return exitYes, printLine(stdout, result)
}

// handshake connects, authenticates both ways and learns that the server accepts it: by its greeting, or of any server by
// its not refusing. reasonOf classifies its errors.
func handshake(ctx context.Context, address string, expected spiffeid.ID, identity *workloadapi.X509Context, anyServer bool) (*success, error) {
	raw, err := connect(ctx, address)
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, &tls.Config{
		MinVersion:           tls.VersionTLS12,
		ServerName:           host,
		GetClientCertificate: tlsconfig.GetClientCertificate(pick(identity.SVIDs)),
		// The host name proves nothing in SPIFFE: the verification below replaces that of the Web PKI.
		InsecureSkipVerify:    true,
		VerifyPeerCertificate: verifyServer(expected, identity.Bundles),
	})
	start := time.Now()
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("handshake with %s: %w", address, err)
	}
	elapsed := time.Since(start)
	seen := new(greeting)
	if anyServer {
		err = awaitRefusal(conn)
	} else {
		seen, err = askGreeting(ctx, conn, address)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	return &success{
		OK:                 true,
		Self:               pick(identity.SVIDs).ID.String(),
		OtherIdentities:    others(identity.SVIDs),
		Server:             expected.String(),
		ClientSeenByServer: seen.Client,
		HandshakeMs:        elapsed.Milliseconds(),
	}, nil
}

// verifyServer checks a server's chain as go-spiffe does, and names the step that fails.
func verifyServer(expected spiffeid.ID, bundles *x509bundle.Set) func([][]byte, [][]*x509.Certificate) error {
	return func(rawCerts [][]byte, _ [][]*x509.Certificate) error {
		leaf, err := x509.ParseCertificate(rawCerts[0])
		if err != nil {
			return deny(WrongSPIFFEID, "unreadable certificate: %w", err)
		}
		presented, err := x509svid.IDFromCert(leaf)
		if err != nil {
			return deny(WrongSPIFFEID, "the server presents no SPIFFE ID: %w", err)
		}
		if !bundles.Has(presented.TrustDomain()) {
			return deny(NoBundle, "no bundle of trust domain %s, which %s belongs to", presented.TrustDomain(), presented)
		}
		if _, _, err := x509svid.ParseAndVerify(rawCerts, bundles); err != nil {
			return deny(UnknownAuthority, "%s does not verify: %w", presented, err)
		}
		if presented != expected {
			return deny(WrongSPIFFEID, "the server is %s, not %s", presented, expected)
		}
		return nil
	}
}

// refusalWithin is how long a server may take to refuse. In TLS 1.3 a client has finished its handshake before the server
// has looked at its certificate; what comes then comes within a round trip.
const refusalWithin = 2 * time.Second

// awaitRefusal listens without a word: a server that says nothing, or something, has accepted.
func awaitRefusal(conn *tls.Conn) error {
	if conn.ConnectionState().Version < tls.VersionTLS13 {
		return nil
	}
	if err := conn.SetReadDeadline(time.Now().Add(refusalWithin)); err != nil {
		return err
	}
	_, err := conn.Read(make([]byte, 1))
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return errors.New("it closed the connection right after the handshake")
	}
	return err
}

// askGreeting is the first read of the connection, so it is here that a TLS 1.3 server's refusal arrives.
func askGreeting(ctx context.Context, conn *tls.Conn, address string) (*greeting, error) {
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/", nil)
	if err != nil {
		return nil, err
	}
	request.Close = true
	// When the server has refused and gone, writing fails, and reading still gets the alert that says why.
	writeErr := request.Write(conn)
	response, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		if reasonOf(err) == Unreachable && writeErr != nil {
			return nil, fmt.Errorf("no answer: %w", writeErr)
		}
		return nil, fmt.Errorf("no answer: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusForbidden || response.StatusCode == http.StatusUnauthorized {
		return nil, deny(RefusedByPeer, "answered %s", response.Status)
	}
	seen := new(greeting)
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered %s", response.Status)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<16)).Decode(seen); err != nil {
		return nil, fmt.Errorf("unreadable answer: %w", err)
	}
	return seen, nil
}
