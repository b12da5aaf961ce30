package view

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/redoubtmq/redoubt/store"
)

const (
	// memTableBytes bounds what a crash makes the next Open apply again, beside the open
	// block, in bytes of rows; up to memTables of them exist at once.
	memTableBytes = 1 << 20
	memTables     = 16
	// cacheBytes is for blocks of tables that readers who come back look into, in bytes.
	// What is read again at once is in the page cache anyway.
	cacheBytes = 8 << 20
	// filesMax is how many tables are open at once. More would take the descriptors that connections are reckoned
	// with where the limit is low.
	filesMax = 256
	// levelZeroMax is where Pebble would stop us to compact. It does not: we are slower
	// than it is, and if it cannot write, we wait where Close can still reach us.
	levelZeroMax = 1000
	// What is flushed has rows of every table, of sessions as of postings, so that merging it with
	// the level below reads and writes all of that level. With Pebble's own figure
	// of 64 MiB that level was the whole index up to there, and it was written again at every
	// other flush: a message cost the more the more was stored. levelBaseBytes bounds that level
	// by what a flush may have, tableBytes has more than one table in it, so that what goes on to
	// the next level is a part, and depthMax lets twice as many flushes collect before they are merged.
	levelBaseBytes = 2 << 20
	tableBytes     = 256 << 10 // twice as much in the level below, and so on
	depthMax       = 8         // Pebble merges at half of it
	// pebbleFormat is the files' format. It is a fixed one, so that a newer Pebble does not
	// change files that the broker before it must still read.
	pebbleFormat = pebble.FormatTableFormatV6
	// backOff is how long Pebble, which tries again at once, waits after a write that
	// failed.
	backOff = 100 * time.Millisecond
)

// index is the Pebble below a view, and what can go wrong with it.
type index struct {
	db     *pebble.DB
	folder string
	alarm  func(string, error)
	opened atomic.Bool // a Fatalf from now on is Pebble's own goroutine's

	failed  chan struct{} // closed when the index has failed for good
	leaving chan struct{} // closed by leave

	mu      sync.Mutex // guards everything below; Pebble may hold its locks when it asks for it
	cause   error      // why it has failed
	left    bool
	trouble error         // why the last flush did not work; nil if it did
	better  chan struct{} // closed when one works again; nil without trouble
	said    string        // the last alarm about what is tried again; "" after it passed
}

// openIndex opens the folder.
func openIndex(o *Options) (*index, error) {
	ix := &index{folder: o.Folder, alarm: o.Alarm, failed: make(chan struct{}), leaving: make(chan struct{})}
	if err := o.FS.MkdirAll(o.Folder, 0o700); err != nil {
		return nil, fmt.Errorf("make its folder: %w", err)
	}
	cache := pebble.NewCache(cacheBytes)
	defer cache.Unref()
	po := &pebble.Options{
		FS: o.FS, Cache: cache, DisableWAL: true, FormatMajorVersion: pebbleFormat, Logger: logger{ix},
		MemTableSize: memTableBytes, MemTableStopWritesThreshold: memTables, L0StopWritesThreshold: levelZeroMax, MaxOpenFiles: filesMax,
		LBaseMaxBytes: levelBaseBytes, L0CompactionThreshold: depthMax,
		EventListener: &pebble.EventListener{
			BackgroundError: ix.background,
			DataCorruption:  ix.damaged,
			FlushEnd:        ix.flushEnd,
		},
	}
	po.TargetFileSizes[0] = tableBytes // and Pebble doubles it from level to level
	for i := range po.Levels {
		po.Levels[i].FilterPolicy = bloom.FilterPolicy(10) // 1 % of the lookups in a table that has nothing read it
	}
	if o.Sessions {
		askAhead(o.FS, o.Folder)
	}
	db, err := pebble.Open(o.Folder, po)
	if err != nil {
		return nil, err
	}
	ix.db = db
	ix.opened.Store(true)
	return ix, nil
}

// aheadBytes is how much of an index the disk is asked for before anybody reads it.
const aheadBytes = 64 << 20

// askAhead has the disk read the tables, of which a start is about to want most, some at its very
// end: block by block whoever begins would rest at each. What cannot be asked for is read later.
func askAhead(fs vfs.FS, folder string) {
	names, _ := fs.List(folder)
	left := int64(aheadBytes)
	for _, name := range names {
		if !strings.HasSuffix(name, ".sst") {
			continue
		}
		f, err := fs.Open(fs.PathJoin(folder, name))
		if err != nil {
			continue
		}
		if is, err := f.Stat(); err == nil && is.Size() <= left {
			left -= is.Size()
			_ = f.Prefetch(0, is.Size())
		}
		_ = f.Close() // it was not even read
	}
}

