// Package ballast is a file that only takes space, so that there is some when a disk is
// full: it is let go of, and what must still be written (the index, the end of sessions)
// can be. It is not a quota: who fills the disk in the meantime takes that space too.
//
// Rules: docs/adr/0007-log-format.md and 0008-the-view.md; reliability row R-07.
package ballast

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync"

	"github.com/redoubtmq/redoubt/store/disk"
)

const (
	// Bytes is how large it is.
	Bytes = 64 << 20
	// ReleaseBelow is how little space lets it go: less than the log leaves to others, so
	// that somebody else is filling the disk.
	ReleaseBelow = 16 << 20
	// MakeAbove is how much space there must be to make it. What is left then is enough for
	// everybody, or it would come and go.
	MakeAbove = Bytes + 192<<20

	name      = "ballast"
	temporary = "ballast.new"
	chunk     = 1 << 20
)

// allocator is a file that can be given space without writing it.
type allocator interface{ Allocate(size int64) error }

// File is the ballast in one folder. Its methods are safe for concurrent use.
type File struct {
	dir  disk.Dir
	size int64 // Bytes; less in tests

	mu   sync.Mutex // guards everything below, and the file
	held bool
}

// Open looks for the file in a folder; it makes nothing.
func Open(dir disk.Dir) (*File, error) {
	b := &File{dir: dir, size: Bytes}
	if err := dir.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) { // a crash came while it was made
		return nil, fmt.Errorf("ballast: %w", err)
	}
	f, err := dir.Open(name, false)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return b, nil
	case err != nil:
		return nil, fmt.Errorf("ballast: %w", err)
	}
	b.held = true
	return b, f.Close()
}

// Held tells whether it is there.
func (b *File) Held() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held
}

// Release lets it go, and answers whether it was there.
func (b *File) Release() (was bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.held {
		return false, nil
	}
	if err := b.dir.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("ballast: %w", err)
	}
	b.held = false
	if err := b.dir.Sync(); err != nil {
		return true, fmt.Errorf("ballast: %w", err)
	}
	return true, nil
}

// Make makes it, unless it is there; it may take as long as writing it. An error leaves
// nothing behind.
func (b *File) Make() (err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held {
		return nil
	}
	f, err := b.dir.Create(temporary)
	if err == nil {
		err = errors.Join(fill(f, b.size), f.Close())
		if err == nil {
			err = b.dir.Rename(temporary, name)
		}
		if err == nil {
			err = b.dir.Sync()
		}
	}
	if err != nil {
		_, _ = b.dir.Remove(temporary), b.dir.Remove(name) // what is left is space that somebody needs
		return fmt.Errorf("ballast: %w", err)
	}
	b.held = true
	return nil
}

// fill gives a file its space.
func fill(f disk.File, size int64) error {
	if a, can := f.(allocator); can && a.Allocate(size) == nil {
		return f.Sync()
	}
	// What is the same everywhere, some file systems would not store.
	buf, random := make([]byte, chunk), rand.NewChaCha8([32]byte{})
	for off := int64(0); off < size; off += chunk {
		_, _ = random.Read(buf) // it never fails
		if _, err := f.WriteAt(buf, off); err != nil {
			return err
		}
	}
	return f.Sync()
}

// Tend lets it go where free, the bytes the disk still has, is too little, or somebody has
// found the disk full, and makes it where there is plenty. It answers what it did.
func (b *File) Tend(free uint64, full bool) (released, made bool, err error) {
	switch {
	case free < ReleaseBelow || full:
		released, err = b.Release()
	case free >= MakeAbove && !b.Held():
		err = b.Make()
		made = err == nil
	}
	return released, made, err
}
