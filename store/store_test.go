package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twokey/twokey/audit"
	"github.com/twokey/twokey/internal/need"
	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/store"
)

// onBoth runs a test on SQLite and on PostgreSQL.
func onBoth(t *testing.T, test func(t *testing.T, address string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, "sqlite:"+filepath.Join(t.TempDir(), "twokey.db")) })
	t.Run("postgres", func(t *testing.T) { test(t, need.Postgres(t)) })
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func open(t *testing.T, address string) *store.Store {
	t.Helper()
	return openWith(t, address, func([]operation.Entry) error { return nil })
}

// openWith opens a store that asks the test before it records anything.
func openWith(t *testing.T, address string, before func([]operation.Entry) error) *store.Store {
	t.Helper()
	private, _, err := audit.GenerateKey("twokey.test")
	if err != nil {
		t.Fatal(err)
	}
	key, err := audit.ParseKey(private)
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), address, store.Options{Recorder: hooked{audit.NewLog(key, audit.Cadence{}, time.Now), before}, Now: time.Now, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func request(id operation.ID, secret operation.SecretName) operation.Operation {
	at := time.Now().UTC().Truncate(time.Microsecond)
	return operation.Operation{
		ID: id, Kind: "rotate", Secret: secret, State: operation.Pending, Envelope: "envelope-" + string(id),
		Requester: operation.Person{User: "U1", Person: "alice"}, Reason: "because", RequestedAt: at, LapsesAt: at.Add(time.Hour),
		Channel: "C1", Facts: map[operation.Fact]string{"a": "b"}, Plan: operation.Plan{Kind: "rotate", Details: json.RawMessage(`{}`)},
	}
}

func asked(op operation.Operation) []operation.Entry {
	return []operation.Entry{{At: op.RequestedAt, Operation: op.ID, Outcome: operation.Asked, Text: op.Reason, Quiet: true}}
}

func create(t *testing.T, s *store.Store, op operation.Operation) operation.Operation {
	t.Helper()
	op, err := s.Create(t.Context(), op, asked(op), nil)
	if err != nil {
		t.Fatal(err)
	}
	return op
}

// confirm is the transition that a second person's click makes.
func confirm(op operation.Operation) operation.Transition {
	t := operation.Transition{Operation: op, From: op.State, Wake: true}
	t.Operation.State = operation.Approved
	t.Operation.Approver = operation.Person{User: "U2", Person: "bob"}
	t.Entries = []operation.Entry{{At: time.Now(), Operation: op.ID, Outcome: operation.Decided, Text: "yes"}}
	return t
}

func TestAnOperationReadsAsItWasStored(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		want := create(t, s, request("op1", "a/prod"))
		got, err := s.Operation(t.Context(), "op1")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if _, err := s.Operation(t.Context(), "none"); !errors.Is(err, operation.ErrUnknown) {
			t.Errorf("got %v", err)
		}
	})
}

func TestASecretHasOneOpenOperation(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		op := create(t, s, request("op1", "a/prod"))
		if _, err := s.Create(t.Context(), request("op2", "a/prod"), asked(op), nil); !errors.Is(err, operation.ErrOpen) {
			t.Errorf("got %v", err)
		}
		create(t, s, request("op3", "b/prod"))
		again := request("op4", "a/prod")
		again.Envelope = op.Envelope
		if same, err := s.Create(t.Context(), again, asked(again), nil); err != nil || same.ID != "op1" {
			t.Errorf("the same envelope made %s, %v", same.ID, err)
		}
	})
}

func TestOfManyChangesAtOnceOneWins(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		op := create(t, s, request("op1", "a/prod"))
		var won atomic.Int32
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				switch _, err := s.Change(t.Context(), confirm(op)); {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, operation.ErrStale):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Errorf("%d won", won.Load())
		}
		entries, err := audit.OfOperation(t.Context(), s.DB(), "op1")
		if err != nil || len(entries) != 2 {
			t.Errorf("%d entries, %v: a loser has left something behind", len(entries), err)
		}
	})
}

func TestTheDatabaseItselfKnowsTheRuleOfTwoPeople(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		op := create(t, s, request("op1", "a/prod"))
		alone := confirm(op)
		alone.Operation.Approver.Person = op.Requester.Person
		if _, err := s.Change(t.Context(), alone); err == nil {
			t.Error("one person was both")
		}
		unconfirmed := confirm(op)
		unconfirmed.Operation.Approver = operation.Person{}
		if _, err := s.Change(t.Context(), unconfirmed); err == nil {
			t.Error("it was approved by nobody")
		}
		if op, _ = s.Operation(t.Context(), "op1"); op.State != operation.Pending || op.Epoch != 0 {
			t.Errorf("it is %s, epoch %d", op.State, op.Epoch)
		}
	})
}

