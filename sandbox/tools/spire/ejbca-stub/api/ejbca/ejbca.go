// Package ejbca stands in for the EJBCA client SDK, which the Go module proxy
// does not carry. It has only the names that SPIRE's EJBCA upstream authority
// refers to. The sandbox never configures that plugin; if someone does, every
// call says why it cannot work.
package ejbca

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
)

var errNotBuiltIn = errors.New("EJBCA support is not built in")

// Authenticator adds credentials to a client's requests.
type Authenticator interface {
	GetHTTPClient() (*http.Client, error)
}

// MTLSAuthenticatorBuilder collects a client certificate and CA certificates.
type MTLSAuthenticatorBuilder struct{}

// NewMTLSAuthenticatorBuilder returns an empty builder.
func NewMTLSAuthenticatorBuilder() *MTLSAuthenticatorBuilder { return &MTLSAuthenticatorBuilder{} }

// WithClientCertificate is ignored.
func (b *MTLSAuthenticatorBuilder) WithClientCertificate(*tls.Certificate) *MTLSAuthenticatorBuilder {
	return b
}

// WithCaCertificates is ignored.
func (b *MTLSAuthenticatorBuilder) WithCaCertificates([]*x509.Certificate) *MTLSAuthenticatorBuilder {
	return b
}

// Build always fails.
func (b *MTLSAuthenticatorBuilder) Build() (Authenticator, error) { return nil, errNotBuiltIn }

// Configuration names the EJBCA host.
type Configuration struct{ Host string }

// NewConfiguration returns an empty configuration.
func NewConfiguration() *Configuration { return &Configuration{} }

// SetAuthenticator is ignored.
func (c *Configuration) SetAuthenticator(Authenticator) {}

// APIClient has the one API that SPIRE uses.
type APIClient struct{ V1CertificateApi *V1CertificateApiService }

// NewAPIClient always fails.
func NewAPIClient(*Configuration) (*APIClient, error) { return nil, errNotBuiltIn }

// V1CertificateApiService enrols certificates.
type V1CertificateApiService struct{}

// EnrollPkcs10Certificate returns a request that fails when executed.
func (s *V1CertificateApiService) EnrollPkcs10Certificate(context.Context) ApiEnrollPkcs10CertificateRequest {
	return ApiEnrollPkcs10CertificateRequest{}
}

// ApiEnrollPkcs10CertificateRequest is an enrolment that has not been sent.
type ApiEnrollPkcs10CertificateRequest struct{}

// EnrollCertificateRestRequest is ignored.
func (r ApiEnrollPkcs10CertificateRequest) EnrollCertificateRestRequest(EnrollCertificateRestRequest) ApiEnrollPkcs10CertificateRequest {
	return r
}

// Execute always fails.
func (r ApiEnrollPkcs10CertificateRequest) Execute() (*CertificateRestResponse, *http.Response, error) {
	return nil, nil, errNotBuiltIn
}

// EnrollCertificateRestRequest is the body of an enrolment.
type EnrollCertificateRestRequest struct{}

// NewEnrollCertificateRestRequest returns an empty body.
func NewEnrollCertificateRestRequest() *EnrollCertificateRestRequest {
	return &EnrollCertificateRestRequest{}
}

// The setters ignore what they are given.
func (r *EnrollCertificateRestRequest) SetUsername(string)                 {}
func (r *EnrollCertificateRestRequest) SetPassword(string)                 {}
func (r *EnrollCertificateRestRequest) SetCertificateRequest(string)       {}
func (r *EnrollCertificateRestRequest) SetCertificateAuthorityName(string) {}
func (r *EnrollCertificateRestRequest) SetCertificateProfileName(string)   {}
func (r *EnrollCertificateRestRequest) SetEndEntityProfileName(string)     {}
func (r *EnrollCertificateRestRequest) SetIncludeChain(bool)               {}
func (r *EnrollCertificateRestRequest) SetAccountBindingId(string)         {}

// CertificateRestResponse is what an enrolment would answer.
type CertificateRestResponse struct{ CertificateChain []string }

// GetResponseFormat returns the empty string.
func (r *CertificateRestResponse) GetResponseFormat() string { return "" }

// GetCertificate returns the empty string.
func (r *CertificateRestResponse) GetCertificate() string { return "" }

// GenericOpenAPIError is the SDK's error type; nothing here returns one.
type GenericOpenAPIError struct{}

// Error describes the failure.
func (e GenericOpenAPIError) Error() string { return errNotBuiltIn.Error() }

// Body returns nothing.
func (e GenericOpenAPIError) Body() []byte { return nil }
