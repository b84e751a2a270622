package store_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/twokey/twokey/operation"
	"github.com/twokey/twokey/store"
)

func TestAReaderReadsBesideARunningBotAndChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "twokey.db")
	if _, err := store.OpenToRead(t.Context(), "sqlite:"+path); err == nil {
		t.Fatal("a file that is not there was opened, or made")
	}
	s := open(t, "sqlite:"+path)
	op, err := s.Create(t.Context(), request("k7m2p9", "sharepoint/prod"), asked(request("k7m2p9", "sharepoint/prod")), nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := store.OpenToRead(t.Context(), "sqlite:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Operation(t.Context(), "nobody"); !errors.Is(err, operation.ErrUnknown) {
		t.Errorf("an operation that does not exist: %v", err)
	}
	if got, err := r.Operation(t.Context(), op.ID); err != nil || got.Reason != op.Reason {
		t.Errorf("%+v, %v", got, err)
	}
	if ops, err := r.OperationsOf(t.Context(), "sharepoint/prod"); err != nil || len(ops) != 1 {
		t.Errorf("%v, %v", ops, err)
	}
	if _, err := store.OpenToRead(t.Context(), "mysql://x"); err == nil {
		t.Error("an address of nobody was taken")
	}
}