func TestALeaseKeepsOthersOffUntilItRunsOut(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		op, err := s.Change(t.Context(), confirm(create(t, s, request("op1", "a/prod"))))
		if err != nil {
			t.Fatal(err)
		}
		mine, err := s.Claim(t.Context(), op.ID, op.Epoch, "me", 50*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Claim(t.Context(), op.ID, op.Epoch, "other", time.Minute); !errors.Is(err, operation.ErrStale) {
			t.Errorf("the old epoch was claimed: %v", err)
		}
		if _, err := s.Claim(t.Context(), op.ID, mine.Epoch, "other", time.Minute); !errors.Is(err, operation.ErrStale) {
			t.Errorf("a held lease was claimed: %v", err)
		}
		if err := s.Renew(t.Context(), mine, 50*time.Millisecond); err != nil {
			t.Errorf("renew: %v", err)
		}
		theirs := eventually(t, func() (operation.Operation, error) {
			return s.Claim(t.Context(), op.ID, mine.Epoch, "other", time.Minute)
		})
		if err := s.Renew(t.Context(), mine, time.Minute); !errors.Is(err, operation.ErrStale) {
			t.Errorf("a lost lease was renewed: %v", err)
		}
		late := operation.Transition{Operation: mine, From: mine.State}
		if _, err := s.Change(t.Context(), late); !errors.Is(err, operation.ErrStale) {
			t.Errorf("a lost lease changed the operation: %v", err)
		}
		if err := s.Renew(t.Context(), theirs, time.Minute); err != nil {
			t.Errorf("the new holder: %v", err)
		}
	})
}

// eventually calls f until it succeeds.
func eventually[T any](t *testing.T, f func() (T, error)) T {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		v, err := f()
		if err == nil {
			return v
		}
		select {
		case <-deadline:
			t.Fatal(err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestAChannelIsToldInOrderByOneAtATime(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		op := create(t, s, request("op1", "a/prod"))
		if _, err := s.Change(t.Context(), confirm(op)); err != nil {
			t.Fatal(err)
		}
		other := request("op2", "b/prod")
		other.Channel = "C2"
		create(t, s, other)

		card := claim(t, s)
		if card.Kind != operation.NoticeCard || card.Operation != "op1" || card.Attempts != 1 {
			t.Fatalf("got %+v", card)
		}
		elsewhere := claim(t, s)
		if elsewhere.Channel != "C2" {
			t.Errorf("the other channel has to wait: %+v", elsewhere)
		}
		if n, found, err := s.ClaimNotice(t.Context(), "x", time.Minute); found || err != nil {
			t.Errorf("a second notice of a channel was given out: %+v, %v", n, err)
		}
		if err := s.NoticeSent(t.Context(), card, "1.0"); err != nil {
			t.Fatal(err)
		}
		if op, _ := s.Operation(t.Context(), "op1"); op.Card != "1.0" {
			t.Errorf("the card is %q", op.Card)
		}
		line := claim(t, s)
		if line.Kind != operation.NoticeEntry || line.Entry.Text != "yes" {
			t.Errorf("got %+v", line)
		}
		if err := s.NoticeLater(t.Context(), line, time.Hour); err != nil {
			t.Fatal(err)
		}
		if n, found, _ := s.ClaimNotice(t.Context(), "x", time.Minute); found {
			t.Errorf("given out before its time: %+v", n)
		}
	})
}

// Whoever may ask for rotations must not delay an emergency: neither by many, nor by one
// whose card Slack refuses.
func TestAnEmergencysCardWaitsForNoOther(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		for n := range 20 {
			create(t, s, request(operation.ID(fmt.Sprint("op", n)), operation.SecretName(fmt.Sprint("s", n, "/prod"))))
		}
		urgent := request("urgent", "leaked/prod")
		urgent.Kind, urgent.Plan.Room = "emergency_disable", &operation.Room{Name: "inc-leaked"}
		create(t, s, urgent)
		first := claim(t, s)
		if first.Operation != "op0" {
			t.Fatalf("got %+v", first)
		}
		if card := claim(t, s); card.Operation != "urgent" || card.Kind != operation.NoticeCard {
			t.Errorf("while another's card is posted, %s of %s is next", card.Kind, card.Operation)
		}
		if err := s.NoticeLater(t.Context(), first, time.Hour); err != nil {
			t.Fatal(err)
		}
		urgent.ID, urgent.Secret, urgent.Envelope = "urgent2", "leaked/dev", "another"
		create(t, s, urgent)
		if card := claim(t, s); card.Operation != "urgent2" {
			t.Errorf("while another's card rests, that of %s is next", card.Operation)
		}
	})
}

