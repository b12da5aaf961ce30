package main

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/metrics"
)

// storeNode is a node whose store is about to be opened.
func storeNode(t *testing.T, dir string) (*node, *config.Config) {
	t.Helper()
	loaded, err := config.Load(config.Options{DataDir: dir, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{clock: clock.System{}, log: slog.New(slog.NewTextHandler(io.Discard, nil)), metrics: metrics.New()}
	n.commits = n.metrics.NewShard()
	return n, loaded.Config
}

// A log that does not open leaves no index behind: the next start would take it for one that has
// lost its log.
func TestAFirstStartWithoutItsLogMakesNoIndex(t *testing.T) {
	n, c := storeNode(t, t.TempDir())
	logFolder, index := storeFolders(c.Node.DataDir)
	if err := os.MkdirAll(filepath.Dir(logFolder), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(logFolder, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := n.openStore(c, true); err == nil {
		t.Error("it opened")
	}
	if _, err := os.Stat(index); !os.IsNotExist(err) {
		t.Errorf("the index: %v", err)
	}
}

// What is wrong with the log is said although the index was read beside it, each time it is tried:
// what was opened is let go of.
func TestALogThatHasLostItsSegmentsIsRefused(t *testing.T) {
	dir := t.TempDir()
	n, c := storeNode(t, dir)
	if err := n.openStore(c, true); err != nil {
		t.Fatal(err)
	}
	n.closeStore()
	n, _ = storeNode(t, dir) // one that follows has both
	if err := n.openStore(c, true); err != nil {
		t.Fatal(err)
	}
	n.closeStore()
	logFolder, index := storeFolders(dir)
	segments, err := filepath.Glob(filepath.Join(logFolder, "*.seg"))
	if err != nil || len(segments) == 0 {
		t.Fatal(segments, err)
	}
	for _, s := range segments {
		if err := os.Remove(s); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		n, _ = storeNode(t, dir)
		if err := n.openStore(c, true); err == nil || !strings.Contains(err.Error(), "has the id of a log and none of its segments") {
			t.Fatalf("%v", err)
		}
		if n.durable != nil {
			t.Error("the node has a store")
		}
	}
	if err := os.RemoveAll(index); err != nil { // a first start that was cut short has the id, too
		t.Fatal(err)
	}
	n, _ = storeNode(t, dir)
	if err := n.openStore(c, true); err != nil {
		t.Fatal(err)
	}
	n.closeStore()
}
