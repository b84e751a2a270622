// Package need brings what some tests need beside Go: Node with the modules of a
// folder, PostgreSQL, moto, other programs. Where it is missing, the test is skipped with a
// sentence that says what to install; where TWOKEY_CI is set, it fails instead,
// so that nothing is skipped unseen.
package need

import (
	"bufio"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// missing skips the test, or fails it where everything must be there.
// TWOKEY_CI_WITHOUT names what a CI cannot have, separated by commas.
func missing(t testing.TB, what, format string, args ...any) {
	t.Helper()
	without := strings.Split(os.Getenv("TWOKEY_CI_WITHOUT"), ",")
	if os.Getenv("TWOKEY_CI") != "" && !slices.Contains(without, what) {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// Program returns the path of a program; install is the command that installs it.
func Program(t testing.TB, name, install string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, name, "the program %s is not installed; run: %s", name, install)
	}
	return path
}

// Installed skips the test, or fails it where everything must be there, when err
// says that what is called so is missing.
func Installed(t testing.TB, what string, err error) {
	t.Helper()
	if err != nil {
		missing(t, what, "%v", err)
	}
}

// Node returns the path of Node's program. Dir is a folder with a
// package-lock.json, relative to the test's; its modules are installed.
func Node(t testing.TB, dir string) string {
	t.Helper()
	node := Program(t, "node", "apt-get install nodejs npm (Debian)")
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err != nil {
		folder, err := filepath.Abs(dir)
		if err != nil {
			t.Fatal(err)
		}
		missing(t, "node", "the Node modules are not installed; run: npm ci --prefix %s", folder)
	}
	return node
}

// motoAddress is how moto tells the port that it was given.
const motoAddress = `Running on (http://127\.0\.0\.1:[0-9]+)`

// motoStart is how long moto may take to start; it loads half of Python.
const motoStart = time.Minute

// Moto starts moto_server, a stand-in for AWS that we did not write, on a free
// port and returns its address. It is stopped at the end of the test.
func Moto(t testing.TB) string {
	t.Helper()
	cmd := exec.Command(Program(t, "moto_server", "pip install 'moto[server]'"), "-H", "127.0.0.1", "-p", "0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a wrapper may start the server as its child
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start moto_server: %v", err)
	}
	found, drained := make(chan string, 1), make(chan struct{})
	go func() { // until moto is killed; it would block on a full pipe
		defer close(drained)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if m := regexp.MustCompile(motoAddress).FindStringSubmatch(lines.Text()); m != nil {
				found <- m[1]
			}
		}
		close(found)
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it holds nothing worth saving
		<-drained
		_ = cmd.Wait()
	})
	select {
	case address, ok := <-found:
		if !ok {
			t.Fatal("moto_server ended before it said where it listens")
		}
		answers(t, address)
		return address
	case <-time.After(motoStart):
		t.Fatalf("moto_server did not start within %s", motoStart)
	}
	return ""
}

// answers checks that an HTTP server is there.
func answers(t testing.TB, address string) {
	t.Helper()
	client := &http.Client{Timeout: motoStart, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(address + "/moto-api/")
	if err != nil {
		t.Fatalf("moto_server does not answer: %v", err)
	}
	_ = resp.Body.Close() // only the status counts
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("moto_server answers %s", resp.Status)
	}
}
