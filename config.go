package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/integrations/servicenow"
	"github.com/twokey/twokey/internal/strict"
	"github.com/twokey/twokey/inventory"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
)

// Config is all that the bot is told, read from one file and checked as a whole.
// Printing it shows no secret: what may hold one is an [operation.Secret].
type Config struct {
	Database   operation.Secret // "sqlite:<file>" or "postgres://…", which may carry a password
	Plans      string           // folder of Terraform's plans, for nobody else to read
	Listen     string           // host:port of health and metrics
	Slack      SlackConfig
	Approvers  operation.GroupID // who may confirm, where a secret names no others
	Requesters operation.GroupID // who may ask; empty: every full member
	Entra      EntraConfig
	AWS        AWSConfig
	Record     RecordConfig
	Escalation operation.GroupID // whom an emergency pages when no approver decides; empty: nobody
	Room       runbook.RoomPolicy
	Reminders  RemindersConfig
	Digest     TaskConfig
	Sweeps     TaskConfig
	Checks     PolicyConfig
	// Authenticators are those of the people who may confirm what takes a second factor.
	Authenticators map[operation.UserID]operation.Authenticator
	Targets        []runbook.Target   // in the file's order: servers, and their environments within
	Regions        []inventory.Region // whose ACM certificates are watched
	TLS            TLSConfig
	ServiceNow     servicenow.Config // where change requests are; an empty URL: nowhere that is asked
	Pace           Pace              // no file sets it
}

// Pace is how fast the bot goes where only the vendors' habits hold it up. The zero
// value fits the real ones.
type Pace struct {
	Proof                runbook.Proof
	Patience             time.Duration // caps how long any step is tried
	Spacing, EditSpacing time.Duration // of what is posted
}

// SlackConfig is how the bot reaches Slack.
type SlackConfig struct {
	AppToken          operation.Secret // xapp-…, for the sockets
	BotToken          operation.Secret // xoxb-…, for the Web API
	APIURL            string           // ends with a slash
	OperationsChannel operation.ChannelID
}

// EntraConfig is how the bot reaches Entra and Microsoft Graph.
type EntraConfig struct {
	Tenant   string           // directory id or domain
	ClientID string           // of the bot's own application
	Secret   operation.Secret // of the bot's own application; zero: it signs in by AWS web identity
	LoginURL string           // no slash at the end
	GraphURL string           // no slash and no version at the end
	CAFile   string           // more certificate authorities to trust, PEM; empty: none
}

// AWSConfig is how the bot reaches AWS. Credentials come from the SDK's usual chain.
type AWSConfig struct {
	Region      string
	EndpointURL string // of every AWS service; empty: the region's own
}

// RecordConfig is how the record's checkpoints are signed.
type RecordConfig struct {
	KeyFile string           // where the note signer's ed25519 key lies; empty: Key is it
	Key     operation.Secret // the text of such a file
	Origin  string           // the log's name, first line of every checkpoint
}

// key reads the key, and refuses one that does not sign as the record's origin.
func (c RecordConfig) key() (audit.Key, error) {
	var key audit.Key
	var err error
	if c.KeyFile == "" {
		key, err = audit.ParseKey(c.Key)
	} else {
		key, err = audit.ReadKey(c.KeyFile)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return audit.Key{}, fmt.Errorf("the record has no signing key yet; make it once: twokey audit key %s --name %s", c.KeyFile, c.Origin)
	}
	if err != nil {
		return audit.Key{}, err
	}
	if key.Name() != c.Origin {
		return audit.Key{}, fmt.Errorf("%s signs as %q, and the configuration's record.origin is %q: correct whichever is wrong", c.signer(), key.Name(), c.Origin)
	}
	return key, nil
}

// signer says where the key is.
func (c RecordConfig) signer() string {
	if c.KeyFile == "" {
		return "the key in record.key"
	}
	return "the key in " + c.KeyFile
}

// Mistakes is the error of a file that cannot be used: everything that is wrong
// with it, in the file's order.
type Mistakes struct {
	Path string
	List []strict.Mistake
}

// Error implements error with one line a mistake, which editors can jump to.
func (m *Mistakes) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s has %s:", m.Path, count(len(m.List), "mistake"))
	for _, one := range m.List {
		fmt.Fprintf(&b, "\n%s:%d:%d: %s", m.Path, one.At.Line, one.At.Column, one.Text)
	}
	return b.String()
}

// maxConfig bounds the file, in bytes; a real one has a few thousand.
const maxConfig = 1 << 20

// LoadConfig reads the file at path, the token files that it names, and the
// environment variables that it names through getenv. Relative paths are
// relative to the working directory. When the file is there but cannot be used,
// the error is a [*Mistakes] with all that is wrong.
func LoadConfig(path string, getenv func(string) string) (*Config, error) {
	src, err := readConfig(path, getenv)
	if err != nil {
		return nil, err
	}
	cfg, mistakes := parseConfig(src, getenv, readUpTo)
	if len(mistakes) > 0 {
		return nil, &Mistakes{path, mistakes}
	}
	return cfg, nil
}

