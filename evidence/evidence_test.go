package evidence_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/evidence"
	"github.com/twokey/twokey/evidence/checker"
	"github.com/twokey/twokey/inventory"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/runbook"
	"github.com/twokey/twokey/store"
)

var (
	alice = operation.Person{User: "U0ALICE", Person: "alice-id", Name: "Alice"}
	bob   = operation.Person{User: "U0BOB", Person: "bob-id", Name: "Bob | <b>"}
	march = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
)

// year is a database in which something happened in January, February and March.
type year struct {
	t       *testing.T
	now     time.Time
	key     audit.Key
	address string
	store   *store.Store
	reader  *store.Reader
	record  audit.Opened
}

func newYear(t *testing.T) *year {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if _, err := audit.WriteKey(path, "test"); err != nil {
		t.Fatal(err)
	}
	y := &year{t: t, address: "sqlite:" + filepath.Join(t.TempDir(), "twokey.db")}
	var err error
	if y.key, err = audit.ReadKey(path); err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return y.now }
	y.store, err = store.Open(t.Context(), y.address, store.Options{Recorder: audit.NewLog(y.key, audit.Cadence{}, now), Now: now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(y.store.Close)
	for month := range 3 {
		y.rotation(month)
	}
	if y.record, err = audit.Open(t.Context(), y.address); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = y.record.Close() })
	if y.reader, err = store.OpenToRead(t.Context(), y.address); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(y.reader.Close)
	return y
}

// rotation is asked for on the 5th, refused once, confirmed, and ends on the 6th.
func (y *year) rotation(month int) {
	y.t.Helper()
	y.now = time.Date(2026, time.Month(1+month), 5, 9, 0, 0, 0, time.UTC)
	op := operation.Operation{
		ID: operation.ID(fmt.Sprintf("op%d", month+1)), Kind: "rotate", Secret: "sharepoint/prod", State: operation.Pending, Requester: alice, Reason: "yearly\n| row |",
		ChangeReference: "CHG000000" + fmt.Sprint(month+1), RequestedAt: y.now, Envelope: fmt.Sprint("e", month), Channel: "C0",
	}
	entry := func(e operation.Entry) operation.Entry {
		e.At, e.Operation, e.Secret = y.now, op.ID, op.Secret
		return e
	}
	must(y.t, y.create(&op, entry(operation.Entry{Event: operation.Request, State: operation.Pending, Outcome: operation.Asked, By: &alice, ChangeReference: op.ChangeReference, Quiet: true})))
	must(y.t, y.store.Record(y.t.Context(), []operation.Entry{entry(operation.Entry{Event: operation.Confirm, Outcome: operation.Refused, Code: operation.CodeSamePerson, By: &operation.Person{User: alice.User}, Text: "=cmd()", Quiet: true})}))
	from := op.State
	op.State, op.Approver, op.DecidedBy, op.DecidedAt = operation.Approved, bob, bob, y.now
	y.change(&op, from, entry(operation.Entry{Event: operation.Confirm, State: operation.Approved, Outcome: operation.Decided, By: &bob}))
	y.now = y.now.Add(24 * time.Hour)
	from = op.State
	op.State, op.EndedAt = operation.Succeeded, y.now
	must(y.t, y.store.Record(y.t.Context(), []operation.Entry{{At: y.now, Secret: op.Secret, Outcome: operation.Noted, Step: operation.StepLeftover, Text: "the parameter is a String"}}))
	y.change(&op, from, entry(operation.Entry{Step: "Prove the new secret", Outcome: operation.Verified, Text: "5 tokens"}), entry(operation.Entry{Event: operation.Finish, State: operation.Succeeded, Outcome: operation.Noted}))
}

func (y *year) create(op *operation.Operation, e operation.Entry) (err error) {
	*op, err = y.store.Create(y.t.Context(), *op, []operation.Entry{e}, nil)
	return err
}

