package main

import (
	"sync/atomic"
	"time"

	"github.com/redoubtmq/redoubt/store/ballast"
	"github.com/redoubtmq/redoubt/store/disk"
)

// space is what the node does about a disk that becomes full. The log leaves its reserve
// (64 MiB) to others, before each write; above that is a margin that publishes may not use,
// so that sessions can still come, go and acknowledge; and below it is the ballast.
type space struct {
	ballast *ballast.File
	tended  atomic.Int64 // bytes free at the last look
	isShort atomic.Bool  // publishes that must be stored are refused
	found   atomic.Bool  // the index has found the disk full
}

const (
	reserve = 64 << 20 // bytes that the log leaves to others
	// shortBelow and shortUntil are how much space refuses publishes, and lets them be again:
	// different ones, or they would come and go.
	shortBelow = reserve + 32<<20
	shortUntil = reserve + 64<<20
	// ballastAfter is how long a process must live to be given a ballast: one that is only
	// tried out takes no space.
	ballastAfter = time.Minute
)

// open looks for the ballast in the folder of the store.
func (s *space) open(folder string) error {
	dir, err := disk.OpenDir(folder)
	if err == nil {
		s.ballast, err = ballast.Open(dir)
	}
	return err
}

// judgeRoom tells the broker whether the log may be given more messages.
func (n *node) judgeRoom(d *durable) {
	if b := d.broker.Load(); b != nil {
		b.SetFull(d.full.Load() || d.isShort.Load())
	}
}

// short refuses publishes that must be stored, for want of space. Any goroutine may call
// it.
func (n *node) short(d *durable, free uint64) {
	if d.isShort.Swap(true) {
		return
	}
	n.judgeRoom(d)
	n.log.Error("the disk is nearly full; publishes that must be stored are refused with 0x97 until there is space again. QoS 0, reading and the ends of sessions go on",
		"bytes_free", free, "wanted", int64(shortUntil), "of them for the rest of the broker", int64(reserve), "ballast", d.ballast.Held())
}

// tendSpace looks how much space is left, and holds or lets go of the ballast.
func (n *node) tendSpace() {
	d := n.durable
	free, err := d.log.Free()
	if err != nil {
		n.log.Error("how much space is left for the store is not known", "error", err.Error())
		return
	}
	var released, made bool
	if found := d.found.Swap(false); n.clock.Now().Sub(n.started) >= ballastAfter || d.ballast.Held() || found {
		released, made, err = d.ballast.Tend(free, found)
	}
	switch {
	case err != nil:
		n.log.Error("the ballast of the store", "error", err.Error())
	case released:
		n.log.Error("the disk is full; the ballast of the store was let go of, so that the index can be written and sessions can end", "bytes_free", free, "ballast", int64(ballast.Bytes))
	case made:
		n.log.Debug("the store has its ballast", "bytes", int64(ballast.Bytes))
	}
	if released || made {
		if now, err := d.log.Free(); err == nil {
			free = now
		}
	}
	d.tended.Store(int64(min(free, 1<<63-1))) //nolint:gosec // it fits now
	switch {
	case free < shortBelow:
		n.short(d, free)
	case free >= shortUntil && d.isShort.Swap(false):
		n.judgeRoom(d)
		n.log.Info("the disk has space again; publishes are stored", "bytes_free", free)
	}
}