// readConfig reads a file or, for "env:NAME", an environment variable, for
// containers that get their settings as such.
func readConfig(path string, getenv func(string) string) ([]byte, error) {
	if variable, ok := strings.CutPrefix(path, "env:"); ok {
		text := getenv(variable)
		if text == "" {
			return nil, fmt.Errorf("there is no configuration in the environment variable %s: put the text of the file there, or name a file with --config", variable)
		}
		return []byte(text), nil
	}
	src, err := readUpTo(path, maxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no %s: copy twokey.example.yml, or name another file with --config", path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return src, nil
}

// parseConfig is [LoadConfig] without touching the machine.
func parseConfig(src []byte, getenv func(string) string, readFile fileReader) (*Config, []strict.Mistake) {
	var f configFile
	r := &configReader{getenv: getenv, readFile: readFile, absent: map[absence][]operation.SecretName{}}
	mistakes, readable := strict.Decode(src, &f)
	if !readable {
		return nil, mistakes
	}
	r.mistakes = mistakes
	cfg := r.config(&f)
	r.tellAbsent()
	return cfg, strict.Sort(r.mistakes)
}

// fileReader reads a whole file of at most limit bytes.
type fileReader func(path string, limit int64) ([]byte, error)

// readUpTo is the fileReader of this machine.
func readUpTo(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return b, err
}

// WriteConfig prints what the configuration comes to, for "twokey config check":
// the addresses, and one line for each secret.
func WriteConfig(w io.Writer, c *Config) error {
	var b strings.Builder
	fmt.Fprintf(&b, "database    %s\n", describeDatabase(c.Database))
	fmt.Fprintf(&b, "slack       %s, operations channel %s\n", c.Slack.APIURL, c.Slack.OperationsChannel)
	fmt.Fprintf(&b, "entra       tenant %s, signs in by %s\n", c.Entra.Tenant, c.Entra.signIn())
	fmt.Fprintf(&b, "aws         %s\n", strings.TrimSuffix(c.AWS.Region+", "+c.AWS.EndpointURL, ", "))
	fmt.Fprintf(&b, "record      %s, signed with %s\n", c.Record.Origin, c.Record.signer())
	fmt.Fprintf(&b, "reminders   %s\n", c.Reminders)
	fmt.Fprintf(&b, "codes       %s\n", describeCodes(c))
	fmt.Fprintf(&b, "digest      %s\n", c.Digest)
	fmt.Fprintf(&b, "sweeps      %s\n", c.Sweeps)
	fmt.Fprintf(&b, "policy      %s\n", describePolicy(c.Checks))
	fmt.Fprintf(&b, "listen      %s\n", c.Listen)
	fmt.Fprintf(&b, "acm         %s\n", describeRegions(c.Regions))
	fmt.Fprintf(&b, "tls         %s\n", describeTLS(c.TLS))
	fmt.Fprintf(&b, "changes     %s\n", describeServiceNow(c.ServiceNow))
	for _, s := range c.Targets {
		if s.Module.Directory != "" {
			fmt.Fprintf(&b, "terraform   %s: %s\n", s.Name, s.Module)
		}
	}
	b.WriteString("\n")

	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "SECRET\tPARAMETER\tECS SERVICE\tVARIABLE\tTEST CALL\tLIVES\tOVERLAP\tCONFIRMED BY\tWITHIN\tCHANGE REFERENCE\tOWNER") // the builder takes everything
	for _, s := range c.Targets {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s/%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, s.SecretParameter, s.Cluster, s.Service, s.Variable, s.MCP.Tool,
			count(s.LifetimeMonths, "month"), describeOverlap(s), s.Policy.Approvers, shortDuration(s.Policy.Lapse), cmp.Or(s.ChangeReferencePattern, "-"), describeOwner(s.Owner))
	}
	_ = t.Flush()
	fmt.Fprintf(&b, "\n%s, no mistakes\n", count(len(c.Targets), "secret"))
	_, err := io.WriteString(w, b.String())
	return err
}

// describeDatabase names the database without what signs in to it.
func describeDatabase(address operation.Secret) string {
	if file, ok := strings.CutPrefix(address.Reveal(), "sqlite:"); ok {
		return "SQLite, file " + file
	}
	u, err := url.Parse(address.Reveal())
	if err != nil {
		return "PostgreSQL"
	}
	return "PostgreSQL, " + u.Host + u.Path
}

// describeCodes says what takes a second factor.
func describeCodes(c *Config) string {
	var where []string
	for _, t := range c.Targets {
		if t.Policy.SecondFactor && !slices.Contains(where, t.Environment) {
			where = append(where, t.Environment)
		}
	}
	if len(c.Targets) > 0 && c.Targets[0].EmergencySecondFactor {
		where = append(where, "emergencies")
	}
	if len(where) == 0 {
		return "none asked for"
	}
	return fmt.Sprintf("asked for in %s; %d people have an authenticator", strings.Join(where, ", "), len(c.Authenticators))
}

func describeServiceNow(c servicenow.Config) string {
	if c.URL == "" {
		return "not looked up"
	}
	return fmt.Sprintf("%s, table %s, work in the states %s", c.URL, c.Table, strings.Join(c.States, ", "))
}

func (e EntraConfig) signIn() string {
	if e.Secret.IsZero() {
		return "AWS web identity"
	}
	return "a client secret"
}

func describeOverlap(t runbook.Target) string {
	if t.OverlapUntilExpiry {
		return untilExpiry
	}
	return shortDuration(t.Overlap)
}

// count writes "1 secret" and "8 secrets".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if stem, ok := strings.CutSuffix(what, "y"); ok {
		return fmt.Sprintf("%d %sies", n, stem)
	}
	return fmt.Sprintf("%d %ss", n, what)
}
