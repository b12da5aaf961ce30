package harden

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

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
	done := make(chan struct{})
	go func() {
		defer close(done)
		q.scan(path, true)
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		if f, err := os.OpenFile(path, os.O_RDWR, 0); err == nil { // it goes on
			_ = f.Close()
		}
		<-done
		t.Fatal("it waits for somebody to write")
	}
	if len(q.obs) != 1 || q.obs[0].State != Unknown || !strings.Contains(q.obs[0].Actual, "not a regular file") {
		t.Errorf("%+v", q.obs)
	}
}
