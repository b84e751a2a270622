package store_test

import (
	"sync"
	"testing"
	"time"

	"github.com/twokey/twokey/internal/need"
	"github.com/twokey/twokey/store"
)

func TestReplicasShareTheEditsThatThereMayBe(t *testing.T) {
	t.Parallel()
	address := need.Postgres(t)
	replicas := []*store.Store{open(t, address), open(t, address)}
	const burst, each = 5, time.Minute
	var mu sync.Mutex
	taken := 0
	var wg sync.WaitGroup
	for n := range 4 * burst {
		wg.Go(func() {
			wait, err := replicas[n%2].TakeEdit(t.Context(), each, burst)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case wait == 0:
				taken++
			case wait > each:
				t.Errorf("the next edit is %s away, where there is one each %s", wait, each)
			}
		})
	}
	wg.Wait()
	if taken != burst {
		t.Errorf("%d edits were taken at once, want %d", taken, burst)
	}
}

func TestAnEditIsThereAfterTheWaitThatWasSaid(t *testing.T) {
	t.Parallel()
	s := open(t, need.Postgres(t))
	const burst, each = 2, 100 * time.Millisecond
	began, taken := time.Now(), 0
	for taken < burst+3 {
		wait, err := s.TakeEdit(t.Context(), each, burst)
		if err != nil {
			t.Fatal(err)
		}
		if wait == 0 {
			taken++
			continue
		}
		time.Sleep(wait) // as a replica does
	}
	if took := time.Since(began); took < 3*each {
		t.Errorf("%d edits took %s: they came closer than one each %s", taken, took, each)
	}
}

func TestOnSQLiteAProcessKeepsItsOwnPaceOfEdits(t *testing.T) {
	t.Parallel()
	s := open(t, "sqlite:"+t.TempDir()+"/twokey.db")
	for range 20 {
		if wait, err := s.TakeEdit(t.Context(), time.Minute, 1); err != nil || wait != 0 {
			t.Fatalf("it is to wait for %s: %v", wait, err)
		}
	}
}
