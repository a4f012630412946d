package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"sort"
	"time"
)

// shownIdentity is what a workload holds, without its private key.
type shownIdentity struct {
	OK              bool          `json:"ok"`
	SPIFFEID        string        `json:"spiffeId"`
	OtherIdentities []string      `json:"otherIdentities,omitempty"`
	ExpiresAt       time.Time     `json:"expiresAt"`
	Bundles         []shownBundle `json:"bundles"`
}

type shownBundle struct {
	TrustDomain string `json:"trustDomain"`
	// SHA256 of each X.509 authority's DER, in hex, sorted.
	SHA256 []string `json:"sha256"`
}

// show prints the identity and the bundles that the Workload API gives this workload.
func show(ctx context.Context, args []string, stdout, _ io.Writer) (int, error) {
	flags := flag.NewFlagSet("show", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	timeout := flags.Duration("timeout", 10*time.Second, "")
	if err := flags.Parse(args); err != nil {
		return exitUsage, fmt.Errorf("%w: %v", errUsage, err)
	}
	if flags.NArg() > 0 {
		return exitUsage, fmt.Errorf("%w: unexpected %q", errUsage, flags.Arg(0))
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	identity, err := fetchIdentity(ctx)
	if err != nil {
		return printFailure(stdout, "", err)
	}
	svid := pick(identity.SVIDs)
	shown := shownIdentity{OK: true, SPIFFEID: svid.ID.String(), OtherIdentities: others(identity.SVIDs), ExpiresAt: svid.Certificates[0].NotAfter.UTC()}
	for _, bundle := range identity.Bundles.Bundles() {
		var fingerprints []string
		for _, authority := range bundle.X509Authorities() {
			sum := sha256.Sum256(authority.Raw)
			fingerprints = append(fingerprints, hex.EncodeToString(sum[:]))
		}
		sort.Strings(fingerprints)
		shown.Bundles = append(shown.Bundles, shownBundle{bundle.TrustDomain().Name(), fingerprints})
	}
	return exitYes, printLine(stdout, shown)
}
