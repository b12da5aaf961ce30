package local

import (
	"bytes"
	"cmp"
	"errors"
	"io"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/disk"
)

// windowBytes is how much is read at once, in bytes: large enough that a system
// call costs nothing beside the checksum, small enough for a reader each.
const windowBytes = 256 << 10

// window reads a file front to back through one buffer.
type window struct {
	name  string
	f     disk.File
	size  int64           // what lies after it is not read
	reach int             // how much is read at once; 0: windowBytes
	moved func(end int64) // told how far the file was read; may be nil

	buf []byte
	off int64 // where in the file buf begins

	ahead int64 // as far the disk was asked to read already; -1: it cannot be asked
}

// aheadBytes is how much the disk is asked to read while what comes before is looked at, in
// bytes: with what it finds by itself, 128 KiB, it rests every time that we do.
const aheadBytes = 8 << 20

// ahead is a file that can be told what is read next.
type ahead interface{ Ahead(off, n int64) }

// front makes w one that is read as a whole.
func (w *window) front() *window {
	if _, can := w.f.(ahead); can {
		w.askAhead(0)
	} else {
		w.ahead = -1
	}
	return w
}

func (w *window) askAhead(off int64) {
	if w.ahead >= 0 && w.ahead < w.size && w.ahead-off <= aheadBytes/2 {
		n := min(aheadBytes, w.size-w.ahead)
		w.f.(ahead).Ahead(w.ahead, n)
		w.ahead += n
	}
}

// at answers n bytes at off, valid until the next call; nil when the file (or
// what may be read of it) ends before. It grows the buffer only for bytes that
// are there. What the system refuses to read is a *store.DamageError.
func (w *window) at(off int64, n int) ([]byte, error) {
	if n < 0 || off < 0 || off > w.size-int64(n) {
		return nil, nil
	}
	if off >= w.off && off+int64(n) <= w.off+int64(len(w.buf)) {
		return w.buf[off-w.off:][:n], nil
	}
	want := int(min(w.size-off, int64(max(n, cmp.Or(w.reach, windowBytes)))))
	if cap(w.buf) < want {
		w.buf = make([]byte, want)
	}
	w.buf, w.off = w.buf[:want], off
	m, err := w.f.ReadAt(w.buf, off)
	w.buf = w.buf[:m]
	if w.moved != nil {
		w.moved(off + int64(m))
		w.askAhead(off + int64(m))
	}
	if m >= n {
		return w.buf[:n], nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return nil, nil // shorter than we thought
	}
	return nil, &store.DamageError{Segment: w.name, Offset: off + int64(m), Err: err}
}

// frameAt answers the frame at off, or false if none that is whole and right is
// there.
func (w *window) frameAt(off int64, m marker) (f frame, raw []byte, ok bool, err error) {
	head, err := w.at(off, frameBytes)
	if head == nil || !bytes.Equal(head[:len(m)], m[:]) {
		return f, nil, false, err
	}
	n := frameLength(head)
	if n > frameBytes+batchBytesMax {
		return f, nil, false, nil
	}
	raw, err = w.at(off, int(n))
	if raw == nil {
		return f, nil, false, err
	}
	f, ok = parseFrame(raw, m)
	return f, raw, ok, nil
}

// search answers where the next frame that is whole and right begins, at or
// after off; w.size if there is none.
func (w *window) search(off int64, m marker) (int64, error) {
	for off < w.size {
		n := int(min(w.size-off, windowBytes))
		b, err := w.at(off, n)
		if err != nil {
			return 0, err
		}
		if b == nil {
			return w.size, nil
		}
		i := bytes.Index(b, m[:])
		if i < 0 {
			off += int64(max(1, n-len(m)+1)) // a marker may begin in what is left
			continue
		}
		off += int64(i)
		_, _, ok, err := w.frameAt(off, m)
		if ok || err != nil {
			return off, err
		}
		off++
	}
	return w.size, nil
}