func (y *year) change(op *operation.Operation, from operation.State, entries ...operation.Entry) {
	y.t.Helper()
	var err error
	*op, err = y.store.Change(y.t.Context(), operation.Transition{Operation: *op, From: from, Entries: entries})
	must(y.t, err)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// material is the evidence of February.
func (y *year) material() evidence.Material {
	at := march.AddDate(0, 1, 0)
	item := func(name string, start time.Time, months int) inventory.Item {
		return inventory.Item{Name: name, Kind: inventory.Secret, Feeds: inventory.Feeds{Secret: operation.SecretName(name)}, Start: start, End: start.AddDate(0, months, 0), Status: inventory.Fine}
	}
	return evidence.Material{
		From: march.AddDate(0, -1, 0), To: march, At: at,
		Targets: []runbook.Target{{Name: "sharepoint/prod", Policy: operation.Policy{Approvers: "S0APPROVERS"}, LifetimeMonths: 24}},
		Inventory: inventory.Inventory{At: at, Items: []inventory.Item{
			item("fine/prod", march, 24), item("old/prod", march.AddDate(-3, 0, 0), 24), item("long/prod", march, 25), {Name: "unknown/prod", Kind: inventory.Secret, Feeds: inventory.Feeds{Secret: "unknown/prod"}},
		}},
		Record: y.record, Operations: y.reader, Verifier: y.key.VerifierLine() + "\n", Signer: y.key,
	}
}

// written is the evidence of February in a folder.
func (y *year) written() string {
	y.t.Helper()
	dir := filepath.Join(y.t.TempDir(), "evidence")
	must(y.t, evidence.Write(y.t.Context(), dir, y.material()))
	return dir
}

func check(dir, verifier string) (int, string) {
	var out bytes.Buffer
	code := checker.Main(dir, verifier, &out)
	return code, out.String()
}

func rowsOf(t *testing.T, dir, name string) [][]string {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, name))
	must(t, err)
	defer func() { _ = f.Close() }()
	rows, err := csv.NewReader(f).ReadAll()
	must(t, err)
	return rows
}

func TestTheEvidenceTellsTheWindowAndTheWholeOfWhatHappenedInIt(t *testing.T) {
	dir := newYear(t).written()
	operations := rowsOf(t, dir, "operations.csv")
	if len(operations) != 2 || operations[1][0] != "op2" || operations[1][6] != "Alice" || operations[1][9] != "bob-id" || operations[1][12] != "CHG0000002" {
		t.Errorf("operations %q", operations)
	}
	if refusals := rowsOf(t, dir, "refusals.csv"); len(refusals) != 2 || refusals[1][7] != "same_person" || !strings.HasPrefix(refusals[1][9], "'") {
		t.Errorf("refusals %q", refusals)
	}
	if steps := rowsOf(t, dir, "steps.csv"); len(steps) != 2 || steps[1][5] != "Prove the new secret" || steps[1][6] != "verified" {
		t.Errorf("steps %q", steps)
	}
	if found := rowsOf(t, dir, "findings-over-time.csv"); len(found) != 2 || found[1][1][:7] != "2026-02" || found[1][9] != "the parameter is a String" {
		t.Errorf("findings over time %q", found)
	}
	var verdicts []string
	for _, row := range rowsOf(t, dir, "inventory.csv")[1:] {
		verdicts = append(verdicts, row[11])
	}
	if want := []string{"yes", "no: older than 24 months", "no: made to live longer than 24 months", "unknown"}; !slices.Equal(verdicts, want) {
		t.Errorf("24 months: %q, want %q", verdicts, want)
	}
	for name, wants := range map[string][]string{
		"README.md":     {"1 yes, 2 no, 1 unknown", "SC.03.07", "SC.03.02", "SC.01.19", "18, of which 6 are shown"},
		"operations.md": {`yearly \| row \|`, `Bob \| \<b\>`, "- Change: CHG0000002", "Prove the new secret"},
	} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		for _, want := range wants {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s does not have %q:\n%s", name, want, text)
			}
		}
	}
	record, err := os.ReadFile(filepath.Join(dir, "record.jsonl"))
	must(t, err)
	if strings.Contains(string(record), "op1") || strings.Contains(string(record), "op3") || strings.Count(string(record), "\n") != 18 {
		t.Errorf("the record shows what is not of the window:\n%s", record)
	}
}

