package local

import (
	"testing"

	"github.com/redoubtmq/redoubt/store/disk"
)

// asked is a file that notes what it is to read ahead.
type asked struct {
	disk.File
	size, read, next int64
	t                *testing.T
}

func (a *asked) Ahead(off, n int64) {
	if off != a.next || n <= 0 || off+n > a.size {
		a.t.Errorf("asked for %d from %d on, after %d of %d", n, off, a.next, a.size)
	}
	if off-a.read > aheadBytes {
		a.t.Errorf("asked for what is %d bytes away", off-a.read)
	}
	a.next = off + n
}

func (a *asked) ReadAt(b []byte, off int64) (int, error) {
	if a.read = off + int64(len(b)); a.read > a.next {
		a.t.Errorf("%d is read, and the disk was asked for %d", a.read, a.next)
	}
	return len(b), nil
}

// A segment that is read as a whole is asked for before it is read, each byte once, and never
// much of it at a time.
func TestTheDiskIsAskedAhead(t *testing.T) {
	for _, size := range []int64{100, aheadBytes, 5*aheadBytes + 77} {
		f := &asked{t: t, size: size}
		w := (&window{f: f, size: size, moved: func(int64) {}}).front()
		for off := int64(0); off < size; off += windowBytes {
			if _, err := w.at(off, int(min(windowBytes, size-off))); err != nil {
				t.Fatal(err)
			}
		}
		if f.next != size {
			t.Errorf("asked for %d bytes of %d", f.next, size)
		}
	}
}
