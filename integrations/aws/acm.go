package aws

import (
	"context"
	"fmt"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	"github.com/aws/aws-sdk-go-v2/service/acm/types"

	"github.com/twokey/twokey/inventory"
)

// keyAlgorithms are all that ACM has: who names none is shown RSA keys of up to
// 2048 bits alone.
func keyAlgorithms() []types.KeyAlgorithm {
	return []types.KeyAlgorithm{
		types.KeyAlgorithmRsa1024, types.KeyAlgorithmRsa2048, types.KeyAlgorithmRsa3072, types.KeyAlgorithmRsa4096,
		types.KeyAlgorithmEcPrime256v1, types.KeyAlgorithmEcSecp384r1, types.KeyAlgorithmEcSecp521r1,
	}
}

// Certificates implements inventory.Certificates. Certificates that were asked for
// and never issued have no end, and are left out.
func (c *Client) Certificates(ctx context.Context, region string) ([]inventory.ACMCertificate, error) {
	client := acm.New(c.acm.Options(), func(o *acm.Options) { o.Region = region })
	pages := acm.NewListCertificatesPaginator(client, &acm.ListCertificatesInput{
		CertificateStatuses: []types.CertificateStatus{types.CertificateStatusIssued, types.CertificateStatusExpired, types.CertificateStatusRevoked, types.CertificateStatusInactive},
		Includes:            &types.Filters{KeyTypes: keyAlgorithms()}, MaxItems: sdk.Int32(1000),
	})
	var out []inventory.ACMCertificate
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return out, notReadable(refused("acm:ListCertificates in "+region, err))
		}
		for _, s := range page.CertificateSummaryList {
			out = append(out, certificate(ctx, client, s))
		}
	}
	return out, nil
}

// certificate renders one certificate. Only a description tells what uses it and
// how its renewal stands, so those are described that have either.
func certificate(ctx context.Context, client *acm.Client, s types.CertificateSummary) inventory.ACMCertificate {
	out := inventory.ACMCertificate{
		ARN: sdk.ToString(s.CertificateArn), Domain: sdk.ToString(s.DomainName), Start: sdk.ToTime(s.NotBefore), End: sdk.ToTime(s.NotAfter),
		Imported: s.Type == types.CertificateTypeImported,
		Renews:   s.Type != types.CertificateTypeImported && s.RenewalEligibility == types.RenewalEligibilityEligible,
		Revoked:  s.Status == types.CertificateStatusRevoked,
	}
	if !sdk.ToBool(s.InUse) && !out.Renews {
		return out
	}
	described, err := client.DescribeCertificate(ctx, &acm.DescribeCertificateInput{CertificateArn: s.CertificateArn})
	switch {
	case err != nil:
		out.NotRead = notReadable(refused("acm:DescribeCertificate "+out.ARN, err))
	case described.Certificate != nil:
		out.InUseBy = described.Certificate.InUseBy
		if r := described.Certificate.RenewalSummary; r != nil {
			out.Renewal, out.Reason = string(r.RenewalStatus), string(r.RenewalStatusReason)
		}
	}
	return out
}

// notReadable makes AWS's way of refusing a read the inventory's.
func notReadable(err error) error {
	if isCode(err, "AccessDeniedException", "AccessDenied") {
		return fmt.Errorf("%w: %w", inventory.ErrNotPermitted, err)
	}
	return err
}
