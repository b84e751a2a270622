package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twokey/twokey/internal/need"
)

// ground is what of its own a play's database stands on, so that it can be broken
// without breaking others'.
type ground int

const (
	shared      ground = iota
	itsOwn             // a PostgreSQL that can be stopped
	behindALine        // PostgreSQL, over a connection that can be cut
	onSmallDisk        // a file system that can be filled
)

// smallDisk is room for a play, twice: PostgreSQL alone takes two thirds of its own.
var smallDisk = map[string]int64{"sqlite": 8 << 20, "postgres": 96 << 20}

// lay makes the play's database and notes its address. What it returns is the address
// that the bot is given.
func (w *world) lay(t *testing.T) string {
	if w.ground == onSmallDisk {
		w.disk = need.SmallDisk(t, smallDisk[w.database])
	}
	switch {
	case w.database == "sqlite" && w.disk != nil:
		w.address = "sqlite:" + filepath.Join(w.disk.Path, "twokey.db")
	case w.database == "sqlite":
		w.address = "sqlite:" + filepath.ToSlash(filepath.Join(w.dir, "twokey.db"))
	case w.ground == itsOwn, w.ground == onSmallDisk:
		w.server = need.PostgresOfItsOwn(t, w.disk)
		w.address = w.server.Address
	case w.ground == behindALine:
		w.server = need.PostgresOfItsOwn(t, nil)
		w.address = w.server.Address
		w.line = newLine(t, filepath.Join(w.server.Folder, ".s.PGSQL.5432"), w.mishap)
		return "postgres://twokey@" + w.line.Addr().String() + "/twokey?sslmode=disable"
	default:
		w.address = need.Postgres(t)
	}
	return w.address
}

// goneFor is how long a database is gone that was lost: a minute, and in a usual test
// run, which tries few points, less.
func goneFor() time.Duration {
	if os.Getenv("TWOKEY_TRUST") == "" {
		return 5 * time.Second
	}
	return time.Minute
}

// databaseSweeps are those in which the database fails.
func databaseSweeps() []sweep {
	in := func(db string, replicas int, s story, g ground, away time.Duration) setting {
		return setting{database: db, replicas: replicas, overlap: 3 * time.Second, story: s, ground: g, away: away}
	}
	var out []sweep
	for _, replicas := range []int{1, 3} {
		one := 2 - min(replicas, 2) // what one replica alone has in a usual run
		out = append(out,
			sweep{in("postgres", replicas, rotation(), itsOwn, 0), stoppingTheDatabase("crash", "immediate"), atCalls(), one},
			sweep{in("postgres", replicas, rotation(), itsOwn, 0), stoppingTheDatabase("crash", "immediate"), atCommits(), 0},
			sweep{in("postgres", replicas, rotation(), itsOwn, 0), stoppingTheDatabase("restart", "fast"), atCalls(), 0},
			sweep{in("postgres", replicas, rotation(), itsOwn, goneFor()), stoppingTheDatabase("lose", "immediate"), atCalls(), 1 - one},
			sweep{in("postgres", replicas, rotation(), behindALine, goneFor()), silencingTheDatabase(), atCalls(), 0},
			sweep{in("postgres", replicas, rotation(), behindALine, 0), losingACommitsAnswer(), atCommits(), 0},
		)
		for _, s := range []story{takenBack(), emergency()} {
			out = append(out,
				sweep{in("postgres", replicas, s, itsOwn, 0), stoppingTheDatabase("crash", "immediate"), atCalls(), 0},
				sweep{in("postgres", replicas, s, itsOwn, goneFor()), stoppingTheDatabase("lose", "immediate"), atCalls(), 0},
				sweep{in("postgres", replicas, s, behindALine, goneFor()), silencingTheDatabase(), atCalls(), 0},
			)
		}
	}
	for _, s := range []story{rotation(), takenBack(), emergency()} {
		out = append(out,
			sweep{in("sqlite", 1, s, onSmallDisk, goneFor()), fillingTheDisk(), atCalls(), map[string]int{"rotate": 1}[s.name]},
			sweep{in("postgres", 1, s, onSmallDisk, goneFor()), fillingTheDisk(), atCalls(), 0},
		)
	}
	return out
}

// stoppingTheDatabase stops PostgreSQL at a point, and starts it again when it has been
// gone for so long as the setting wants.
func stoppingTheDatabase(name, mode string) how {
	return how{name + " the database", func(w *world, p point) {
		w.at(p, func(*http.Request) {
			w.without(func() error { return w.server.Stop(mode) }, w.server.Start)
		})
	}}
}

