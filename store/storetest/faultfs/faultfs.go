// Package faultfs is a folder in memory that behaves as a bad day does: it loses
// power and keeps, of what was not flushed, any part of any sector; it fills up,
// writes short, fails a flush and forgets what it was asked to flush, and flips
// bits. It is for tests of package store. What it does is decided by the caller,
// or by the caller's seed.
package faultfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"sort"
	"sync"
	"syscall"

	"github.com/redoubtmq/redoubt/store/disk"
)

// Op is a kind of operation that can be made to fail.
type Op int

// The operations. All but Read and Free count as changes.
const (
	Create Op = iota
	Write
	Truncate
	SyncFile
	SyncDir
	Rename
	Remove
	Read
	Free
)

// ErrPower is what everything answers after the power went.
var ErrPower = errors.New("there is no power")

// sectorBytes is what a disk writes whole or not at all.
const sectorBytes = 512

// FS is one folder. It is a disk.Dir, safe for concurrent use.
type FS struct {
	mu      sync.Mutex // guards everything below, and the files
	files   map[string]*inode
	durable map[string]*inode // after a power cut
	pending []entry           // changes of the folder that were not flushed
	locked  bool
	dead    bool

	changes int // so far
	powerAt int // the power goes at this change; 0 is never
	space   int64
	fault   func(op Op, name string) error
	short   int // bytes that a write which fails for another reason still writes
	reads   int
}

// inode is a file. What is read is now; what a power cut leaves is durable and
// any part of pending.
type inode struct {
	now, durable []byte
	pending      []change
}

// change is a write that was not flushed, or, with data nil, a truncation.
type change struct {
	off  int64
	data []byte
}

// entry is a change of the folder: name is node now, and from is gone.
type entry struct {
	name, from string
	node       *inode
}

// New is an empty folder with all the space there is.
func New() *FS {
	return &FS{files: make(map[string]*inode), durable: make(map[string]*inode), space: 1 << 40}
}

// Fault asks f before every operation; an error of its is the operation's. A
// SyncFile that fails also forgets what it should have flushed, as Linux does.
func (d *FS) Fault(f func(op Op, name string) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = f
}

// Short makes a write that Fault fails write its first n bytes.
func (d *FS) Short(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.short = n
}

// Space sets how many bytes the files may have in all. Writes beyond it write
// what fits and fail with ENOSPC.
func (d *FS) Space(bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.space = bytes
}

// PowerAt lets the power go at the n-th change from now.
func (d *FS) PowerAt(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.powerAt = d.changes + n
}

// Changes is how many changes there have been, and Reads how many reads.
func (d *FS) Changes() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changes
}

// Reads is how many reads there have been.
func (d *FS) Reads() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.reads
}

// Kill ends the process that uses the folder: the lock goes, the cache stays.
func (d *FS) Kill() *FS {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
	return &FS{files: d.files, durable: d.durable, pending: d.pending, space: d.space}
}

// Crash answers what is found after a power cut: of every file what was flushed
// and some of the rest, sector by sector; of the folder what was flushed and some
// of the rest, change by change. rnd decides.
func (d *FS) Crash(rnd *rand.Rand) *FS {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
	after := New()
	names := make(map[string]*inode, len(d.durable))
	for n, f := range d.durable {
		names[n] = f
	}
	keep := chance(rnd)
	for _, e := range d.pending {
		if rnd.Float64() < keep {
			e.apply(names)
		}
	}
	seen := make(map[*inode]*inode)
	for _, n := range sortedKeys(names) {
		f := names[n]
		if seen[f] == nil {
			b := f.survive(rnd)
			seen[f] = &inode{now: b, durable: slices.Clone(b)}
		}
		after.files[n], after.durable[n] = seen[f], seen[f]
	}
	return after
}

// chance is often nothing or all, which is what most power cuts leave.
func chance(rnd *rand.Rand) float64 {
	return []float64{0, 1, 0.5, rnd.Float64()}[rnd.IntN(4)]
}

func (e *entry) apply(names map[string]*inode) {
	if e.from != "" {
		delete(names, e.from)
	}
	if e.node == nil {
		delete(names, e.name)
	} else {
		names[e.name] = e.node
	}
}

// survive is what a power cut leaves of the file.
func (f *inode) survive(rnd *rand.Rand) []byte {
	b := slices.Clone(f.durable)
	keep, prefix := chance(rnd), rnd.IntN(2) == 0
	for _, c := range f.pending {
		if c.data == nil {
			if rnd.Float64() < keep {
				b = resize(b, c.off)
			}
			continue
		}
		for at := int64(0); at < int64(len(c.data)); {
			n := min(sectorBytes-(c.off+at)%sectorBytes, int64(len(c.data))-at)
			if rnd.Float64() < keep {
				b = put(b, c.off+at, c.data[at:at+n])
			} else if prefix { // in order: nothing after it either
				return b
			}
			at += n
		}
	}
	return b
}

func resize(b []byte, n int64) []byte {
	if n <= int64(len(b)) {
		return b[:n]
	}
	return append(b, make([]byte, n-int64(len(b)))...)
}

