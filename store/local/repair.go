package local

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/disk"
)

// settle makes the end of the newest segment what it seems to be. What a crash
// left is cut off. The last write is written once more and flushed before anybody
// is shown it: after a flush that failed, or a kill, the kernel's cache can hold
// pages that the disk does not and no longer knows that it must write them. Then
// the segment is sealed; it is never written again.
func (r *recovery) settle(f disk.File, s *scanned, e ending) error {
	if s.seal != nil {
		if s.tail == 0 {
			return nil
		}
		if err := f.Truncate(s.size); err != nil {
			return fmt.Errorf("cut %s: %w", s.name, err)
		}
		return f.Sync()
	}
	if err := f.Truncate(s.size); err != nil {
		return fmt.Errorf("cut %s: %w", s.name, err)
	}
	buf := make([]byte, windowBytes)
	for off := s.group; off < s.size; {
		b := buf[:min(int64(len(buf)), s.size-off)]
		if n, err := f.ReadAt(b, off); n < len(b) {
			return &store.DamageError{Segment: s.name, Offset: off + int64(n), Err: err}
		}
		if err := writeAll(f, b, off); err != nil {
			return fmt.Errorf("write the end of %s again: %w", s.name, err)
		}
		off += int64(len(b))
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("flush %s: %w", s.name, err)
	}
	seal := appendSeal(nil, s.marker, s.size, e.next, e.last)
	if err := writeAll(f, seal, s.size); err != nil {
		if !noSpace(err) {
			return fmt.Errorf("seal %s: %w", s.name, err)
		}
		if err := f.Truncate(s.size); err != nil { // it stays without; the next Open leaves out more numbers
			return fmt.Errorf("cut %s: %w", s.name, err)
		}
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("flush %s: %w", s.name, err)
	}
	return nil
}

// quarantine puts a damaged segment aside and what can be read of it in its
// place. At every moment a crash leaves the old one or the new one where tidy
// finds it.
func (r *recovery) quarantine(h *head, w *window, s *scanned, e ending, newest bool, missing []*store.MissingError) (*scanned, error) {
	names, err := r.dir.List()
	if err != nil {
		return nil, err
	}
	q := Quarantine{Segment: h.name, Places: places(h, s), Missing: missing}
	for n := 1; q.Aside == "" || slices.Contains(names, q.Aside); n++ {
		q.Aside = fmt.Sprintf("%s%s%d", h.name, asideSuffix, n)
	}
	r.report.Quarantined = append(r.report.Quarantined, q)
	size, err := r.rebuild(h, w, s, e, newest)
	if err != nil {
		return nil, fmt.Errorf("save what can be read of %s: %w", h.name, err)
	}
	h.rebuilt, h.bad = true, false
	if r.dry {
		saved := *s
		saved.size = size
		return &saved, nil
	}
	return r.replace(h, q.Aside)
}

// places are what is damaged of a segment.
func places(h *head, s *scanned) (out []Place) {
	if h.lost(s) {
		return []Place{{0, h.size}}
	}
	if h.bad {
		out = append(out, Place{0, min(headerBytes, h.size)})
	}
	for _, o := range s.holes {
		out = append(out, Place{o.off, o.end - o.off})
	}
	return out
}

// rebuild writes the frames of a damaged segment to a new file, flushes it and
// answers its size. A dry one only counts.
func (r *recovery) rebuild(h *head, w *window, s *scanned, e ending, newest bool) (int64, error) {
	good := h.header
	good.rebuilt = true
	out := &copier{buf: good.append(nil)}
	if !r.dry {
		f, err := r.dir.Create(h.name + newSuffix)
		if err != nil {
			return 0, err
		}
		defer func() { _ = f.Close() }()
		out.f = f
	}
	if _, err := scan(w, h.name, &h.header, out.write); err != nil {
		return 0, err
	}
	if newest && s.seal == nil {
		if err := out.write(appendSeal(nil, markerOf(h.log, h.first), 0, e.next, e.last)); err != nil {
			return 0, err
		}
	}
	return out.finish()
}

// replace lets the rebuilt file take the segment's place, and reads it back.
func (r *recovery) replace(h *head, aside string) (*scanned, error) {
	for _, step := range [][2]string{
		{h.name + newSuffix, h.name + rebuiltSuffix},
		{h.name, aside},
		{h.name + rebuiltSuffix, h.name},
	} {
		if err := r.dir.Rename(step[0], step[1]); err != nil {
			return nil, err
		}
		if err := r.dir.Sync(); err != nil {
			return nil, err
		}
	}
	f, err := r.dir.Open(h.name, false)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	return scan(&window{name: h.name, f: f, size: size}, h.name, &h.header, nil)
}

// copier gathers small writes. Without a file it only counts.
type copier struct {
	f   disk.File
	off int64
	buf []byte
}

func (c *copier) write(b []byte) error {
	if c.buf = append(c.buf, b...); len(c.buf) < windowBytes {
		return nil
	}
	return c.flush()
}

func (c *copier) flush() (err error) {
	if c.f != nil {
		err = writeAll(c.f, c.buf, c.off)
	}
	c.off += int64(len(c.buf))
	c.buf = c.buf[:0]
	return err
}

// finish makes all of it durable and answers how much it is.
func (c *copier) finish() (int64, error) {
	if err := c.flush(); err != nil || c.f == nil {
		return c.off, err
	}
	return c.off, c.f.Sync()
}

// writeAll writes b at off or says why not.
func writeAll(f disk.File, b []byte, off int64) error {
	n, err := f.WriteAt(b, off)
	if err == nil && n < len(b) {
		err = fmt.Errorf("the system wrote %d of %d bytes", n, len(b))
	}
	return err
}

// noSpace tells whether an error passes when there is space again.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// newLogID makes an id that nobody can guess.
func newLogID(id *logID) { _, _ = rand.Read(id[:]) } // it never fails: crypto/rand ends the process rather