// Edits are fewer than messages: one that waits, or that Slack refuses, must not hold up
// what is told in the channel.
func TestAnEditHoldsUpNoSentenceAndOneThatIsOvertakenIsNeverSent(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		op := create(t, s, request("op1", "a/prod"))
		card := claim(t, s)
		further := confirm(op)
		change := func() { // while a card is on its way
			t.Helper()
			var err error
			if op, err = s.Change(t.Context(), further); err != nil {
				t.Fatal(err)
			}
			further = operation.Transition{Operation: op, From: op.State, Entries: []operation.Entry{{At: time.Now(), Operation: op.ID, Outcome: operation.Noted, Text: "further"}}}
		}
		change()
		if n, found, err := s.ClaimEdit(t.Context(), "x", time.Minute); found || err != nil {
			t.Errorf("a card is edited before it is there: %+v, %v", n, err)
		}
		if err := s.NoticeSent(t.Context(), card, "1.0"); err != nil {
			t.Fatal(err)
		}
		behind := claim(t, s)
		if behind.Kind != operation.NoticeCard {
			t.Fatalf("what changed while the card was posted is not shown before it is told: %+v", behind)
		}
		if err := s.NoticeSent(t.Context(), behind, "1.0"); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			change()
		}
		edit, found, err := s.ClaimEdit(t.Context(), "x", time.Minute)
		if err != nil || !found || edit.Kind != operation.NoticeCard {
			t.Fatalf("%+v, %v, %v", edit, found, err)
		}
		if line := claim(t, s); line.Kind != operation.NoticeEntry {
			t.Errorf("while an edit is under way, %s is next", line.Key)
		}
		change() // it may have been read before this
		if n, found, err := s.ClaimEdit(t.Context(), "x", time.Minute); found || err != nil {
			t.Errorf("a card is edited twice at a time: %+v, %v", n, err)
		}
		if err := s.NoticeSent(t.Context(), edit, "1.0"); err != nil {
			t.Fatal(err)
		}
		last, found, err := s.ClaimEdit(t.Context(), "x", time.Minute)
		if err != nil || !found {
			t.Fatalf("the last state is not shown: %v, %v", found, err)
		}
		if err := s.NoticeSent(t.Context(), last, "1.0"); err != nil {
			t.Fatal(err)
		}
		if n, found, err := s.ClaimEdit(t.Context(), "x", time.Minute); found || err != nil {
			t.Errorf("an edit more: %+v, %v", n, err)
		}
	})
}

func TestOneSignedHeadIsPostedForAllThatEndWhileTheChannelIsBusy(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		for n := range 3 {
			op := create(t, s, request(operation.ID(fmt.Sprint("op", n)), operation.SecretName(fmt.Sprint("s", n, "/prod"))))
			end := operation.Transition{Operation: op, From: op.State, Entries: []operation.Entry{{At: time.Now(), Operation: op.ID, Outcome: operation.Decided, Text: "no"}}}
			end.Operation.State = operation.Denied
			if _, err := s.Change(t.Context(), end); err != nil {
				t.Fatal(err)
			}
		}
		var heads []operation.Notice
		for {
			n, found, err := s.ClaimNotice(t.Context(), "test", time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			if !found {
				break
			}
			if n.Kind == operation.NoticeCheckpoint {
				heads = append(heads, n)
			}
			if err := s.NoticeSent(t.Context(), n, "1.0"); err != nil {
				t.Fatal(err)
			}
		}
		if len(heads) != 1 || heads[0].Operation != "op2" || !strings.Contains(heads[0].Text, "\n6\n") {
			t.Errorf("posted %+v, want the newest head, of 6 entries, alone", heads)
		}
	})
}

func claim(t *testing.T, s *store.Store) operation.Notice {
	t.Helper()
	n, found, err := s.ClaimNotice(t.Context(), "test", time.Minute)
	if err != nil || !found {
		t.Fatalf("found %v, %v", found, err)
	}
	return n
}