func put(b []byte, off int64, data []byte) []byte {
	if end := off + int64(len(data)); end > int64(len(b)) {
		b = resize(b, end)
	}
	copy(b[off:], data)
	return b
}

func sortedKeys(m map[string]*inode) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// Content is what a file holds, and SetContent makes it so, durably.
func (d *FS) Content(name string) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.files[name]; f != nil {
		return slices.Clone(f.now)
	}
	return nil
}

// SetContent gives a file, new or not, durable content: flipped bits, a cut, or
// another machine's file.
func (d *FS) SetContent(name string, b []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := &inode{now: slices.Clone(b), durable: slices.Clone(b)}
	d.files[name], d.durable[name] = f, f
}

// before counts an operation and lets it fail. The caller holds mu.
func (d *FS) before(op Op, name string) error {
	if d.dead {
		return ErrPower
	}
	if op < Read {
		d.changes++
		if d.changes == d.powerAt {
			d.dead = true
			return ErrPower
		}
	}
	if op == Read {
		d.reads++
	}
	if d.fault != nil {
		return d.fault(op, name)
	}
	return nil
}

// Lock is disk.Dir's.
func (d *FS) Lock() (func(), error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return nil, ErrPower
	}
	if d.locked {
		return nil, errors.New("the folder is in use by process 1")
	}
	d.locked = true
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.locked = false
	}, nil
}

// List is disk.Dir's.
func (d *FS) List() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.before(Read, "."); err != nil {
		return nil, err
	}
	return sortedKeys(d.files), nil
}

// change makes and remembers a change of the folder. The caller holds mu.
func (d *FS) change(e entry) {
	e.apply(d.files)
	d.pending = append(d.pending, e)
}

// Create is disk.Dir's.
func (d *FS) Create(name string) (disk.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.before(Create, name); err != nil {
		return nil, err
	}
	if d.files[name] != nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	f := &inode{}
	d.change(entry{name: name, node: f})
	return &file{d: d, name: name, node: f, write: true}, nil
}

// Open is disk.Dir's.
func (d *FS) Open(name string, write bool) (disk.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return nil, ErrPower
	}
	f := d.files[name]
	if f == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &file{d: d, name: name, node: f, write: write}, nil
}

// Rename is disk.Dir's.
func (d *FS) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.before(Rename, from); err != nil {
		return err
	}
	f := d.files[from]
	if f == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	d.change(entry{name: to, from: from, node: f})
	return nil
}

// Remove is disk.Dir's.
func (d *FS) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.before(Remove, name); err != nil {
		return err
	}
	if d.files[name] == nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	d.change(entry{name: name})
	return nil
}

// Sync is disk.Dir's.
func (d *FS) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.before(SyncDir, "."); err != nil {
		return err
	}
	for _, e := range d.pending {
		e.apply(d.durable)
	}
	d.pending = nil
	return nil
}

// used is what all files have. The caller holds mu.
func (d *FS) used() (n int64) {
	for _, f := range d.files {
		n += int64(len(f.now))
	}
	return n
}

// Free is disk.Dir's.
func (d *FS) Free() (uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.before(Free, "."); err != nil {
		return 0, err
	}
	return uint64(max(0, d.space-d.used())), nil
}

// file is an open file.
type file struct {
	d     *FS
	name  string
	node  *inode
	write bool
}

func (f *file) ReadAt(b []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.before(Read, f.name); err != nil {
		return 0, err
	}
	if off >= int64(len(f.node.now)) {
		return 0, io.EOF
	}
	n := copy(b, f.node.now[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(b []byte, off int64) (int, error) {
	d := f.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if !f.write {
		return 0, fmt.Errorf("write %s: opened for reading", f.name)
	}
	err := d.before(Write, f.name)
	n := len(b)
	if err != nil {
		n = min(n, d.short)
		if errors.Is(err, ErrPower) { // the machine may have begun
			n = len(b)
		}
	} else if free := d.space - d.used(); off+int64(n)-int64(len(f.node.now)) > free {
		n, err = int(max(0, min(int64(n), free+int64(len(f.node.now))-off))), syscall.ENOSPC
	}
	if n > 0 {
		data := slices.Clone(b[:n])
		f.node.now = put(f.node.now, off, data)
		f.node.pending = append(f.node.pending, change{off, data})
	}
	return n, err
}

func (f *file) Truncate(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.before(Truncate, f.name); err != nil {
		return err
	}
	f.node.now = resize(f.node.now, size)
	f.node.pending = append(f.node.pending, change{off: size})
	return nil
}

func (f *file) Sync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.before(SyncFile, f.name); err != nil {
		if !errors.Is(err, ErrPower) {
			f.node.pending = nil // the cache says that these pages are clean, and they are not on the disk
		}
		return err
	}
	for _, c := range f.node.pending {
		if c.data == nil {
			f.node.durable = resize(f.node.durable, c.off)
		} else {
			f.node.durable = put(f.node.durable, c.off, c.data)
		}
	}
	f.node.pending = nil
	return nil
}

func (f *file) Size() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.dead {
		return 0, ErrPower
	}
	return int64(len(f.node.now)), nil
}

func (f *file) Close() error { return nil }
