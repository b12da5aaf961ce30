// Package view is the local index of the log: everything that is looked up by
// something else than a number. It is a function of the log and of nothing else, so
// it is never asked before a record is acknowledged, never flushed for one, and made
// again from where it was after a crash.
//
// One goroutine applies the log's records in order. What decides (who owns a session,
// which messages the open block has) it keeps in memory and knows first; the rows of
// the index follow. The rows are in Pebble, without a log of its own: our log is that.
//
// It is not a judge of MQTT: whoever reads verifies topic, permission and expiry.
//
// Rules: docs/adr/0008-the-view.md; reliability rows.
package view

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// shard is the only one there is. It is in every key, so that there can be more.
const shard store.ShardID = 0

// blockBitsDefault makes a block of 65,536 numbers: no part of the postings has more.
const blockBitsDefault = 16

// keyName is the name of the store.Key record with which filters and sessions are
// named.
const keyName = "filters"

// ErrClosed: the view was closed.
var ErrClosed = errors.New("the view is closed")

// Options are where a view is and what it reads.
type Options struct {
	Log store.Log
	// Await answers Log where it is not open yet: Open asks for it, once, when it has read what
	// it keeps of the rows. Its error is Open's. nil: Log is there.
	Await  func() (store.Log, error)
	Folder string // made if it is missing, with mode 0700
	FS     vfs.FS // nil: the machine's

	// Alarm is told what an operator must hear: records that are missing through damage,
	// an index that cannot be written. It is called in any goroutine, also in one of
	// Pebble's while Pebble holds its locks: it must not block and not call the view. It
	// may be nil.
	Alarm func(what string, err error)

	// Sessions has Open keep the sessions that it comes by, for the first call of
	// View.Sessions, which then reads only those that have changed since.
	Sessions bool

	// Progress is told, while Open reads the log, how many records of how many the index is
	// behind; nil: nobody is.
	Progress func(done, total int64)

	blockBits uint  // of the numbers in one block; tests set it. 0: blockBitsDefault
	partBytes int64 // of bodies in one part; tests set it. 0: partBytesDefault
}

// View is the index of one shard of a log. All methods are safe for concurrent use.
type View struct {
	o      Options
	key    fact.Key
	ix     *index
	rows   *rows
	open   *openBlocks
	groups *groups // the judge's
	door   door
	watch  watch

	// Owned by the goroutine that applies: Open's, then Run's.
	judge judge

	started atomic.Bool
	cancel  context.CancelFunc // ends Run's goroutine; nil before Run
	done    chan struct{}      // closed when Run's goroutine has ended
}

// door lets readers of the index finish before it closes. Who is inside may enter again.
type door struct {
	mu     sync.Mutex // guards closed, and that nobody enters after it
	closed bool
	inside sync.WaitGroup
}

// enter answers how to leave again.
func (d *door) enter() (leave func(), err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, ErrClosed
	}
	d.inside.Add(1)
	return d.inside.Done, nil
}

// close lets nobody in any more; false if that was so already.
func (d *door) close() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	was := d.closed
	d.closed = true
	return !was
}

// Open opens the index and applies everything the log holds by then; after an unclean
// stop that is what came since the last flush. It refuses, with a sentence, an index of
// a newer format, one that is ahead of its log or of another log, and one that is older
// than the log begins. An index that cannot be read is an error that names the folder
// and the remedy.
//
// The first Open of an empty log also writes the log's key, and waits for it.
func Open(ctx context.Context, o Options) (*View, error) {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Alarm == nil {
		o.Alarm = func(string, error) {}
	}
	if o.blockBits == 0 {
		o.blockBits = blockBitsDefault
	}
	if o.partBytes == 0 {
		o.partBytes = partBytesDefault
	}
	if o.Await == nil {
		log := o.Log
		o.Await = func() (store.Log, error) { return log, nil }
	}
	ix, err := openIndex(&o)
	if err != nil {
		return nil, o.unreadable(ctx, err)
	}
	v := &View{o: o, ix: ix, open: newOpenBlocks(sizes{o.blockBits, o.partBytes}), done: make(chan struct{})}
	v.rows = newRows(ix, v.open)
	if o.Sessions {
		v.rows.early = &early{changed: make(map[store.SID]struct{})}
	}
	if err := v.recover(ctx); err != nil {
		_ = ix.close(false) // what was applied is applied again
		return nil, err
	}
	return v, nil
}

// await has the log from now on, and answers its bounds.
func (o *Options) await(ctx context.Context) (first, last store.Seq, err error) {
	if o.Log, err = o.Await(); err != nil {
		return 0, 0, err
	}
	if first, last, err = o.Log.Bounds(ctx, shard); err != nil {
		return 0, 0, fmt.Errorf("view: %w", err)
	}
	return first, last, nil
}

