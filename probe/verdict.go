package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
)

// Reason says in a short word why there was no authenticated connection.
type Reason string

const (
	// NoIdentity: the Workload API gives this workload no X.509-SVID.
	NoIdentity Reason = "no-identity"
	// NoBundle: this workload holds no bundle of the peer's trust domain, so the two are not federated.
	NoBundle Reason = "no-bundle"
	// UnknownAuthority: the peer's SVID does not verify against the bundle that this workload holds.
	UnknownAuthority Reason = "unknown-authority"
	// WrongSPIFFEID: the peer is authentic but is not who was expected, or presents no SPIFFE ID.
	WrongSPIFFEID Reason = "wrong-spiffe-id"
	// RefusedByPeer: the peer did not accept this workload's SVID.
	RefusedByPeer Reason = "refused-by-peer"
	// Unreachable: there was no connection, or it ended before a verdict.
	Unreachable Reason = "unreachable"
	// Timeout: the time allowed was over before a verdict.
	Timeout Reason = "timeout"
)

// denial is an error whose reason is known.
type denial struct {
	reason Reason
	err    error
}

func deny(reason Reason, format string, args ...any) error {
	return &denial{reason, fmt.Errorf(format, args...)}
}

func (d *denial) Error() string { return d.err.Error() }
func (d *denial) Unwrap() error { return d.err }

// reasonOf classifies an error of a connection. A TLS alert is the peer's refusal whenever it arrives: in TLS 1.3 a
// client has finished its handshake before the server has looked at its certificate.
func reasonOf(err error) Reason {
	var denied *denial
	if errors.As(err, &denied) {
		return denied.reason
	}
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return Timeout
	}
	var alert *net.OpError
	if errors.As(err, &alert) && alert.Op == "remote error" {
		return RefusedByPeer
	}
	return Unreachable
}

// failure is what is printed when the answer is no.
type failure struct {
	OK     bool   `json:"ok"`
	Self   string `json:"self"`
	Reason Reason `json:"reason"`
	Error  string `json:"error"`
}

// printFailure prints the line that says why the answer is no.
func printFailure(stdout io.Writer, self string, err error) (int, error) {
	return exitNo, printLine(stdout, failure{Self: self, Reason: reasonOf(err), Error: err.Error()})
}

func printLine(stdout io.Writer, value any) error {
	encoder := json.NewEncoder(stdout)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}