func TestALostClaimIsToldToThePoster(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		create(t, s, request("op1", "a/prod"))
		slept, _, err := s.ClaimNotice(t.Context(), "sleeper", time.Microsecond)
		if err != nil {
			t.Fatal(err)
		}
		second := eventually(t, func() (operation.Notice, error) {
			n, found, err := s.ClaimNotice(t.Context(), "second", time.Minute)
			if err == nil && !found {
				err = errors.New("nothing to claim")
			}
			return n, err
		})
		if second.Attempts != 2 {
			t.Errorf("attempt %d", second.Attempts)
		}
		if mine, err := s.NoticeMine(t.Context(), slept); mine || err != nil {
			t.Errorf("still mine: %v, %v", mine, err)
		}
		if err := s.NoticeSent(t.Context(), slept, "1.0"); !errors.Is(err, operation.ErrStale) {
			t.Errorf("got %v", err)
		}
		if err := s.NoticeSent(t.Context(), second, "2.0"); err != nil {
			t.Error(err)
		}
	})
}

func TestACardThatWaitsIsNotQueuedTwice(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		op := create(t, s, request("op1", "a/prod"))
		op, err := s.Change(t.Context(), confirm(op))
		if err != nil {
			t.Fatal(err)
		}
		if n, _ := s.UntoldNotices(t.Context()); n != 2 { // one card, one line
			t.Errorf("%d notices wait", n)
		}
		claimed := claim(t, s) // rendered already, perhaps
		if _, err := s.Change(t.Context(), operation.Transition{Operation: op, From: op.State, Entries: []operation.Entry{{At: time.Now(), Operation: op.ID, Outcome: operation.Noted, Text: "more"}}}); err != nil {
			t.Fatal(err)
		}
		if n, _ := s.UntoldNotices(t.Context()); n != 4 {
			t.Errorf("%d notices wait; the newest state would stay untold", n)
		}
		_ = claimed
	})
}

func TestTheEndOfAnOperationBringsACheckpoint(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		op := create(t, s, request("op1", "a/prod"))
		end := operation.Transition{Operation: op, From: op.State, Entries: []operation.Entry{{At: time.Now(), Operation: op.ID, Outcome: operation.Decided, Text: "no"}}}
		end.Operation.State = operation.Denied
		if _, err := s.Change(t.Context(), end); err != nil {
			t.Fatal(err)
		}
		for _, want := range []operation.NoticeKind{operation.NoticeCard, operation.NoticeEntry, operation.NoticeCheckpoint} {
			n := claim(t, s)
			if n.Kind != want {
				t.Errorf("got %s, want %s", n.Kind, want)
			}
			if want == operation.NoticeCheckpoint && len(audit.FindCheckpoints(n.Text)) != 1 {
				t.Errorf("no checkpoint in %q", n.Text)
			}
			if err := s.NoticeSent(t.Context(), n, "1.0"); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// running starts the queue and stops it at the test's end.
func running(t *testing.T, s *store.Store, h store.Handlers) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, h, quiet()) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestEachEnvelopeIsHandledOnceHoweverOftenItComes(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		handled := make(chan string, 100)
		running(t, s, store.Handlers{Envelope: func(_ context.Context, body json.RawMessage) error { handled <- string(body); return nil }})
		if err := s.Receive(t.Context(), []store.Envelope{{ID: "first", Body: json.RawMessage("77")}}); err != nil {
			t.Fatal(err)
		}
		<-handled // from now on they are handled as they come, which is where doubles could show
		for range 3 {
			for i := range 5 {
				if err := s.Receive(t.Context(), []store.Envelope{{ID: fmt.Sprint("e", i), Body: json.RawMessage(fmt.Sprint(i))}}); err != nil {
					t.Fatal(err)
				}
			}
		}
		seen := map[string]int{}
		for range 5 {
			seen[<-handled]++
		}
		if err := s.Receive(t.Context(), []store.Envelope{{ID: "e1", Body: json.RawMessage("1")}, {ID: "last", Body: json.RawMessage("99")}}); err != nil {
			t.Fatal(err)
		}
		if got := <-handled; got != "99" || len(seen) != 5 {
			t.Errorf("after %v came %s", seen, got)
		}
	})
}