// unreadable is the error of an index that cannot be read before the log is there; one of the
// log comes first.
func (o *Options) unreadable(ctx context.Context, err error) error {
	first, _, logErr := o.await(ctx)
	if logErr != nil {
		return logErr
	}
	return unreadable(o.Folder, err, first)
}

// recover loads what is in memory from the rows and applies what the rows lack.
func (v *View) recover(ctx context.Context) error {
	if err := v.rows.load(); err != nil {
		return v.o.unreadable(ctx, err)
	}
	first, last, err := v.o.await(ctx)
	if err != nil {
		return err
	}
	v.open.at = v.rows.at                         // nobody else has the view yet
	if err := v.dropPostings(first); err != nil { // a crash may have kept what was trimmed
		return err
	}
	if err := v.forgetUntrimmed(); err != nil {
		return err
	}
	v.groups = v.rows.groups.clone()
	v.judge = newJudge(v.rows.epoch, v.groups, v.rows.at, v.open.sizes, v.o.Alarm)
	if err := v.catchUp(ctx, first, last); err != nil {
		return err
	}
	return v.loadKey(ctx)
}

// loadKey finds the log's key, or makes it.
func (v *View) loadKey(ctx context.Context) error {
	for made := false; ; made = true {
		found := false
		err := v.Values(store.Key, func(name string, content []byte) error {
			if name == keyName && len(content) == len(v.key) {
				found = true
				copy(v.key[:], content)
			}
			return nil
		})
		if err != nil || found {
			return err
		}
		if made {
			return errors.New("view: the key that names filters was written and is not there")
		}
		if at := v.Applied(); at != 0 {
			v.o.Alarm("key", fmt.Errorf("the log has %d records and no key that names filters and sessions: a new one is made, and the sessions of before are not found again", at))
		}
		if err := v.makeKey(ctx); err != nil {
			return fmt.Errorf("view: write the key that names filters: %w", err)
		}
	}
}

// makeKey writes a new key and applies the log until it is there.
func (v *View) makeKey(ctx context.Context) error {
	var key fact.Key
	_, _ = rand.Read(key[:]) // it never fails
	value := fact.Value{Name: keyName, Content: key[:]}
	type outcome struct {
		seq store.Seq
		err error
	}
	ch := make(chan outcome, 1)
	if !v.o.Log.Submit(shard, []store.Record{{Kind: store.Key, Body: value.Append(nil)}}, func(seq store.Seq, err error) { ch <- outcome{seq, err} }) {
		return errors.New("the log takes nothing")
	}
	select {
	case out := <-ch:
		if out.err != nil {
			return out.err
		}
		return v.applyUntil(ctx, v.Applied()+1, out.seq)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Key names filters and sessions.
func (v *View) Key() *fact.Key { return &v.key }

// Applied is the number of the newest record that guards and postings know; the rows
// that Sessions, Retained and Values read may be a batch behind.
func (v *View) Applied() store.Seq { return v.open.position().seq }

// Alive is the newest At of anything applied, in Unix milliseconds: a node with this log
// ran then.
func (v *View) Alive() int64 { return v.open.position().alive }

// Hash is the rolling CRC-32C of everything applied: views of equal logs have equal
// hashes at equal numbers.
func (v *View) Hash() uint32 { return v.open.position().hash }

// Err is nil, or why the index has failed for good.
func (v *View) Err() error { return v.ix.err() }

// Close ends Run's goroutine, waits for it, and makes durable what was applied. An error
// of the flush costs time at the next Open and nothing else.
func (v *View) Close() error {
	if !v.door.close() {
		return nil
	}
	v.ix.leave()
	if v.started.Load() {
		v.cancel()
		if err := v.ended(); err != nil {
			return err
		}
	}
	v.door.inside.Wait()
	if v.ix.err() != nil {
		return v.ix.close(false)
	}
	err := v.rows.commit()
	return errors.Join(err, v.ix.close(err == nil))
}

// closePatience is how long Close waits for a goroutine that may be inside a Pebble
// which cannot write.
const closePatience = 10 * time.Second

// ended waits for Run's goroutine. Where Pebble cannot write it may hold the goroutine
// for ever; then both are left as they are, for a process that is about to end.
func (v *View) ended() error {
	late := time.NewTimer(closePatience)
	defer late.Stop()
	for {
		select {
		case <-v.done:
			return nil
		case <-v.ix.failed:
			return v.ix.err()
		case <-late.C:
			if trouble, _ := v.ix.state(); trouble != nil {
				return fmt.Errorf("view: the index in %s is not closed: %w", v.o.Folder, trouble)
			}
			late.Reset(closePatience)
		}
	}
}
