// Package store is what survives power loss: the log, which everything else is a
// deterministic view of. This package has the words (Record, Seq, Log) and the
// encoding of a record; a driver keeps the promises. store/local is the driver of
// a node on its own.
//
// It is not a database: nothing is looked up here but by sequence number. It does
// not know what a session or a topic is either: a record's body belongs to
// whoever wrote it.
//
// Rules: reliability rows, attack row A191; the format is
// docs/adr/0007-log-format.md. store/storetest checks every promise of Log.
package store

import (
	"context"
	"errors"
	"fmt"
)

// ShardID names one of a log's independent sequences, from 0 to Shards()-1.
type ShardID uint16

// Seq is the number of a record within its shard. The first record is 1; 0 is no
// record. A number belongs to one record for ever: a log may leave numbers out
// (after a crash, or a write that failed) and never gives one out again.
type Seq uint64

// Log is what must be durable and, in a cluster, replicated. Drivers: store/local
// (segment files, one shard). All methods are safe for concurrent use. A shard
// that does not exist is ErrShard.
type Log interface {
	// Shards is how many shards there are; it never changes.
	Shards() int

	// Submit queues recs for one batch: they get adjacent numbers in the order
	// given, and after any crash all of them are there or none. It never blocks, and
	// takes a copy: recs and the bodies are the caller's again when it returns.
	//
	// It answers false when the queue is full, by records or by bytes, and when the
	// log was closed; done is not called then. After true, done is called exactly
	// once, in the order of Submits to the shard, with the number of the first
	// record once the batch is on disk (on a majority, in a cluster), or with the
	// reason why it never will be acknowledged. After an error the batch may still
	// be found after a crash. done runs in the committer's goroutine: it must not
	// block, and it may Submit. It returns before any Tail shows the batch, so that
	// who submitted can tell its own batches from others as they come by.
	//
	// Errors: ErrInvalid (no record, or one that cannot be encoded), ErrTooLarge,
	// ErrFull (later Submits may succeed), ErrFailed (none will), and what the
	// system said.
	Submit(sh ShardID, recs []Record, done func(first Seq, err error)) bool

	// Tail calls fn with consecutive batches from from on, for ever, each as it was
	// submitted, once it is durable and never before; first is the number of recs[0].
	// If from is inside a batch, fn gets the rest of it. fn must not keep recs or
	// the bodies, which are used again for the next call.
	//
	// It ends with fn's error, ctx's error, ErrClosed, or
	//   - ErrTrimmed: from is, or has come to be, below Bounds' first. The reader takes
	//     a checkpoint;
	//   - *MissingError: the next records were lost to damage. Nothing is ever left
	//     out in silence; the reader goes on after MissingError.Range.Last;
	//   - *DamageError: what should be there cannot be read.
	Tail(ctx context.Context, sh ShardID, from Seq, fn func(first Seq, recs []Record) error) error

	// Bounds answers the numbers of the oldest record that may still be there and
	// of the newest durable one. A shard without records has last = first-1.
	Bounds(ctx context.Context, sh ShardID) (first, last Seq, err error)

	// Trim lets go of records below below. A driver keeps what it cannot drop
	// cheaply: Bounds says where the log begins now, which is never above below and
	// never falls.
	Trim(ctx context.Context, sh ShardID, below Seq) error

	// Close settles what was submitted, makes Tail end with ErrClosed and Submit
	// answer false. A second Close does nothing. It must not be called from done.
	Close() error
}

var (
	// ErrTrimmed: the records asked for were let go of.
	ErrTrimmed = errors.New("the log no longer has these records")
	// ErrFull: there is no space, and nothing was written. It passes when there is
	// space again.
	ErrFull = errors.New("the disk is full")
	// ErrFailed: the disk said that a flush failed, so nobody knows what it holds.
	// Nothing is acknowledged until the process starts again.
	ErrFailed = errors.New("the log has failed and acknowledges nothing more")
	// ErrClosed: the log was closed.
	ErrClosed = errors.New("the log is closed")
	// ErrTooLarge: a batch has more records or bytes than the log takes at once.
	ErrTooLarge = errors.New("the batch is too large")
	// ErrInvalid: a batch is empty, or a record has no kind that exists or is too
	// long. It is the caller's mistake.
	ErrInvalid = errors.New("the batch is not valid")
	// ErrShard: the log has no such shard.
	ErrShard = errors.New("there is no such shard")
)

// Range is records First to Last, both included.
type Range struct{ First, Last Seq }

// String is how a person reads it.
func (r Range) String() string {
	if r.First == r.Last {
		return fmt.Sprintf("%d", r.First)
	}
	return fmt.Sprintf("%d to %d", r.First, r.Last)
}

// MissingError says which records were lost to damage.
type MissingError struct {
	Range Range
	Where string // the segment they were in; "" if unknown
}

// Error names them.
func (e *MissingError) Error() string {
	where := ""
	if e.Where != "" {
		where = " in " + e.Where
	}
	return fmt.Sprintf("records %s are missing: they were damaged%s", e.Range, where)
}

// DamageError says that something cannot be read, and where.
type DamageError struct {
	Segment string
	Offset  int64
	Err     error // what the system said; nil if it read and the checksum is wrong
}

// Error names segment and offset.
func (e *DamageError) Error() string {
	why := "the checksum is wrong"
	if e.Err != nil {
		why = e.Err.Error()
	}
	return fmt.Sprintf("log segment %s, offset %d: %s", e.Segment, e.Offset, why)
}

// Unwrap is what the system said.
func (e *DamageError) Unwrap() error { return e.Err }