// unreadable is the error of an index that cannot be read. first is where the log begins, which
// decides the remedy.
func unreadable(folder string, err error, first store.Seq) error {
	remedy := "move the folder away and start again: it is made again from the log"
	if first > 1 {
		remedy = fmt.Sprintf("restore the data directory from a backup: the log begins with record %d, and what was before is only in the index", first)
	}
	return fmt.Errorf("view: the index in %s cannot be read: %w; %s", folder, err, remedy)
}

// logger is what Pebble says. Info is of no interest to an operator, and errors come as
// events.
type logger struct{ ix *index }

func (logger) Infof(string, ...any)  {}
func (logger) Errorf(string, ...any) {}

// Fatalf is called where Pebble would end the process: it could not write its manifest,
// and does not know what is in it. While Open runs, the error is also answered. Later
// the goroutine is one of Pebble's own, a flush or a compaction: it ends here, and
// nothing flushes again. Its locks are released, the index is read and not written, and
// the process goes on until somebody who heard the alarm stops it.
func (l logger) Fatalf(format string, args ...any) {
	l.ix.fail(fmt.Errorf(format, args...))
	if l.ix.opened.Load() {
		runtime.Goexit()
	}
}

// fail stops the index for good.
func (ix *index) fail(err error) {
	ix.mu.Lock()
	first := ix.cause == nil
	if first {
		ix.cause = fmt.Errorf("view: the index in %s has failed: %w", ix.folder, err)
		close(ix.failed)
	}
	err = ix.cause
	ix.mu.Unlock()
	if first {
		ix.alarm("index failed", err)
	}
}

// err is nil, or why the index has failed for good.
func (ix *index) err() error {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	return ix.cause
}

// background is a flush or a compaction that failed and is tried again. It runs in
// Pebble's goroutine.
func (ix *index) background(err error) {
	ix.say("index not written", err)
	t := time.NewTimer(backOff)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ix.leaving:
	}
}

// say tells an alarm once until flushes work again: what is tried again fails in the
// same way, with another file in its text.
func (ix *index) say(what string, err error) {
	ix.mu.Lock()
	known := ix.said == what
	ix.said = what
	ix.mu.Unlock()
	if !known {
		ix.alarm(what, fmt.Errorf("view: the index in %s: %w", ix.folder, err))
	}
}

// damaged is a table that cannot be read. It runs in the goroutine that read it.
func (ix *index) damaged(info pebble.DataCorruptionInfo) {
	ix.say("index damaged", errors.New(info.String()))
}

// nothingToFlush is what Pebble calls a flush that worked and had no rows.
const nothingToFlush = "pebble: empty table"

// flushEnd notes whether flushes work. It runs in Pebble's goroutine.
func (ix *index) flushEnd(info pebble.FlushInfo) {
	err := info.Err
	if err != nil && err.Error() == nothingToFlush {
		err = nil
	}
	ix.mu.Lock()
	known := ix.trouble != nil
	switch {
	case err != nil && !known:
		ix.better = make(chan struct{})
	case err == nil && known:
		close(ix.better)
		ix.better, ix.said = nil, ""
	}
	ix.trouble = err
	ix.mu.Unlock()
}

// state is the trouble there is, and a channel that is closed when it passes.
func (ix *index) state() (trouble error, better <-chan struct{}) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	return ix.trouble, ix.better
}

// ready waits until the index can be written: what is applied while it cannot would
// collect in memory.
func (ix *index) ready(ctx context.Context) error {
	for {
		select {
		case <-ix.failed:
			return ix.err()
		default:
		}
		trouble, better := ix.state()
		if trouble == nil {
			return nil
		}
		select {
		case <-better:
		case <-ix.failed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// flushed waits for a flush that was begun; it does not wait for the disk to get better.
func (ix *index) flushed(ctx context.Context, done <-chan struct{}) error {
	t := time.NewTicker(backOff)
	defer t.Stop()
	for {
		select {
		case <-done:
			return nil
		case <-ix.failed:
			return ix.err()
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
			if trouble, _ := ix.state(); trouble != nil {
				return fmt.Errorf("view: write the index in %s: %w", ix.folder, trouble)
			}
		}
	}
}

// leave ends waits that nothing else would end.
func (ix *index) leave() {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if !ix.left {
		ix.left = true
		close(ix.leaving)
	}
}

// close closes the index, with a flush if asked. One that has failed for good is only
// let go of: Pebble would wait for the goroutine that ended in Fatalf.
func (ix *index) close(flush bool) error {
	ix.leave()
	if err := ix.err(); err != nil {
		return err
	}
	var err error
	if trouble, _ := ix.state(); trouble != nil {
		err = fmt.Errorf("view: the index in %s is not flushed: %w", ix.folder, trouble)
	} else if flush {
		var done <-chan struct{}
		if done, err = ix.db.AsyncFlush(); err == nil {
			err = ix.flushed(context.Background(), done)
		}
		if ix.err() != nil {
			return err
		}
	}
	return errors.Join(err, ix.db.Close())
}
