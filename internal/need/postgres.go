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
	running   *Server // until the test binary ends
}

// Postgres returns the address of a fresh, empty database: in the server that
// TWOKEY_TEST_POSTGRES names, or else in a throw-away cluster that is started
// for this test binary and goes with it, whether it ends or is killed.
func Postgres(t testing.TB) string {
	t.Helper()
	cluster.once.Do(startCluster)
	if cluster.notThere != "" {
		noPostgres(t, cluster.notThere+", and TWOKEY_TEST_POSTGRES names no server")
	}
	if cluster.err != nil {
		t.Fatalf("start PostgreSQL: %v", cluster.err)
	}
	return freshDatabase(t, cluster.address)
}

func noPostgres(t testing.TB, lacking string) {
	t.Helper()
	missing(t, "postgres", "PostgreSQL is not installed (Debian: apt-get install postgresql): there is no %s", lacking)
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
// the test binary is killed. Each line of the input stops the cluster in the mode that it
// names, or starts it; what came of it is answered. It listens on a socket in its own
// folder only, and does not wait for the disk: what a process wrote outlives the process,
// and the machine does not crash.
const script = `
cd /
dir=$(mktemp -d "${TMPDIR:-/tmp}/twokey-postgres.XXXXXX") || exit 1
data=${TWOKEY_NEED_DISK:-$dir}/data
trap 'pg_ctl -D "$data" -m immediate stop >>"$dir/log" 2>&1; rm -rf "$dir" "$data"' EXIT
trap '' INT TERM HUP
start() { pg_ctl -D "$data" -w -t 60 -l "$dir/log" -o "-F -k '$dir' -c listen_addresses='' -c max_connections=300 $TWOKEY_NEED_SETTINGS" start >>"$dir/log" 2>&1; }
initdb -D "$data" -U twokey -A trust -E UTF8 --locale=C --no-sync --wal-segsize="${TWOKEY_NEED_SEGMENT:-16}" >"$dir/log" 2>&1 && start ||
{ tail -n 5 "$dir/log" | tr '\n' ' '; exit 1; }
echo "ready $dir"
while read -r word; do
	case $word in
	start) pg_ctl -D "$data" status >>"$dir/log" 2>&1 || start ;;
	*) pg_ctl -D "$data" -w -m "$word" stop >>"$dir/log" 2>&1 ;;
	esac && echo done || { tail -n 5 "$dir/log" | tr '\n' ' '; echo; }
done
`

func startCluster() {
	if address := os.Getenv("TWOKEY_TEST_POSTGRES"); address != "" {
		cluster.address = address
		return
	}
	path, lacking := programs()
	if cluster.notThere = lacking; lacking != "" {
		return
	}
	if cluster.running, cluster.err = runScript(path); cluster.err == nil {
		cluster.address = cluster.running.Address
	}
}

// programs returns a PATH on which PostgreSQL's programs are, or which is not there.
func programs() (path, lacking string) {
	path = os.Getenv("PATH") + ":" + newestPrograms() + ":/usr/sbin:/sbin" // root's programs are not on everybody's PATH
	for _, program := range []string{"initdb", "pg_ctl"} {
		if find(program, path) == "" {
			return "", program
		}
	}
	return path, ""
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

// Server is a throw-away PostgreSQL that can be stopped and started.
type Server struct {
	// Address is that of a database in it.
	Address string
	// Folder is where its socket is.
	Folder string

	mu    sync.Mutex
	input *os.File // while it is open, the script runs
	said  *bufio.Reader
	ended func() error
}

// PostgresOfItsOwn starts a PostgreSQL for one test, which may stop it: on the disk, if
// that is not nil, where it is modest with its log files. It goes with the test.
func PostgresOfItsOwn(t testing.TB, disk *Disk) *Server {
	t.Helper()
	path, lacking := programs()
	if lacking != "" {
		noPostgres(t, lacking)
	}
	var environ []string
	if disk != nil {
		environ = []string{"TWOKEY_NEED_DISK=" + disk.Path, "TWOKEY_NEED_SEGMENT=1", "TWOKEY_NEED_SETTINGS=-c min_wal_size=2MB -c max_wal_size=8MB -c shared_buffers=16MB"}
	}
	s, err := runScript(path, environ...)
	if err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
	t.Cleanup(func() {
		_ = s.input.Close() // has it stop and remove its data
		_ = s.ended()
	})
	execute(t, s.Address, "CREATE DATABASE twokey")
	s.Address = strings.Replace(s.Address, "@/postgres?", "@/twokey?", 1)
	return s
}

// Stop stops the server: "fast", when connections are told, or "immediate", as a crash
// does, after which it has to recover.
func (s *Server) Stop(mode string) error { return s.tell(mode) }

// Start starts the server, unless it runs, and returns when it takes connections.
func (s *Server) Start() error { return s.tell("start") }

func (s *Server) tell(word string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := fmt.Fprintln(s.input, word); err != nil {
		return fmt.Errorf("tell PostgreSQL to %s: %w", word, err)
	}
	line, err := s.said.ReadString('\n')
	if line = strings.TrimSpace(line); err != nil || line != "done" {
		return fmt.Errorf("tell PostgreSQL to %s: %s, %w", word, line, err)
	}
	return nil
}

// runScript starts the script, and returns when its cluster runs.
func runScript(path string, environ ...string) (*Server, error) {
	cmd := exec.Command("sh", "-c", script)
	if os.Geteuid() == 0 {
		cmd = exec.Command(find("runuser", path), "-u", "postgres", "--", "sh", "-c", script) // initdb refuses root
	}
	cmd.Env = append(append(os.Environ(), "PATH="+path), environ...)
	s := &Server{}
	var err error
	if s.Folder, s.input, s.said, err = ready(cmd); err != nil {
		return nil, err
	}
	s.Address, s.ended = "postgres://twokey@/postgres?host="+url.QueryEscape(s.Folder), cmd.Wait
	return s, nil
}

// ready starts a script that lives as long as its input is open, and returns the folder
// that it says it is ready in.
func ready(cmd *exec.Cmd) (dir string, lifeline *os.File, said *bufio.Reader, err error) {
	input, lifeline, err := os.Pipe()
	if err != nil {
		return "", nil, nil, err
	}
	cmd.Stdin = input
	output, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, nil, err
	}
	_ = input.Close() // the script has its own
	said = bufio.NewReader(output)
	line, _ := said.ReadString('\n')
	dir, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if !ok {
		_ = lifeline.Close()
		return "", nil, nil, fmt.Errorf("%s: %w", strings.TrimSpace(line), cmd.Wait())
	}
	return dir, lifeline, said, nil
}
