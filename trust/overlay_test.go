package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The bot's clock that people see can be moved by the harness, so that days pass; what
// the machine measures (leases, retries, time-outs) stays. The bot knows nothing of it:
// like a planted bug, it is laid over the source for the compiler alone.

// clockVariable names the file in which a replica reads how many seconds its clock is
// ahead.
const clockVariable = "TWOKEY_TRUST_CLOCK"

// clockSource reads that file, which is mapped into the process.
const clockSource = `package main

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

// overlay writes what the compiler is to read instead, and returns the list of it.
func overlay(dir string) (list string, err error) {
	root, err := filepath.Abs("..")
	if err != nil {
		return "", err
	}
	file := filepath.Join(root, "main.go")
	const was, is = "serve(ctx, cfg, time.Now, ", "serve(ctx, cfg, func() time.Time { return time.Now().Add(time.Duration(ahead()) * time.Second) }, "
	source, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(source), was); n != 1 {
		return "", fmt.Errorf("%q stands %d times in %s; look for it there", was, n, file)
	}
	moved, clock := filepath.Join(dir, "moved.go"), filepath.Join(dir, "clock.go")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {file: moved, filepath.Join(filepath.Dir(file), "trustclock.go"): clock}})
	if err != nil {
		return "", err
	}
	list = filepath.Join(dir, "overlay.json")
	for name, text := range map[string]string{moved: strings.Replace(string(source), was, is, 1), clock: clockSource, list: string(replace)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	return list, nil
}

// programs builds the bot once with a clock that can be moved, and once as it is.
type programs struct {
	mu    sync.Mutex
	built map[bool]func() (string, error)
}

// with returns the path of a bot whose clock can be moved, or not; dir is for its files.
func (p *programs) with(clock bool, dir func() string) (string, error) {
	p.mu.Lock()
	if p.built == nil {
		p.built = map[bool]func() (string, error){}
	}
	if p.built[clock] == nil {
		p.built[clock] = sync.OnceValues(func() (string, error) {
			here := dir()
			if !clock {
				return compile(here)
			}
			list, err := overlay(here)
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
