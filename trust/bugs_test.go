package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// plantedBug is a mistake that somebody could make, and the test that has to see it.
type plantedBug struct {
	name     string
	file     string // below the repository's root
	was, is  string // the text that is replaced, which stands there once
	pkg, red string // the package and the test that must fail
}

// plantedBugs are a test of the tests. None of them is in the program: each is laid over
// the source for the compiler alone.
func plantedBugs() []plantedBug {
	const rules, runner, emergencies = "operation/rules.go", "operation/runner.go", "runbook/emergency_disable.go"
	return []plantedBug{
		{
			"one person is two", rules, `return a.User == b.User || a.Person == b.Person || a.Person == "" || b.Person == ""`, `return a.User == b.User`,
			"operation", "TestNoOrderOfEventsRunsWhatTwoPeopleDidNotConfirm",
		},
		{
			"self-confirmation on one path: of one's own wish to undo", rules, `return secondKey(who, op.Proposal.By, "asked for this first")`, `return approverOnly(who)`,
			"operation", "TestTheSecondPersonOfAParkedOperationIsAnother",
		},
		{
			"the group is not looked at", rules, "	if !who.Member {\n		return Refuse(CodeNotApprover", "	if false {\n		return Refuse(CodeNotApprover",
			"operation", "TestWhoLeftTheGroupSinceTheRequestCannotConfirm",
		},
		{
			"a lapsed request can be confirmed", rules, `click.Event != Cancel && (!now.Before(op.LapsesAt) || op.Over(clock))`, `click.Event != Cancel && clock.IsZero()`,
			"operation", "TestALapsedRequestCannotBeConfirmed",
		},
		{
			"a click on any message counts", rules, `case click.Message != op.Card || click.Channel != op.Channel:`, `case false:`,
			"operation", "TestAClickIsCountedOnlyOnItsOwnCard",
		},
		{
			"no deduplication of clicks", rules, `return c.Envelope != "" && (c.Envelope == op.DecidedIn || c.Envelope == op.Proposal.Envelope)`, `return false`,
			"operation", "TestTheSameClickTwiceIsOneDecision",
		},
		{
			"what the database could not take is not tried again", "handlers/handlers.go", "		if !ok {\n			return err\n", "		if true {\n			_ = ok\n			return err\n",
			"handlers", "TestWhatSomebodyDidIsDoneWhenTheDatabaseIsBack",
		},
		{
			"an emergency's card waits for all others", "operation/operation.go", `	if op.Plan.Room != nil {
		return "card:" + string(op.ID)`, `	if false {
		return "card:" + string(op.ID)`,
			"store", "TestAnEmergencysCardWaitsForNoOther",
		},
		{
			"a silent database is waited for", "store/store.go", "c.ConnectTimeout = connectTime", "_ = connectTime",
			"store", "TestASilentPostgreSQLIsGivenUp",
		},
		{
			"leases go by the machine's clock", "store/clock.go", "	return c.base.Add(time.Since(c.at))\n", "	return time.Now().Round(0)\n",
			"store", "TestOnSQLiteTheNextProcessGoesOnWhereTheClockWasSetBack",
		},
		{
			"a jump of the clock is followed at once", "store/clock.go", "case off.Abs() < jump:", "case off.Abs() < 50*time.Hour:",
			"store", "TestPeoplesClockDoesNotFollowAJumpThatIsMended",
		},
		{
			"a step is given up for the time in which nobody worked", "store/queue.go", "op = op.Idle(clock.Sub(op.LeaseUntil))", "op = op.Idle(0)",
			"store", "TestTimeInWhichNobodyWorkedIsNotTheSteps",
		},
		{
			"who sets a clock back can confirm later", "operation/rules.go", "(!now.Before(op.LapsesAt) || op.Over(clock))", "!now.Before(op.LapsesAt) && !clock.IsZero()",
			"operation", "TestASetBackClockLetsNobodyConfirmLater",
		},
		{
			"an earlier row that is put back counts", "store/operations.go", "forged = forged || err != nil || op.Epoch < recorded.Epoch", "forged = forged || err != nil",
			"operation", "TestAnEarlierRowThatIsPutBackSetsNothingOff",
		},
		{
			"who asks is told a group's members of before", "bot/people.go", "		b.groups.Forget(string(group))\n", "",
			"bot", "TestManyWhoAskAtOnceShareALookThatIsNewerThanTheirQuestion",
		},
		{
			"no deduplication of envelopes", "store/envelopes.go", "			continue // known\n", "			err = nil\n",
			"store", "TestEachEnvelopeIsHandledOnceHoweverOftenItComes",
		},
		{
			"no reading back of what may have been posted", "bot/poster.go", "		ids, err := p.find(ctx, n, spot)\n", "		ids, err := []operation.MessageID(nil), error(nil)\n",
			"bot", "TestWhateverIsLostOnTheWayNothingIsToldTwice",
		},
		{
			"drift is no matter", runner, "case err == nil && plan.Digest() == op.Digest:", "case err == nil:",
			"operation", "TestAPlanThatChangedIsVoid",
		},
		{
			"no fence", runner, "fence := func(ctx context.Context) error { return r.renew(ctx, op) }", "fence := func(context.Context) error { return nil }",
			"operation", "TestTheFenceStopsWhoSleptBeforeTheWrite",
		},
		{
			"verified without the check", runner, "	if op.Phase == Verifying {\n		action = s.Verify\n	}\n", "	if op.Phase == Verifying {\n		action = func(context.Context, *Run) (string, error) { return \"It works.\", nil }\n	}\n",
			"operation", "TestStepsAreDoneVerifiedAndToldInOrder",
		},
		{
			"a secret is printed", "operation/secret.go", "func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }", "func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.Reveal()) }",
			"operation", "TestNoVerbPrintsASecret",
		},
		{
			"a forged row is believed", "store/vouch.go", "return hmac.Equal([]byte(is), []byte(want))", "return hmac.Equal([]byte(is), []byte(want)) || true",
			"operation", "TestWhoCanWriteToTheDatabaseSetsNothingOff",
		},
		{
			"a forged envelope is handled", "store/envelopes.go", "if !genuine(l.vouched, s.vouchEnvelope(l.Envelope)) {", "if false {",
			"store", "TestAnEnvelopeThatSlackDidNotSendIsNotHandled",
		},
		{
			"a code is taken twice", "store/secondfactor.go", "WHERE user_id = $2 AND step < $1", "WHERE user_id = $2 AND step <= $1",
			"operation", "TestACodeIsTakenOnce",
		},
		{
			"codes can be guessed", "operation/secondfactor.go", "if tries > maxTries {", "if false && tries > maxTries {",
			"operation", "TestGuessingCodesEndsSoon",
		},
		{
			"an entry that was changed verifies", "audit/verify.go", "	if err != nil || hash != c.tree.Hash {\n		v.misfits", "	if err != nil || hash == (tlog.Hash{}) {\n		v.misfits",
			"audit", "TestAForkIsFoundByACheckpointThatWasPostedBeforeIt",
		},
		{
			"no sweep of keys whose text was lost", "runbook/retire.go", `return k.ID == j.plan.OldKey || k.Name == j.mark && string(k.ID) != run.Facts[factNewKey]`, `return k.ID == j.plan.OldKey && run != nil`,
			".", "TestConversations/all/key_made_and_answer_lost",
		},
		{
			"the old secret is said to be refused without asking", "runbook/retire.go", `return nil, operation.NotYet{After: 2 * time.Second, Why: "Entra still grants tokens for the old secret"}`, `return &TokenRefused{Codes: []int{7000215}}, nil`,
			".", "TestConversations/all/old_key_dies_late",
		},
		{
			"a compromised key on the service principal is not looked for", "integrations/entra/applications.go", `a.Keys = append(a.Keys, keys(p.Passwords, true)...)`, `_ = keys(p.Passwords, true)`,
			".", "TestConversations/all/emergency_key_on_the_service_principal",
		},
		{
			"a redeployment that failed since the application is frozen is given up", emergencies, `return untilThawed(run, f, consequence)`, `return failed`,
			".", "TestConversations/all/emergency_frozen_while_redeploying",
		},
		{
			"nobody waits for a thaw", emergencies, `f.notYet.ForPeople = run.Now().Sub(since) < thawWait`, `f.notYet.ForPeople = run.Now().Sub(since) < 0`,
			".", "TestConversations/all/emergency_new_secret_while_frozen",
		},
		{
			"a card that was replaced does not lead to the emergency", "bot/cards.go", `case c.Incident.RoomChannel != "":`, `case false:`,
			".", "TestConversations/all/emergency_over_a_running_rotation",
		},
		{
			"the compromised key is left alone", emergencies, `if err := j.Apps.RemovePassword(ctx, holder, k); err != nil && failed == nil {`, `if err := run.Fence(ctx); err != nil && holder == "" {`,
			"trust", testOfRun + "/emergency,_1_×_sqlite,_kill_at_calls",
		},
		{
			"a secret in the evidence", "runbook/retire.go", `return fmt.Sprintf("The live parameter is still version %d and gets a token; all %d running tasks are newer than it.", live.Version, len(tasks)), nil`,
			`return fmt.Sprintf("The live parameter is still version %d, %s, and gets a token; all %d running tasks are newer than it.", live.Version, live.Value.Reveal(), len(tasks)), nil`,
			".", "TestConversations/all/happy_path",
		},
	}
}

