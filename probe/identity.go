package main

import (
	"context"
	"time"

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
