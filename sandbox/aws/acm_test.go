package aws

import (
	"errors"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	"github.com/aws/aws-sdk-go-v2/service/acm/types"
)

func (s *stand) acm() *acm.Client { return acm.NewFromConfig(s.config(botKey)) }

func TestCertificatesOfStrongKeysAreShownToThoseWhoNameThem(t *testing.T) {
	s := newStand(t, Options{})
	for _, algorithm := range []string{"RSA_2048", "EC_prime256v1", "RSA_4096"} {
		if _, err := s.SeedCertificate(Certificate{Domain: "mcp.example.com", Algorithm: algorithm}); err != nil {
			t.Fatal(err)
		}
	}
	for want, in := range map[int]*acm.ListCertificatesInput{
		1: {},
		2: {Includes: &types.Filters{KeyTypes: []types.KeyAlgorithm{types.KeyAlgorithmEcPrime256v1, types.KeyAlgorithmRsa4096}}},
	} {
		out, err := s.acm().ListCertificates(t.Context(), in)
		if err != nil || len(out.CertificateSummaryList) != want {
			t.Errorf("%d certificates, want %d: %v", len(out.CertificateSummaryList), want, err)
		}
	}
}

func TestACertificateExpiresWithTheSandboxsClock(t *testing.T) {
	s := newStand(t, Options{})
	arn, err := s.SeedCertificate(Certificate{Domain: "mcp.example.com", End: s.cond.Clock.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []types.CertificateStatus{types.CertificateStatusIssued, types.CertificateStatusExpired} {
		out, err := s.acm().DescribeCertificate(t.Context(), &acm.DescribeCertificateInput{CertificateArn: &arn})
		if err != nil || out.Certificate.Status != want {
			t.Errorf("got %v, %v; want %s", out, err, want)
		}
		s.cond.Clock.Advance(2 * time.Hour)
	}
}

func TestWhatACMDoesNotTakeIsRefused(t *testing.T) {
	s := newStand(t, Options{})
	unknown := "arn:aws:acm:eu-central-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
	_, err := s.acm().DescribeCertificate(t.Context(), &acm.DescribeCertificateInput{CertificateArn: &unknown})
	var notFound *types.ResourceNotFoundException
	if !errors.As(err, &notFound) {
		t.Errorf("an unknown certificate: %v", err)
	}
	var invalid *types.ValidationException
	if _, err := s.acm().ListCertificates(t.Context(), &acm.ListCertificatesInput{SortBy: types.SortByCreatedAt}); !errors.As(err, &invalid) {
		t.Errorf("half an order: %v", err)
	}
	var args *types.InvalidArgsException
	if _, err := s.acm().ListCertificates(t.Context(), &acm.ListCertificatesInput{NextToken: sdk.String("x")}); !errors.As(err, &args) {
		t.Errorf("a token of nobody: %v", err)
	}
	if _, err := s.SeedCertificate(Certificate{}); err == nil {
		t.Error("a certificate without a domain was seeded")
	}
}
