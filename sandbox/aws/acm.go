package aws

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Certificate is a certificate of AWS Certificate Manager, to seed.
type Certificate struct {
	ID       string `json:"id,omitempty"`     // the last part of its ARN; made up when empty
	Region   string `json:"region,omitempty"` // the stand-in's own when empty
	Domain   string `json:"domain"`
	Imported bool   `json:"imported,omitempty"` // otherwise ACM issued it
	// Status is ACM's, such as "PENDING_VALIDATION". Empty: ISSUED, or EXPIRED once
	// the end has come.
	Status    string    `json:"status,omitempty"`
	Start     time.Time `json:"start,omitzero"`          // now when zero
	End       time.Time `json:"end,omitzero"`            // 395 days after Start when zero
	Algorithm string    `json:"key_algorithm,omitempty"` // "RSA_2048" when empty
	InUseBy   []string  `json:"in_use_by,omitempty"`     // ARNs; one that ACM issued is renewed only when there are any
	// Renewal is how its renewal stands, such as "PENDING_VALIDATION"; empty: none
	// is under way. Reason is why it failed.
	Renewal string `json:"renewal,omitempty"`
	Reason  string `json:"renewal_reason,omitempty"`
}

type (
	listCertificatesFilters struct {
		ExtendedKeyUsage []string `json:"extendedKeyUsage"`
		KeyTypes         []string `json:"keyTypes"`
		KeyUsage         []string `json:"keyUsage"`
	}
	listCertificatesInput struct {
		CertificateStatuses []string
		Includes            *listCertificatesFilters
		MaxItems            *int
		NextToken           string
		SortBy, SortOrder   string
	}
	certificateSummary struct {
		CertificateArn, DomainName, KeyAlgorithm, RenewalEligibility, Status, Type string
		HasAdditionalSubjectAlternativeNames, InUse                                bool
		CreatedAt                                                                  *seconds
		ImportedAt, IssuedAt, RevokedAt, NotBefore, NotAfter                       *seconds `json:",omitempty"`
		SubjectAlternativeNameSummaries                                            []string
	}
	listCertificatesOutput struct {
		CertificateSummaryList []certificateSummary
		NextToken              string `json:",omitempty"`
	}
	describeCertificateInput  struct{ CertificateArn string }
	describeCertificateOutput struct{ Certificate certificateDetail }
	certificateDetail         struct {
		CertificateArn, DomainName, KeyAlgorithm, RenewalEligibility, Status, Type string
		InUseBy, SubjectAlternativeNames                                           []string
		CreatedAt                                                                  *seconds
		ImportedAt, IssuedAt, RevokedAt, NotBefore, NotAfter                       *seconds        `json:",omitempty"`
		RenewalSummary                                                             *renewalSummary `json:",omitempty"`
	}
	renewalSummary struct {
		DomainValidationOptions []struct{ DomainName string }
		RenewalStatus           string
		RenewalStatusReason     string `json:",omitempty"`
		UpdatedAt               *seconds
	}
)