func TestTheEvidenceChecksAndEveryChangedByteIsFound(t *testing.T) {
	y := newYear(t)
	dir := y.written()
	if code, said := check(dir, y.key.VerifierLine()); code != 0 {
		t.Fatal(said)
	}
	if code, said := check(dir, ""); code != 0 || !strings.Contains(said, "Compare it with the one that you have") {
		t.Fatal(said)
	}
	files, err := os.ReadDir(dir)
	must(t, err)
	for _, f := range files {
		path := filepath.Join(dir, f.Name())
		whole, err := os.ReadFile(path)
		must(t, err)
		for at := range whole {
			if at%max(1, len(whole)/40) != 0 && at != len(whole)-1 {
				continue // each check reads all files: some forty places of each will do
			}
			changed := bytes.Clone(whole)
			changed[at] ^= 1
			must(t, os.WriteFile(path, changed, 0o600))
			if code, said := check(dir, y.key.VerifierLine()); code == 0 {
				t.Errorf("byte %d of %s was changed, and nobody saw:\n%s", at, f.Name(), said)
			}
		}
		must(t, os.WriteFile(path, whole, 0o600))
	}
}

// resign makes the manifest fit again, as somebody with the record's key could.
func resign(t *testing.T, dir string, key audit.Key) {
	t.Helper()
	files, err := os.ReadDir(dir)
	must(t, err)
	var manifest strings.Builder
	for _, f := range files {
		if strings.HasPrefix(f.Name(), "MANIFEST") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		must(t, err)
		sum := sha256.Sum256(text)
		fmt.Fprintf(&manifest, "%s  %s\n", hex.EncodeToString(sum[:]), f.Name())
	}
	must(t, os.WriteFile(filepath.Join(dir, "MANIFEST.sha256"), []byte(manifest.String()), 0o600))
	sum := sha256.Sum256([]byte(manifest.String()))
	signed, err := key.Sign("twokey evidence\n" + hex.EncodeToString(sum[:]) + "\n")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "MANIFEST.sig"), []byte(signed), 0o600))
}

// replace changes a text in a file, and wants it to be there.
func replace(t *testing.T, dir, name, from, to string) {
	t.Helper()
	path := filepath.Join(dir, name)
	text, err := os.ReadFile(path)
	must(t, err)
	if !strings.Contains(string(text), from) {
		t.Fatalf("%s does not have %q", name, from)
	}
	must(t, os.WriteFile(path, []byte(strings.ReplaceAll(string(text), from, to)), 0o600))
}

func TestWhoCanSignTheManifestStillCannotRewriteTheRecord(t *testing.T) {
	y := newYear(t)
	lines := func(dir string) []string {
		text, err := os.ReadFile(filepath.Join(dir, "record.jsonl"))
		must(t, err)
		return strings.SplitAfter(string(text), "\n")
	}
	for name, c := range map[string]struct {
		spoil func(dir string)
		want  string
	}{
		"an entry is changed":   {func(dir string) { replace(t, dir, "record.jsonl", "5 tokens", "9 tokens") }, "not the one that was recorded"},
		"an entry is left out":  {func(dir string) { must(t, writeLines(dir, slices.Delete(lines(dir), 6, 7))) }, "are not those that were signed"},
		"entries are cut off":   {func(dir string) { must(t, writeLines(dir, lines(dir)[:12])) }, "and the record has 12"},
		"a step is made up":     {func(dir string) { replace(t, dir, "steps.json", "5 tokens", "9 tokens") }, "steps.json: entry 11 is not in the record"},
		"a refusal is softened": {func(dir string) { replace(t, dir, "refusals.json", "same_person", "lapsed") }, "refusals.json: entry 8 is not in the record"},
		"another approver":      {func(dir string) { replace(t, dir, "operations.json", "bob-id", "carol-id") }, "another person as the one who confirmed"},
		"another requester":     {func(dir string) { replace(t, dir, "operations.json", "alice-id", "carol-id") }, "another person as the one who asked"},
		"another change":        {func(dir string) { replace(t, dir, "operations.json", "CHG0000002", "CHG0000009") }, `the record has the change "CHG0000002"`},
		"no checkpoints":        {func(dir string) { must(t, os.WriteFile(filepath.Join(dir, "checkpoints.txt"), []byte("\n"), 0o600)) }, "no checkpoint vouches"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := y.written()
			c.spoil(dir)
			resign(t, dir, y.key)
			if code, said := check(dir, y.key.VerifierLine()); code == 0 || !strings.Contains(said, c.want) {
				t.Errorf("code %d, want %q in:\n%s", code, c.want, said)
			}
		})
	}
}

