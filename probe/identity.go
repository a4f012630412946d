package main

import (
	"context"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// identityRetry is short: a pod usually starts a moment before its registration entry reaches the agent, and go-spiffe's
// own back-off would soon add half a minute to that.
const identityRetry = 250 * time.Millisecond

type constantBackoff time.Duration

func (b constantBackoff) NewBackoff() workloadapi.Backoff { return b }
func (b constantBackoff) Next() time.Duration             { return time.Duration(b) }
func (b constantBackoff) Reset()                          {}

// fetchIdentity asks the Workload API once for SVIDs and bundles. Its error carries NoIdentity, or Timeout when the
// Workload API did not answer.
func fetchIdentity(ctx context.Context) (*workloadapi.X509Context, error) {
	identity, err := workloadapi.FetchX509Context(ctx)
	switch {
	case err == nil:
		return identity, nil
	case ctx.Err() != nil || status.Code(err) == codes.DeadlineExceeded:
		return nil, deny(Timeout, "the Workload API did not answer: %w", err)
	default:
		return nil, deny(NoIdentity, "no X.509-SVID from the Workload API: %w", err)
	}
}

// identityPath names the variable with the path of the SPIFFE ID to use. A policy that selects every workload selects
// this one too, and gives it an identity besides its own.
const identityPath = "PROBE_SPIFFE_ID_PATH"

// pick chooses the SVID that this workload is to use; the first, as everybody does, when nothing else is said.
func pick(svids []*x509svid.SVID) *x509svid.SVID {
	path := os.Getenv(identityPath)
	for _, svid := range svids {
		if path != "" && svid.ID.Path() == path {
			return svid
		}
	}
	return svids[0]
}

// others are the SPIFFE IDs that a workload has besides the one it uses.
func others(svids []*x509svid.SVID) []string {
	used := pick(svids)
	var ids []string
	for _, svid := range svids {
		if svid != used {
			ids = append(ids, svid.ID.String())
		}
	}
	return ids
}
