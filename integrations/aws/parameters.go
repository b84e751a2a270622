package aws

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// Read implements runbook.Parameters. The history is read beside the value; should
// the version be too new to be in it, once more.
func (c *Client) Read(ctx context.Context, name string) (runbook.Parameter, error) {
	bare, _, _ := strings.Cut(name, ":")
	var versions []types.ParameterHistory
	var wg sync.WaitGroup
	wg.Go(func() { versions, _ = c.history(ctx, bare) }) // what is missing is asked for again, and then the error counts
	out, err := c.ssm.GetParameter(ctx, &ssm.GetParameterInput{Name: &name, WithDecryption: sdk.Bool(true)})
	wg.Wait()
	if err != nil {
		return runbook.Parameter{}, noParameter(refused("ssm:GetParameter "+name, err))
	}
	p := runbook.Parameter{
		Name: sdk.ToString(out.Parameter.Name), Version: out.Parameter.Version, Type: string(out.Parameter.Type),
		Modified: sdk.ToTime(out.Parameter.LastModifiedDate), Value: operation.NewSecret(sdk.ToString(out.Parameter.Value)),
	}
	entry, found := version(versions, p.Version)
	if !found {
		if versions, err = c.history(ctx, p.Name); err != nil {
			return runbook.Parameter{}, err
		}
		if entry, found = version(versions, p.Version); !found {
			return runbook.Parameter{}, fmt.Errorf("ssm:GetParameterHistory %s: version %d is not in it", p.Name, p.Version)
		}
	}
	p.KMSKey, p.Labels = sdk.ToString(entry.KeyId), entry.Labels
	return p, nil
}

// history reads all versions: only there do the key and the labels stand beside
// the version that they belong to. Values stay encrypted.
func (c *Client) history(ctx context.Context, name string) ([]types.ParameterHistory, error) {
	var out []types.ParameterHistory
	pages := ssm.NewGetParameterHistoryPaginator(c.ssm, &ssm.GetParameterHistoryInput{Name: &name, MaxResults: sdk.Int32(50)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, noParameter(refused("ssm:GetParameterHistory "+name, err))
		}
		out = append(out, page.Parameters...)
	}
	return out, nil
}

func version(versions []types.ParameterHistory, number int64) (types.ParameterHistory, bool) {
	i := slices.IndexFunc(versions, func(v types.ParameterHistory) bool { return v.Version == number })
	if i < 0 {
		return types.ParameterHistory{}, false
	}
	return versions[i], true
}

// noParameter makes SSM's ways of saying "there is none" runbook's.
func noParameter(err error) error {
	if isCode(err, "ParameterNotFound", "ParameterVersionNotFound") {
		return operation.Permanent(fmt.Errorf("%w: %w", runbook.ErrNoParameter, err))
	}
	return err
}

// Write implements runbook.Parameters. After an error that is not permanent the
// value may have been written: the caller has to read the version.
func (c *Client) Write(ctx context.Context, name string, value operation.Secret, kmsKey string) (int64, error) {
	in := &ssm.PutParameterInput{Name: &name, Value: sdk.String(value.Reveal()), Type: types.ParameterTypeSecureString, Overwrite: sdk.Bool(true)}
	if kmsKey != "" {
		in.KeyId = sdk.String(keyID(kmsKey))
	}
	out, err := c.ssm.PutParameter(ctx, in, func(o *ssm.Options) { o.Retryer = onlyThrottles() })
	if err != nil {
		return 0, withoutMessage(refused("ssm:PutParameter "+name, err))
	}
	return out.Version, nil
}

// keyID turns an alias without its prefix, as the console and people write it
// ("aws/ssm"), into what the API takes. Key ids and ARNs stay as they are.
func keyID(key string) string {
	if regexp.MustCompile(`^(alias/|arn:|mrk-[0-9a-f]{32}$|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$)`).MatchString(key) {
		return key
	}
	return "alias/" + key
}

// Delete implements runbook.Parameters.
func (c *Client) Delete(ctx context.Context, name string) error {
	_, err := c.ssm.DeleteParameter(ctx, &ssm.DeleteParameterInput{Name: &name})
	if err == nil {
		return nil
	}
	if err = refused("ssm:DeleteParameter "+name, err); isCode(err, "ParameterNotFound") {
		return nil
	}
	return err
}

// Label implements runbook.Labels. A label that is on another version moves.
func (c *Client) Label(ctx context.Context, name string, version int64, label string) error {
	attempted := fmt.Sprintf("ssm:LabelParameterVersion %s:%d", name, version)
	out, err := c.ssm.LabelParameterVersion(ctx, &ssm.LabelParameterVersionInput{Name: &name, ParameterVersion: &version, Labels: []string{label}})
	if err != nil {
		return noParameter(refused(attempted, err))
	}
	if len(out.InvalidLabels) > 0 { // SSM says so in a successful answer
		return operation.Permanent(fmt.Errorf("%s: SSM does not take the label %q", attempted, label))
	}
	return nil
}

// Unlabel implements runbook.Labels. A label that is not there is no error.
func (c *Client) Unlabel(ctx context.Context, name string, version int64, label string) error {
	_, err := c.ssm.UnlabelParameterVersion(ctx, &ssm.UnlabelParameterVersionInput{Name: &name, ParameterVersion: &version, Labels: []string{label}})
	if err != nil {
		return noParameter(refused(fmt.Sprintf("ssm:UnlabelParameterVersion %s:%d", name, version), err))
	}
	return nil
}
