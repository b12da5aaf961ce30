package mqtt

import "testing"

// TestVarint walks the borders of the variable byte integer both ways.
func TestVarint(t *testing.T) {
	for n, want := range map[int]string{
		0: "\x00", 127: "\x7f", 128: "\x80\x01", 16383: "\xff\x7f", 16384: "\x80\x80\x01",
		2097151: "\xff\xff\x7f", 2097152: "\x80\x80\x80\x01", RemainingMax: "\xff\xff\xff\x7f",
	} {
		got := appendVarint(nil, n)
		if string(got) != want || varintSize(n) != len(want) {
			t.Errorf("%d: % x, size %d; want % x", n, got, varintSize(n), want)
		}
		if m, size, err := readVarint(got, true); int(m) != n || size != len(want) || err != nil {
			t.Errorf("%d: read %d, %d, %v", n, m, size, err)
		}
	}
	mustPanic(t, func() { appendVarint(nil, RemainingMax+1) })
	mustPanic(t, func() { appendVarint(nil, -1) })
}

// TestHeaderFlags reads the flags of a PUBLISH.
func TestHeaderFlags(t *testing.T) {
	for flags := range 16 {
		h, ok, err := ReadHeader([]byte{byte(PUBLISH)<<4 | byte(flags), 3}, V5)
		legal := flags&6 != 6 && (flags&8 == 0 || flags&6 != 0)
		if ok != legal || (err == nil) != legal {
			t.Errorf("flags %04b: ok %v, %v", flags, ok, err)
		}
		if !legal {
			continue
		}
		if got := publishFlags(h.QoS(), h.Dup(), h.Retain()); got != byte(flags) {
			t.Errorf("flags %04b: read as %04b", flags, got)
		}
	}
}