func TestAConfirmedOperationWakesAWorker(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		woken := make(chan int64, 10)
		running(t, s, store.Handlers{Wake: func(_ context.Context, _ operation.ID, epoch int64) error { woken <- epoch; return nil }})
		op, err := s.Change(t.Context(), confirm(create(t, s, request("op1", "a/prod"))))
		if err != nil {
			t.Fatal(err)
		}
		if epoch := <-woken; epoch != op.Epoch {
			t.Errorf("woken with epoch %d, want %d", epoch, op.Epoch)
		}
	})
}

func TestAnOperationWhoseWorkerIsGoneIsWokenAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		op, err := s.Change(t.Context(), confirm(create(t, s, request("op1", "a/prod"))))
		if err != nil {
			t.Fatal(err)
		}
		dead, err := s.Claim(t.Context(), op.ID, op.Epoch, "dead", time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		woken := make(chan int64, 10)
		running(t, s, store.Handlers{Wake: func(_ context.Context, _ operation.ID, epoch int64) error {
			if epoch > dead.Epoch {
				woken <- epoch
			}
			return nil
		}})
		if epoch := <-woken; epoch != dead.Epoch+1 {
			t.Errorf("woken with epoch %d after %d", epoch, dead.Epoch)
		}
	})
}

func TestWhatLapsedIsHandedOverToBeEnded(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		op := request("op1", "a/prod")
		op.LapsesAt = time.Now().Add(-time.Second)
		create(t, s, op)
		lapsed := make(chan operation.ID, 10)
		running(t, s, store.Handlers{Lapse: func(_ context.Context, op operation.Operation) error { lapsed <- op.ID; return nil }})
		if id := <-lapsed; id != "op1" {
			t.Errorf("lapsed: %s", id)
		}
	})
}

func TestADatabaseOfANewerVersionIsRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		if _, err := s.DB().ExecContext(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, TRUE)"); err != nil {
			t.Fatal(err)
		}
		_, err := store.Open(t.Context(), address, store.Options{Recorder: nil, Now: time.Now, Log: quiet()})
		if !errors.Is(err, store.ErrNewer) {
			t.Errorf("got %v", err)
		}
	})
}

func TestAnAddressThatIsNoneSaysWhatToWrite(t *testing.T) {
	for _, address := range []string{"", "mysql://root:hunter2@db/x", "twokey.db"} {
		_, err := store.Open(t.Context(), address, store.Options{Log: quiet()})
		if err == nil || !strings.Contains(err.Error(), "sqlite:PATH or postgres://") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", address, err)
		}
	}
}

// An emergency ends a rotation that goes on while the emergency's second key is
// judged: what it ends is the rotation as it stands, not as it was read.
func TestAnEmergencyEndsARotationThatWentOnMeanwhile(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		s := open(t, address)
		op := create(t, s, request("op1", "a/prod"))
		read, err := s.Change(t.Context(), confirm(op))
		if err != nil {
			t.Fatal(err)
		}
		further := operation.Transition{Operation: read, From: read.State, Entries: []operation.Entry{{At: time.Now(), Operation: op.ID, Outcome: operation.Noted, Text: "begun"}}}
		further.Operation.State, further.Operation.Facts = operation.Running, map[operation.Fact]string{"new_key": "k"}
		if n, found, err := s.ClaimNotice(t.Context(), "test", time.Minute); !found || err != nil || n.Kind != operation.NoticeCard {
			t.Fatalf("%+v, %v", n, err)
		}
		if _, err := s.Change(t.Context(), further); err != nil {
			t.Fatal(err)
		}
		urgent := request("op2", "a/prod")
		urgent.Kind = "emergency"
		end := confirm(create(t, s, urgent))
		end.Supersedes = []operation.Operation{read}
		if _, err := s.Change(t.Context(), end); err != nil {
			t.Fatal(err)
		}
		after, err := s.Operation(t.Context(), "op1")
		if err != nil || after.State != operation.Superseded || after.Forged || after.Facts["new_key"] != "k" || after.Epoch != read.Epoch+2 {
			t.Errorf("%+v, %v", after, err)
		}
	})
}

// Migrations are not synced one by one. All that comes after them is.
func TestEveryCommitIsSyncedOnceTheTablesAreThere(t *testing.T) {
	s := open(t, "sqlite:"+filepath.Join(t.TempDir(), "twokey.db"))
	var synchronous int
	const full = 2
	if err := s.DB().QueryRowContext(t.Context(), "PRAGMA synchronous").Scan(&synchronous); err != nil || synchronous != full {
		t.Errorf("synchronous is %d, %v", synchronous, err)
	}
}
