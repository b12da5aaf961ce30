package view

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/storetest/faultfs"
)

// badDisk fails what writes to files of a kind, while it is told to.
type badDisk struct {
	on   atomic.Bool
	part string // of the names that fail
	err  error
}

func (d *badDisk) fs() vfs.FS {
	return errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if !d.on.Load() || !strings.Contains(op.Path, d.part) {
			return nil
		}
		switch op.Kind {
		case errorfs.OpFileWrite, errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpCreate:
			return d.err
		}
		return nil
	}))
}

// eventually waits for what another goroutine does.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !is() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("never: %s", what)
		}
	}
}

// A disk that is full stops the applying, is said once, and is forgotten when there is
// space again. Nothing is lost by it: the log has it.
func TestFullDiskIsWaitedFor(t *testing.T) {
	disk := badDisk{part: ".sst", err: syscall.ENOSPC}
	l, fs := openLog(t, faultfs.New(), smallLog), disk.fs()
	var heard alarms
	o := Options{Log: l, Folder: "index", FS: fs, Alarm: heard.hear, blockBits: 3}
	v := mustOpen(t, o)
	ear := newEar()
	v.Run(ear)
	disk.on.Store(true)
	ear.wait(t, put(t, l, message("x", 1)))
	if _, err := v.Trim(t.Context(), 1); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("trim: %v", err)
	}
	eventually(t, "an alarm", func() bool { return heard.count("index not written") == 1 })
	if _, err := v.Trim(t.Context(), 1); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a second trim: %v", err)
	}
	var seq store.Seq
	for range 20 {
		seq = put(t, l, message("x", 1))
	}
	if list, _, err := v.Pending(&Query{}, nil); err != nil || len(list) != 0 {
		t.Errorf("it reads nothing while it cannot write: %v, %v", list, err)
	}
	disk.on.Store(false)
	ear.wait(t, seq)
	eventually(t, "a flush that works", func() bool { trouble, _ := v.ix.state(); return trouble == nil })
	if n := heard.count("index not written"); n != 1 {
		t.Errorf("%d alarms: %v", n, heard.list)
	}
	if _, err := v.Trim(t.Context(), 1); err != nil {
		t.Errorf("trim: %v", err)
	}
	disk.on.Store(true)
	ear.wait(t, put(t, l, message("x", 1)))
	if err := v.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("close: %v", err)
	}
	disk.on.Store(false)
	v = mustOpen(t, o)
	_, known := readAll(t, l)
	if err := compare(v, newTwin(known), 0); err != nil {
		t.Error(err)
	}
	shut(t, v, l)
}

// Where Pebble would end the process, the view ends and the process goes on. It is a
// process of its own, since an index that has failed is let go of and not closed.
func TestFailedManifestEndsTheViewAndNotTheProcess(t *testing.T) {
	if os.Getenv(childVariable) != "" {
		failManifest(t)
		return
	}
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v") //nolint:gosec // this test
	c.Env = append(os.Environ(), childVariable+"=1")
	out, err := c.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
}

func failManifest(t *testing.T) {
	disk := badDisk{part: "MANIFEST", err: syscall.EIO}
	l, fs := openLog(t, faultfs.New(), smallLog), disk.fs()
	var heard alarms
	v := mustOpen(t, Options{Log: l, Folder: "index", FS: fs, Alarm: heard.hear, blockBits: 3})
	ear := newEar()
	v.Run(ear)
	ear.wait(t, put(t, l, message("x", 1)))
	disk.on.Store(true)
	if _, err := v.Trim(t.Context(), 1); !errors.Is(err, syscall.EIO) && (err == nil || !strings.Contains(err.Error(), "input/output error")) {
		t.Errorf("trim: %v", err)
	}
	if v.Err() == nil {
		t.Error("the view has not failed")
	}
	eventually(t, "one alarm", func() bool { return heard.count("index failed") == 1 }) // said after the cause is set, by who found it
	seq := put(t, l, message("x", 1))                                                   // is heard of, and then it ends
	ear.wait(t, seq)
	eventually(t, "the end of the goroutine", func() bool {
		select {
		case <-v.done:
			return true
		default:
			return false
		}
	})
	if err := v.Close(); err == nil || !strings.Contains(err.Error(), "has failed") {
		t.Errorf("close: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// A log that can no longer be read is said, and the view stands still.
func TestLogThatCannotBeReadIsSaid(t *testing.T) {
	l := &fakeLog{batch: func(store.Seq) []store.Record { return []store.Record{message("x", 1)} }}
	var heard alarms
	v := mustOpen(t, Options{Log: brokenLog{l}, Folder: "index", FS: vfs.NewMem(), Alarm: heard.hear})
	l.last += 5
	v.Run(newEar())
	<-v.done
	if heard.count("log not applied") != 1 || !strings.Contains(strings.Join(heard.list, ""), "bad sector") {
		t.Error(heard.list)
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
}

// brokenLog cannot read record 4.
type brokenLog struct{ *fakeLog }

func (l brokenLog) Tail(ctx context.Context, sh store.ShardID, from store.Seq, fn func(store.Seq, []store.Record) error) error {
	return l.fakeLog.Tail(ctx, sh, from, func(first store.Seq, recs []store.Record) error {
		if first == 4 {
			return fmt.Errorf("bad sector")
		}
		return fn(first, recs)
	})
}
