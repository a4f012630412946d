package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// authority is the X.509 authority of a trust domain.
type authority struct {
	trustDomain string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, trustDomain string) *authority {
	t.Helper()
	template := &x509.Certificate{
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	key := newKey(t)
	return &authority{trustDomain, certify(t, template, "spiffe://"+trustDomain, template, key, key), key}
}

// issue makes the X.509-SVID of a workload of the trust domain.
func (a *authority) issue(t *testing.T, path string) *workload.X509SVID {
	t.Helper()
	key := newKey(t)
	id := "spiffe://" + a.trustDomain + path
	template := &x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature}
	certificate := certify(t, template, id, a.certificate, key, a.key)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &workload.X509SVID{SpiffeId: id, X509Svid: certificate.Raw, X509SvidKey: keyDER, Bundle: a.certificate.Raw}
}

// identity is an answer of the Workload API: a new SVID of this authority, and the bundles of those it federates with.
func (a *authority) identity(t *testing.T, path string, federatesWith ...*authority) *workload.X509SVIDResponse {
	t.Helper()
	answer := &workload.X509SVIDResponse{
		Svids:            []*workload.X509SVID{a.issue(t, path)},
		FederatedBundles: map[string][]byte{},
	}
	for _, peer := range federatesWith {
		answer.FederatedBundles["spiffe://"+peer.trustDomain] = peer.certificate.Raw
	}
	return answer
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func certify(t *testing.T, template *x509.Certificate, id string, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	uri, err := url.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = serial
	template.URIs = []*url.URL{uri}
	template.NotBefore = time.Now().Add(-time.Minute)
	template.NotAfter = time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// fakeWorkloadAPI serves one workload's X.509 identity over a real socket.
type fakeWorkloadAPI struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	address string
	mu      sync.Mutex
	answer  *workload.X509SVIDResponse
	changed chan struct{}
}

// newWorkloadAPI starts a Workload API; a nil answer means that the workload has no identity.
func newWorkloadAPI(t *testing.T, answer *workload.X509SVIDResponse) *fakeWorkloadAPI {
	t.Helper()
	// t.TempDir is too long for a socket's path on some systems.
	folder, err := os.MkdirTemp("", "probe")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	path := filepath.Join(folder, "api.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	api := &fakeWorkloadAPI{address: "unix://" + path, answer: answer, changed: make(chan struct{})}
	server := grpc.NewServer()
	workload.RegisterSpiffeWorkloadAPIServer(server, api)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return api
}

// set gives the workload another identity, as a rotation does.
func (api *fakeWorkloadAPI) set(answer *workload.X509SVIDResponse) {
	api.mu.Lock()
	defer api.mu.Unlock()
	api.answer = answer
	close(api.changed)
	api.changed = make(chan struct{})
}

func (api *fakeWorkloadAPI) FetchX509SVID(_ *workload.X509SVIDRequest, stream workload.SpiffeWorkloadAPI_FetchX509SVIDServer) error {
	for {
		api.mu.Lock()
		answer, changed := api.answer, api.changed
		api.mu.Unlock()
		if answer == nil {
			return status.Error(codes.PermissionDenied, "no identity issued")
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return nil
		}
	}
}
