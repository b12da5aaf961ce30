package harden

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/redoubtmq/redoubt/internal/clock"
)

// Who can write beside the configuration puts a pipe there: a run that opened it would wait
// for ever, and nobody would be told of anything any more.
func TestAPipeStopsNoRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "redoubt.yaml")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	q := (&Env{Clock: clock.System{}}).inquire("file")
	q.scan(path, true)
	if len(q.obs) != 1 || q.obs[0].State != Unknown || !strings.Contains(q.obs[0].Actual, "not a regular file") {
		t.Errorf("%+v", q.obs)
	}
}