// silencingTheDatabase has PostgreSQL say nothing any more: neither on the connections
// that there are, which stay silent for ever, nor on new ones for a while. So it looks
// when the primary's machine is lost, and another takes its place.
func silencingTheDatabase() how {
	return how{"silence the database", func(w *world, p point) {
		w.at(p, func(*http.Request) {
			w.without(func() error { w.line.silence(); return nil }, func() error { w.line.restore(); return nil })
		})
	}}
}

// losingACommitsAnswer cuts the connection over which the next commit after the point
// went, when it is done and its answer is on the way.
func losingACommitsAnswer() how {
	return how{"lose a commit's answer", func(w *world, p point) {
		w.at(p, func(*http.Request) {
			w.watch.struck()
			w.line.loseNext(func() { w.strikes.Add(1) })
		})
	}}
}

// fillingTheDisk leaves the database no space for a while. PostgreSQL may end by that,
// and is started when there is space, as an operator does.
func fillingTheDisk() how {
	return how{"fill the disk", func(w *world, p point) {
		w.at(p, func(*http.Request) {
			w.without(w.disk.Fill, func() error {
				err := w.disk.Free()
				if w.server != nil {
					err = errors.Join(err, w.server.Start())
				}
				return err
			})
		})
	}}
}

// without has the database go, and come back.
func (w *world) without(goes, comes func() error) {
	w.strikes.Add(1)
	w.stunned <- struct{}{}
	if err := goes(); err != nil {
		w.mishap(fmt.Errorf("break the database: %w", err))
	}
	back := func() {
		defer func() { <-w.stunned }()
		if err := comes(); err != nil {
			w.mishap(fmt.Errorf("mend the database: %w", err))
		}
		w.watch.struck() // from now on it is the bot's turn
	}
	if w.away == 0 {
		back()
		return
	}
	w.after(w.away, back)
}

// line is a connection to a server that can go silent, and lose an answer.
type line struct {
	net.Listener
	to     string
	mishap func(error)

	mu      sync.Mutex
	silent  bool
	open    map[*ends]struct{}
	mute    []net.Conn  // connections that nobody answers any more
	armed   atomic.Bool // the answer of the next commit is lost
	lost    func()      // is called then
	carried sync.WaitGroup
}

// ends are those of one connection.
type ends struct {
	client, server net.Conn
	losing         atomic.Bool // the next answer is not passed on
}

func newLine(t *testing.T, socket string, mishap func(error)) *line {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{Listener: listener, to: socket, mishap: mishap, open: map[*ends]struct{}{}}
	l.carried.Go(l.serve)
	t.Cleanup(func() {
		_ = listener.Close()
		l.silence()
		l.mu.Lock()
		for _, c := range l.mute {
			_ = c.Close()
		}
		l.mu.Unlock()
		l.carried.Wait()
	})
	return l
}

func (l *line) serve() {
	for {
		client, err := l.Accept()
		if err != nil {
			return // the test is over
		}
		l.carry(client)
	}
}

func (l *line) carry(client net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.silent {
		l.mute = append(l.mute, client)
		return
	}
	server, err := net.Dial("unix", l.to)
	if err != nil {
		l.mishap(err)
		_ = client.Close()
		return
	}
	e := &ends{client: client, server: server}
	l.open[e] = struct{}{}
	l.carried.Go(func() { l.pass(e, e.server, e.client, l.spot) })
	l.carried.Go(func() { l.pass(e, e.client, e.server, l.drop) })
}

// pass carries what comes from one end to the other, unless ends says that it is the
// last.
func (l *line) pass(e *ends, to io.Writer, from io.Reader, last func(e *ends, what []byte) bool) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !last(e, buffer[:n]) {
			_, _ = to.Write(buffer[:n]) // the other direction notices
		} else if n > 0 {
			err = io.EOF
		}
		if err != nil {
			l.close(e)
			return
		}
	}
}

// spot notes that the answer to a commit is lost, if it is the one.
func (l *line) spot(e *ends, what []byte) bool {
	if bytes.Contains(what, []byte("commit\x00")) && l.armed.CompareAndSwap(true, false) {
		e.losing.Store(true)
	}
	return false
}

func (l *line) drop(e *ends, _ []byte) bool {
	if !e.losing.Load() {
		return false
	}
	l.lost()
	return true
}

func (l *line) loseNext(lost func()) {
	l.lost = lost
	l.armed.Store(true)
}

// close closes both ends, unless the line is silent: then the client is not told.
func (l *line) close(e *ends) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, open := l.open[e]; open {
		delete(l.open, e)
		_ = e.client.Close()
		_ = e.server.Close()
	}
}

// silence has everybody who is connected, or connects, wait for ever.
func (l *line) silence() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.silent = true
	for e := range l.open {
		delete(l.open, e)
		l.mute = append(l.mute, e.client)
		_ = e.server.Close() // what was not committed is rolled back
	}
}

func (l *line) restore() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.silent = false
}
