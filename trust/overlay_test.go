package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The bot's clock can be moved by the harness. The bot knows nothing of it: like a
// planted bug, it is laid over the source for the compiler alone.

// clockwork is which clock of the bot's can be moved.
type clockwork int

const (
	ordinary clockwork = iota
	peoples            // the one that people see, so that days pass: what is measured (leases, patience) does not move
	machines           // the machine's: all that asks for the time gets another answer, and only the monotonic clock goes on
)

// clockVariable names the file in which a replica reads how many seconds its clock is
// ahead.
const clockVariable = "TWOKEY_TRUST_CLOCK"

// clockSource reads that file, which is mapped into the process.
const clockSource = `package %s

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

var trustClock = mapTrustClock()

func mapTrustClock() *int64 {
	name, _ := syscall.Getenv("` + clockVariable + `")
	fd, err := syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic(err)
	}
	page, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	return (*int64)(unsafe.Pointer(&page[0]))
}

func ahead() int64 { return atomic.LoadInt64(trustClock) }
`

// laid is one line that is laid over another.
type laid struct{ pkg, file, was, is string }

// line is where a clock is asked.
func (c clockwork) line(root string) laid {
	if c == machines {
		return laid{"time", filepath.Join(runtime.GOROOT(), "src", "time", "time.go"), //nolint:staticcheck // the compiler that is used is the one that built this
			"	sec, nsec, mono := runtimeNow()\n", "	sec, nsec, mono := runtimeNow()\n	sec += ahead()\n"}
	}
	return laid{"main", filepath.Join(root, "main.go"),
		"serve(ctx, cfg, nil, ", "serve(ctx, cfg, func() time.Time { return time.Now().Add(time.Duration(ahead()) * time.Second) }, "}
}

// overlay writes what the compiler is to read instead, and returns the list of it. What
// is laid over the source already stays.
func overlay(dir string, c clockwork) (list string, err error) {
	root, err := filepath.Abs("..")
	if err != nil {
		return "", err
	}
	l := c.line(root)
	source, err := os.ReadFile(l.file)
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(source), l.was); n != 1 {
		return "", fmt.Errorf("%q stands %d times in %s; look for it there", l.was, n, l.file)
	}
	moved, clock := filepath.Join(dir, "moved.go"), filepath.Join(dir, "clock.go")
	all := map[string]map[string]string{"Replace": {}}
	for _, flag := range strings.Fields(os.Getenv("GOFLAGS")) {
		before, found := strings.CutPrefix(flag, "-overlay=")
		if !found {
			continue
		}
		text, err := os.ReadFile(before)
		if err != nil {
			return "", err
		}
		if err := json.Unmarshal(text, &all); err != nil {
			return "", fmt.Errorf("read %s: %w", before, err)
		}
	}
	maps.Copy(all["Replace"], map[string]string{l.file: moved, filepath.Join(filepath.Dir(l.file), "trustclock.go"): clock})
	replace, err := json.Marshal(all)
	if err != nil {
		return "", err
	}
	list = filepath.Join(dir, "overlay.json")
	for name, text := range map[string]string{moved: strings.Replace(string(source), l.was, l.is, 1), clock: fmt.Sprintf(clockSource, l.pkg), list: string(replace)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	return list, nil
}

// programs builds the bot once with each clock that can be moved, and once as it is.
type programs struct {
	mu    sync.Mutex
	built map[clockwork]func() (string, error)
}

// with returns the path of a bot with that clock; dir is for its files.
func (p *programs) with(clock clockwork, dir func() string) (string, error) {
	p.mu.Lock()
	if p.built == nil {
		p.built = map[clockwork]func() (string, error){}
	}
	if p.built[clock] == nil {
		p.built[clock] = sync.OnceValues(func() (string, error) {
			here := dir()
			if clock == ordinary {
				return compile(here)
			}
			list, err := overlay(here, clock)
			if err != nil {
				return "", fmt.Errorf("lay the clock over the source: %w", err)
			}
			return compile(here, "-overlay", list)
		})
	}
	get := p.built[clock]
	p.mu.Unlock()
	return get()
}

// dial is one replica's clock, as the harness moves it.
type dial struct {
	file  string
	ahead atomic.Int64 // seconds
}

// newDial makes the file before the replica starts.
func newDial(file string) (*dial, error) {
	d := &dial{file: file}
	return d, os.WriteFile(file, make([]byte, 8), 0o600)
}

// move moves the clock; the replica sees it with its next look.
func (d *dial) move(by time.Duration) error {
	var word [8]byte
	binary.NativeEndian.PutUint64(word[:], uint64(d.ahead.Add(int64(by/time.Second)))) //nolint:gosec // as the replica reads it
	f, err := os.OpenFile(d.file, os.O_WRONLY, 0)                                      // not truncated: it is mapped
	if err != nil {
		return err
	}
	_, err = f.WriteAt(word[:], 0)
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}