// SeedCertificate adds a certificate, or replaces the one with that id, and returns
// its ARN.
func (s *Server) SeedCertificate(c Certificate) (string, error) {
	if c.Domain == "" {
		return "", invalid("a certificate needs a domain")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.ID, c.Region, c.Algorithm = cmp.Or(c.ID, uuid.NewString()), cmp.Or(c.Region, s.region), cmp.Or(c.Algorithm, "RSA_2048")
	if c.Start.IsZero() {
		c.Start = s.cond.Clock.Now()
	}
	if c.End.IsZero() {
		c.End = c.Start.AddDate(0, 0, 395)
	}
	s.certificates[s.certificateARN(c)] = c
	return s.certificateARN(c), nil
}

// certificateARN is a certificate's ARN.
func (s *Server) certificateARN(c Certificate) string {
	return "arn:aws:acm:" + c.Region + ":" + s.account + ":certificate/" + c.ID
}

func (c Certificate) status(now time.Time) string {
	switch {
	case c.Status != "":
		return c.Status
	case !now.Before(c.End):
		return "EXPIRED"
	default:
		return "ISSUED"
	}
}

// issued reports whether a certificate has dates already.
func (c Certificate) issued() bool {
	return !slices.Contains([]string{"PENDING_VALIDATION", "VALIDATION_TIMED_OUT", "FAILED"}, c.Status)
}

func (c Certificate) kind() string {
	if c.Imported {
		return "IMPORTED"
	}
	return "AMAZON_ISSUED"
}

func (c Certificate) eligibility() string {
	if c.Imported || len(c.InUseBy) == 0 {
		return "INELIGIBLE"
	}
	return "ELIGIBLE"
}

// summary is a certificate in a list.
func (c Certificate) summary(arn string, now time.Time) certificateSummary {
	out := certificateSummary{
		CertificateArn: arn, DomainName: c.Domain, KeyAlgorithm: c.Algorithm, RenewalEligibility: c.eligibility(), Status: c.status(now), Type: c.kind(),
		InUse: len(c.InUseBy) > 0, CreatedAt: at(c.Start), SubjectAlternativeNameSummaries: []string{c.Domain},
	}
	if c.Imported {
		out.ImportedAt = at(c.Start)
	}
	if c.issued() {
		out.NotBefore, out.NotAfter = at(c.Start), at(c.End)
		if !c.Imported {
			out.IssuedAt = at(c.Start)
		}
	}
	if out.Status == "REVOKED" {
		out.RevokedAt = at(now)
	}
	return out
}

// listCertificates shows keys of other kinds than RSA up to 2048 bits only to those
// who name them, as ACM does.
func (s *Server) listCertificates(c call, in *listCertificatesInput) (*listCertificatesOutput, error) {
	limit, ok := within(in.MaxItems, 100, 1000)
	if !ok {
		return nil, invalid("1 validation error detected: Value at 'maxItems' failed to satisfy constraint: Member must be between 1 and 1000")
	}
	if (in.SortBy == "") != (in.SortOrder == "") {
		return nil, invalid("SortBy and SortOrder have to be given together.")
	}
	types := []string{"RSA_1024", "RSA_2048"}
	if in.Includes != nil {
		if len(in.Includes.ExtendedKeyUsage)+len(in.Includes.KeyUsage) > 0 {
			return nil, invalid("the stand-in's certificates have no key usages")
		}
		if len(in.Includes.KeyTypes) > 0 {
			types = in.Includes.KeyTypes
		}
	}
	var all []certificateSummary
	for arn, one := range s.certificates {
		if one.Region == c.region && slices.Contains(types, one.Algorithm) && (len(in.CertificateStatuses) == 0 || slices.Contains(in.CertificateStatuses, one.status(c.now))) {
			all = append(all, one.summary(arn, c.now))
		}
	}
	slices.SortFunc(all, func(a, b certificateSummary) int {
		newest := cmp.Compare(b.CreatedAt.UnixNano(), a.CreatedAt.UnixNano())
		if in.SortOrder == "ASCENDING" {
			newest = -newest
		}
		return cmp.Or(newest, strings.Compare(a.CertificateArn, b.CertificateArn))
	})
	some, next, ok := page(all, "certificates", in.NextToken, limit)
	if !ok {
		return nil, refuse("InvalidArgsException", "The token is not valid.")
	}
	return &listCertificatesOutput{append([]certificateSummary{}, some...), next}, nil
}

func (s *Server) describeCertificate(c call, in *describeCertificateInput) (*describeCertificateOutput, error) {
	one, ok := s.certificates[in.CertificateArn]
	if !ok || one.Region != c.region {
		return nil, refuse("ResourceNotFoundException", "Could not find certificate "+in.CertificateArn+".")
	}
	sum := one.summary(in.CertificateArn, c.now)
	out := certificateDetail{
		CertificateArn: sum.CertificateArn, DomainName: sum.DomainName, KeyAlgorithm: sum.KeyAlgorithm, RenewalEligibility: sum.RenewalEligibility,
		Status: sum.Status, Type: sum.Type, InUseBy: append([]string{}, one.InUseBy...), SubjectAlternativeNames: []string{one.Domain},
		CreatedAt: sum.CreatedAt, ImportedAt: sum.ImportedAt, IssuedAt: sum.IssuedAt, RevokedAt: sum.RevokedAt, NotBefore: sum.NotBefore, NotAfter: sum.NotAfter,
	}
	if one.Renewal != "" {
		out.RenewalSummary = &renewalSummary{DomainValidationOptions: []struct{ DomainName string }{{one.Domain}},
			RenewalStatus: one.Renewal, RenewalStatusReason: one.Reason, UpdatedAt: at(c.now)}
	}
	return &describeCertificateOutput{out}, nil
}