func writeLines(dir string, lines []string) error {
	return os.WriteFile(filepath.Join(dir, "record.jsonl"), []byte(strings.Join(lines, "")), 0o600)
}

func TestAFolderForgedWithAnotherKeyIsFoundByTheKeyFromElsewhere(t *testing.T) {
	y := newYear(t)
	forged := newYear(t).written() // whole in itself, signed by a key of the same name
	if code, said := check(forged, ""); code != 0 {
		t.Fatal(said)
	}
	if code, said := check(forged, y.key.VerifierLine()); code == 0 {
		t.Error(said)
	}
}

func TestAFileThatWasPutInIsFound(t *testing.T) {
	dir := newYear(t).written()
	must(t, os.WriteFile(filepath.Join(dir, "more.csv"), []byte("x"), 0o600))
	if code, said := check(dir, ""); code == 0 || !strings.Contains(said, "more.csv was put in") {
		t.Error(said)
	}
	if out, err := exec.Command("sh", filepath.Join(dir, "check.sh")).CombinedOutput(); err == nil || !strings.Contains(string(out), "more.csv was put in") {
		t.Errorf("%v\n%s", err, out)
	}
}

// What the auditor gets runs alone, and says what the checker says here.
func TestTheProgramsInTheFolderRunAlone(t *testing.T) {
	y := newYear(t)
	dir := y.written()
	run := func(name string, args ...string) (string, error) {
		c := exec.Command(name, args...)
		c.Dir = dir
		c.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "GOPROXY=off")
		out, err := c.CombinedOutput()
		return string(out), err
	}
	_, want := check(dir, y.key.VerifierLine())
	if out, err := run("go", "run", "check.go", y.key.VerifierLine()); err != nil || out != want {
		t.Errorf("%v; got\n%s\nwant\n%s", err, out, want)
	}
	if out, err := run("sh", "check.sh"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	replace(t, dir, "operations.csv", "Alice", "Alicf")
	if out, err := run("go", "run", "check.go", y.key.VerifierLine()); err == nil || !strings.Contains(out, "operations.csv is not the file that was written") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := run("sh", "check.sh"); err == nil {
		t.Error(out)
	}
}

func TestOlderEvidenceIsNotMixedWithNew(t *testing.T) {
	y := newYear(t)
	dir := y.written()
	if err := evidence.Write(t.Context(), dir, y.material()); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Error(err)
	}
}

func TestAWindowInWhichNothingHappenedIsEvidenceToo(t *testing.T) {
	y := newYear(t)
	m := y.material()
	m.From, m.To = march.AddDate(1, 0, 0), march.AddDate(2, 0, 0)
	dir := filepath.Join(t.TempDir(), "evidence")
	must(t, evidence.Write(t.Context(), dir, m))
	if code, said := check(dir, ""); code != 0 {
		t.Error(said)
	}
	text, err := os.ReadFile(filepath.Join(dir, "operations.json"))
	must(t, err)
	var none []any
	if err := json.Unmarshal(text, &none); err != nil || none == nil || len(none) > 0 {
		t.Errorf("%v: %s", err, text)
	}
}
