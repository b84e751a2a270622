package need

import (
	"bufio"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestEachTestGetsAnEmptyDatabaseOfItsOwn(t *testing.T) {
	first, second := Postgres(t), Postgres(t)
	if first == second {
		t.Fatalf("the same database twice: %s", first)
	}
	execute(t, first, "CREATE TABLE here (n int)")
	db, err := sql.Open("pgx", second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var tables int
	if err := db.QueryRow("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").Scan(&tables); err != nil {
		t.Fatal(err)
	}
	if tables != 0 {
		t.Errorf("%d tables in the second database", tables)
	}
}

// TestMain plays the test binary that is killed, when it is told to.
func TestMain(m *testing.M) {
	if os.Getenv("NEED_TEST_HOLD") != "" {
		cluster.once.Do(startCluster)
		println(cluster.address)
		select {}
	}
	os.Exit(m.Run())
}

func TestAKilledTestBinaryLeavesNoClusterBehind(t *testing.T) {
	Postgres(t) // or skip
	if os.Getenv("TWOKEY_TEST_POSTGRES") != "" {
		t.Skip("TWOKEY_TEST_POSTGRES names a server, so none is started")
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "NEED_TEST_HOLD=1")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stderr).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	dir := u.Query().Get("host")
	if _, err := os.Stat(dir); err != nil {
		t.Fatalf("the cluster's folder: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed on purpose
	gone := time.After(time.Minute)
	for tick := time.Tick(50 * time.Millisecond); ; {
		if _, err := os.Stat(dir); os.IsNotExist(err) {
			return
		}
		select {
		case <-tick:
		case <-gone:
			t.Fatalf("%s is still there", dir)
		}
	}
}

func TestMotoAnswers(t *testing.T) {
	if address := Moto(t); !strings.HasPrefix(address, "http://127.0.0.1:") {
		t.Errorf("address %q", address)
	}
}

func TestAServerOfItsOwnComesBackWithWhatWasCommitted(t *testing.T) {
	s := PostgresOfItsOwn(t, nil)
	execute(t, s.Address, "CREATE TABLE here (n int)")
	for _, mode := range []string{"immediate", "fast"} {
		if err := s.Stop(mode); err != nil {
			t.Fatal(err)
		}
		db, err := sql.Open("pgx", s.Address)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Ping(); err == nil {
			t.Errorf("it answers after the stop (%s)", mode)
		}
		_ = db.Close()
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		execute(t, s.Address, "INSERT INTO here VALUES (1)")
	}
}

func TestASmallDiskFillsUpAndHasSpaceAgain(t *testing.T) {
	d := SmallDisk(t, 4<<20)
	write := func() error { return os.WriteFile(filepath.Join(d.Path, "here"), make([]byte, 100<<10), 0o600) }
	if err := d.Fill(); err != nil {
		t.Fatal(err)
	}
	if err := write(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("writing on the full disk: %v", err)
	}
	if err := d.Free(); err != nil {
		t.Fatal(err)
	}
	if err := write(); err != nil {
		t.Errorf("writing when there is space again: %v", err)
	}
}
