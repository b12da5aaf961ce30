// Package testkit is for suites that want the real program: it builds redoubt
// once per test binary, starts it in an empty data directory on free loopback
// ports, waits until it says that it is ready, and ends it by its process id.
// It holds no test of its own and knows nothing about MQTT; a suite brings its
// own clients. Only _test.go files import it.
//
// When the suite runs with the race detector, so does the broker, and a report
// of it fails the test that started the broker.
package testkit

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// built are the programs of this test run. Main removes them.
var built struct {
	once, plainOnce  sync.Once
	dir, path, plain string
	err, plainErr    error
}

// Main runs the tests of a package and removes what the kit built. Use it as the
// body of TestMain: os.Exit(testkit.Main(m)).
func Main(m *testing.M) int {
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	return code
}

// raceFlags build a program with the race detector. Three packages are left out of
// it: they compute on memory of one call, share nothing and call nothing of ours,
// and with it each password took six times its processor time, and each TLS
// handshake twice. What is handed to them is read by packages that are watched. The
// Makefile builds the tests with the same flags, so that packages are compiled once.
// The detector needs cgo; the store compresses in Go all the same, as in the binary
// that is shipped.
var raceFlags = []string{
	"-race", "-tags=pebblegozstd", "-gcflags=golang.org/x/crypto/argon2=-race=false",
	"-gcflags=crypto/internal/fips140/mlkem=-race=false", "-gcflags=crypto/internal/fips140/edwards25519/field=-race=false",
}

// raceOptions are what the detector is told beside: the Makefile says why, and tells the
// tests the same.
const raceOptions = "atexit_sleep_ms=20 no_huge_pages_for_shadow=0 clear_shadow_mmap_threshold=4194304"

// watchedBinary names the program built with raceFlags, where somebody has it: `make
// test` builds it once for all the passes and packages that start it.
const watchedBinary = "WATCHED_REDOUBT"

// plainBinary names the same without the detector.
const plainBinary = "PLAIN_REDOUBT"

// Binary is the path of the program, built on the first call. The test fails if
// it does not build.
func Binary(t testing.TB) string {
	t.Helper()
	built.once.Do(func() {
		built.dir, built.err = os.MkdirTemp("", "redoubt-bin-")
		if built.err != nil {
			return
		}
		var root string
		if root, built.err = Root(); built.err != nil {
			return
		}
		there := plainBinary
		if raceEnabled {
			there = watchedBinary
		}
		if built.path = os.Getenv(there); built.path != "" {
			return
		}
		built.path = filepath.Join(built.dir, "redoubt")
		var flags []string
		if raceEnabled {
			flags = raceFlags
		}
		built.err = build(root, built.path, flags...)
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.path
}

// Command is the path of the program for commands that do one thing and end, without the
// race detector: a suite starts it more than a thousand times, and most of what it does
// then is to begin. What serves or moves many messages is Binary, and so is a doctor whose test
// says so: its probes are watched by the tests of package harden.
func Command(t testing.TB) string {
	t.Helper()
	watched := Binary(t)
	if !raceEnabled {
		return watched
	}
	built.plainOnce.Do(func() {
		var root string
		if root, built.plainErr = Root(); built.plainErr != nil {
			return
		}
		if built.plain = os.Getenv(plainBinary); built.plain != "" {
			return
		}
		built.plain = filepath.Join(built.dir, "plain", "redoubt")
		built.plainErr = build(root, built.plain)
	})
	if built.plainErr != nil {
		t.Fatal(built.plainErr)
	}
	return built.plain
}

func build(root, path string, flags ...string) error {
	cmd := exec.Command("go", slices.Concat([]string{"build", "-o", path}, flags, []string{"./cmd/redoubt"})...)
	cmd.Dir = root
	if !slices.Contains(flags, "-race") { // as it is shipped
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build redoubt: %w\n%s", err, out)
	}
	return nil
}

// Root is the folder of the repository: the nearest one with a go.mod, upwards
// from where the test runs.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("no go.mod above the working directory")
		}
		dir = up
	}
}

// TempDir is a new private directory with a short name (a unix socket has 107
// bytes for its path), removed at the end of the test.
func TempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rdt-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Need fails the test, with the command that helps, unless program is installed.
func Need(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%s is not installed; run: sudo make deps", program)
	}
	return path
}

// environment is what every program under test gets: ours without anything that
// configures redoubt.
func environment(extra ...string) []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "REDOUBT_") {
			env = append(env, kv)
		}
	}
	// Exit code 66 marks a race report; see the race detector's own documentation.
	return append(append(env, "GORACE=halt_on_error=0 exitcode=66 "+raceOptions), extra...)
}
