package store

import (
	"bytes"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/twokey/twokey/operation"
)

func TestOnlyWhatIsTheDatabasesOwnTroubleIsAnOutage(t *testing.T) {
	pg := func(code string) error { return fmt.Errorf("write: %w", &pgconn.PgError{Code: code}) }
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"nothing", nil, ""},
		{"whoever asked went away", context.Canceled, ""},
		{"a unique index", pg("23505"), ""},
		{"a missing table", pg("42P01"), ""},
		{"a right that is not there", pg("42501"), ""},
		{"two transactions in each other's way", pg("40001"), ""},
		{"an operator stops it", pg("57P01"), silent},
		{"it starts", pg("57P03"), silent},
		{"too many connections", pg("53300"), silent},
		{"its disk is full", pg("53100"), diskFull},
		{"the system's input or output", pg("58030"), silent},
		{"a standby", pg("25006"), silent},
		{"a code that is too short", pg("5"), ""},
		{"no code", pg(""), ""},
		{"the connection ends", io.ErrUnexpectedEOF, silent},
		{"nobody listens", &net.OpError{Op: "dial", Err: errors.New("refused")}, silent},
		{"a bad connection", driver.ErrBadConn, silent},
		{"no answer", context.DeadlineExceeded, silent},
		{"something else", errors.New("something else"), ""},
	} {
		if got := unusable(c.err); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestAnOutageIsToldOnceNowAndThenAndWhenItIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		o := &outage{log: slog.New(slog.NewTextHandler(&log, nil))}
		cause := errors.New("refused")
		for range 150 { // two and a half minutes
			o.began(silent, cause)
			time.Sleep(time.Second)
		}
		o.over()
		o.over()
		if n := strings.Count(log.String(), "level=ERROR"); n != 3 {
			t.Errorf("it was told %d times, want 3:\n%s", n, &log)
		}
		if n := strings.Count(log.String(), "can be used again"); n != 1 {
			t.Errorf("its end was told %d times:\n%s", n, &log)
		}
		// A full disk still takes some of what is written.
		o.began(diskFull, cause)
		if o.over(); o.trouble() != diskFull {
			t.Error("a disk that was full a moment ago has space")
		}
		time.Sleep(fullFor)
		if o.over(); o.trouble() != "" {
			t.Error("a disk that took everything for long is full")
		}
	})
}

// A server that takes connections and says nothing: so it looks when its machine is lost.
func TestASilentPostgreSQLIsGivenUp(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*connectTime)
	defer cancel()
	_, err = Open(ctx, "postgres://twokey@"+listener.Addr().String()+"/twokey?sslmode=disable", Options{Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err == nil || ctx.Err() != nil {
		t.Errorf("opened: %v; given up by itself: %t", err, ctx.Err() == nil)
	}
}

func TestWhatCouldNotBeWrittenIsMarkedThroughEveryWrapping(t *testing.T) {
	o := &outage{log: slog.New(slog.DiscardHandler)}
	err := fmt.Errorf("decide: %w", o.mark(fmt.Errorf("commit: %w", driver.ErrBadConn)))
	if _, ok := errors.AsType[*operation.Unavailable](err); !ok || !errors.Is(err, driver.ErrBadConn) {
		t.Errorf("%v", err)
	}
	if o.trouble() != silent {
		t.Errorf("noted: %q", o.trouble())
	}
}
