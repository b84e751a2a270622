package need

import (
	"bufio"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // database/sql's driver "pgx"
)

// cluster is the throw-away PostgreSQL of this test binary. Starting one takes
// seconds, so the tests of a binary share it and each gets its own database.
var cluster struct { //nolint:gochecknoglobals // shared by all tests of the binary, which have no other place in common
	once      sync.Once
	address   string
	notThere  string // what is not installed
	err       error
	databases atomic.Int64
	lifeline  *os.File // while it is open, the cluster runs
}

// Postgres returns the address of a fresh, empty database: in the server that
// TWOKEY_TEST_POSTGRES names, or else in a throw-away cluster that is started
// for this test binary and goes with it, whether it ends or is killed.
func Postgres(t testing.TB) string {
	t.Helper()
	cluster.once.Do(startCluster)
	if cluster.notThere != "" {
		missing(t, "postgres", "PostgreSQL is not installed: there is no %s (Debian: apt-get install postgresql), and TWOKEY_TEST_POSTGRES names no server", cluster.notThere)
	}
	if cluster.err != nil {
		t.Fatalf("start PostgreSQL: %v", cluster.err)
	}
	return freshDatabase(t, cluster.address)
}

// freshDatabase makes a database for the test and drops it afterwards.
func freshDatabase(t testing.TB, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatalf("TWOKEY_TEST_POSTGRES is not an address: %v", err)
	}
	name := fmt.Sprintf("twokey_test_%d_%d_%d", os.Getpid(), time.Now().UnixNano(), cluster.databases.Add(1))
	execute(t, address, "CREATE DATABASE "+name)
	t.Cleanup(func() { execute(t, address, "DROP DATABASE "+name+" WITH (FORCE)") })
	u.Path = "/" + name
	return u.String()
}

func execute(t testing.TB, address, statement string) {
	t.Helper()
	db, err := sql.Open("pgx", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }() // the statement's own error is told
	if _, err := db.Exec(statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// script runs a cluster until its standard input ends, which also happens when
// the test binary is killed. It listens on a socket in its own folder only, and
// gives up durability, since the data is thrown away.
const script = `
cd /
dir=$(mktemp -d "${TMPDIR:-/tmp}/twokey-postgres.XXXXXX") || exit 1
trap 'pg_ctl -D "$dir/data" -m immediate stop >>"$dir/log" 2>&1; rm -rf "$dir"' EXIT
trap '' INT TERM HUP
initdb -D "$dir/data" -U twokey -A trust -E UTF8 --locale=C --no-sync >"$dir/log" 2>&1 &&
pg_ctl -D "$dir/data" -w -t 60 -l "$dir/log" -o "-F -k '$dir' -c listen_addresses='' -c max_connections=300" start >>"$dir/log" 2>&1 ||
{ tail -n 5 "$dir/log" | tr '\n' ' '; exit 1; }
echo "ready $dir"
cat >/dev/null
`

func startCluster() {
	if address := os.Getenv("TWOKEY_TEST_POSTGRES"); address != "" {
		cluster.address = address
		return
	}
	path := os.Getenv("PATH") + ":" + newestPrograms() + ":/usr/sbin:/sbin" // root's programs are not on everybody's PATH
	for _, program := range []string{"initdb", "pg_ctl"} {
		if find(program, path) == "" {
			cluster.notThere = program
			return
		}
	}
	cluster.address, cluster.lifeline, cluster.err = runScript(path)
}

// newestPrograms returns Debian's folder of PostgreSQL's programs, which is not
// on anybody's PATH.
func newestPrograms() string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is right
	if len(found) == 0 {
		return ""
	}
	return slices.MaxFunc(found, func(a, b string) int { return len(a) - len(b) + strings.Compare(a, b) })
}

// find returns where a program is, or nothing.
func find(program, path string) string {
	for _, dir := range filepath.SplitList(path) {
		file := filepath.Join(dir, program)
		if info, err := os.Stat(file); err == nil && !info.IsDir() {
			return file
		}
	}
	return ""
}

// runScript starts the script and returns the cluster's address, and the file
// that keeps it running.
func runScript(path string) (string, *os.File, error) {
	cmd := exec.Command("sh", "-c", script)
	if os.Geteuid() == 0 {
		cmd = exec.Command(find("runuser", path), "-u", "postgres", "--", "sh", "-c", script) // initdb refuses root
	}
	cmd.Env = append(os.Environ(), "PATH="+path)
	input, lifeline, err := os.Pipe()
	if err != nil {
		return "", nil, err
	}
	cmd.Stdin = input
	output, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	_ = input.Close() // the script has its own
	line, _ := bufio.NewReader(output).ReadString('\n')
	dir, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if !ok {
		_ = lifeline.Close()
		return "", nil, fmt.Errorf("%s: %w", strings.TrimSpace(line), cmd.Wait())
	}
	return "postgres://twokey@/postgres?host=" + url.QueryEscape(dir), lifeline, nil
}