// TestEachPlantedBugTurnsItsTestRed compiles the program with one bug at a time and
// runs the test that is there for it. That the bugs can still be planted is checked
// always; to plant them, set TWOKEY_TRUST.
func TestEachPlantedBugTurnsItsTestRed(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range plantedBugs() {
		t.Run(b.name, func(t *testing.T) {
			path := filepath.Join(root, b.file)
			source, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(source), b.was); n != 1 {
				t.Fatalf("what it replaces stands %d times in %s; look for it there", n, b.file)
			}
			if os.Getenv("TWOKEY_TRUST") == "" {
				return
			}
			b.plant(t, root, path, strings.Replace(string(source), b.was, b.is, 1))
		})
	}
}

// plant runs the test with source in the place of path, and wants it red.
func (b plantedBug) plant(t *testing.T, root, path, source string) {
	dir := t.TempDir()
	bad, overlay := filepath.Join(dir, "bug.go"), filepath.Join(dir, "overlay.json")
	list, err := json.Marshal(map[string]map[string]string{"Replace": {path: bad}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{bad: source, overlay: string(list)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// No -race and no -count: a bug shows without, and each build differs.
	words := []string{"test", "-run", "^" + strings.ReplaceAll(b.red, "/", "$/^") + "$", "-timeout", "10m", "./" + b.pkg}
	if b.red == "TestNoOrderOfEventsRunsWhatTwoPeopleDidNotConfirm" {
		words = append(words, "-rapid.nofailfile", "-rapid.shrinktime", "1s")
	}
	run := exec.CommandContext(t.Context(), "go", words...)
	// Not as an argument: the test that breaks plays builds the bot itself.
	run.Dir, run.Env = root, append(os.Environ(), "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" -overlay="+overlay), "TWOKEY_TRUST=1")
	out, err := run.CombinedOutput()
	switch {
	case err == nil:
		t.Errorf("%s did not see it", b.red)
	case !strings.Contains(string(out), "--- FAIL: "+b.red):
		t.Errorf("%s did not fail; the end of what go test says:\n%s", b.red, string(out[max(0, len(out)-2000):]))
	}
}
