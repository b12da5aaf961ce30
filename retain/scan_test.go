package retain

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
)

// scanned walks by portions of max, keeping its cursor as bytes, as somebody does
// who answers page by page.
func scanned(s *Store, now int64, filter string, max int) (got []string) {
	var kept []byte
	for {
		cur := CursorAt(slices.Clone(kept))
		done, err := s.Scan(at(now), filter, &cur, max, func(f *mqtt.Frame) bool {
			got = append(got, string(f.Topic()))
			return true
		})
		if err != nil {
			panic(err)
		}
		if done {
			return got
		}
		kept = slices.Clone(cur.Bytes())
	}
}

// Everything is everything, in order, whatever the portions; another filter is
// what Walk makes of it.
func TestScan(t *testing.T) {
	s := New(unlimited)
	for _, name := range []string{"a", "a/b", "a/b/c", "/a", "b/b", "$SYS/b", "$x", "old/b"} {
		f := frame(name, "x")
		if strings.HasPrefix(name, "old") {
			f.ExpiresAt = 100
		}
		put(t, s, f)
	}
	for filter, want := range map[string]string{
		Everything: "/a $SYS/b $x a a/b a/b/c b/b", "#": "/a a a/b a/b/c b/b", "$SYS/#": "$SYS/b", "a/b": "a/b", "a/+": "a/b", "nothing": "", "old/b": "",
	} {
		for _, max := range []int{1, 2, 100} {
			if got := strings.Join(scanned(s, 100, filter, max), " "); got != want {
				t.Errorf("Scan(%q) by %d = %q, want %q", filter, max, got, want)
			}
		}
	}
}

// A cursor nobody wrote leads somewhere and to an end (A174).
func TestScanFromAnywhere(t *testing.T) {
	s := New(unlimited)
	for i := range 300 {
		put(t, s, frame(fmt.Sprintf("a/%d/b", i), "x"))
	}
	for _, b := range []string{"\x00", "\xff\xff", "a", "a/1", "zzz", "/", strings.Repeat("/", 70_000)} {
		for _, filter := range []string{Everything, "#", "a/+/b", "a/7/b"} {
			cur := CursorAt([]byte(b))
			for n, done := 0, false; !done; n++ {
				if done, _ = s.Scan(at(0), filter, &cur, 7, func(*mqtt.Frame) bool { return true }); n > 1000 {
					t.Fatalf("Scan(%q) from %.10q does not end", filter, b)
				}
			}
		}
	}
}

// Clear looks at no more than it was told, takes exactly what matches, and leaves
// a message that came in between.
func TestClear(t *testing.T) {
	s := New(unlimited)
	for i := range 1000 {
		put(t, s, frame(fmt.Sprintf("a/%d/b", i), "x"))
		put(t, s, frame(fmt.Sprintf("a/%d/c", i), "x"))
	}
	put(t, s, frame("$SYS/b", "x"))
	version, steps, removed := s.Version(), 0, 0
	var cur Cursor
	for done := false; !done; steps++ {
		var n int
		n, done, _ = s.Clear(t.Context(), at(0), "a/+/b", &cur, 100)
		if removed += n; n > 100 {
			t.Fatalf("a step removed %d", n)
		}
	}
	if left, _ := s.Stats(); removed != 1000 || left != 1001 || steps < 10 || s.Version() != version {
		t.Errorf("%d removed in %d steps, %d left, version %d -> %d", removed, steps, left, version, s.Version())
	}
	if got := scanned(s, 0, "a/+/b", 100); len(got) != 0 {
		t.Errorf("still there: %q", got)
	}

	f := frame("$SYS/b", "old").Hold()
	put(t, s, f)
	put(t, s, frame("$SYS/b", "new"))
	if s.drop(f) {
		t.Error("a message that had been replaced was removed in place of the new one")
	}
	f.Release()
	if n, done, _ := s.Clear(t.Context(), at(0), "$SYS/b", new(Cursor), 1); n != 1 || !done {
		t.Errorf("one topic: %d, %v", n, done)
	}
	if n, done, _ := s.Clear(t.Context(), at(0), Everything, new(Cursor), 5000); n != 1000 || !done {
		t.Errorf("everything: %d, %v", n, done)
	}
	if n, bytes := s.Stats(); n != 0 || bytes != 0 {
		t.Errorf("%d messages of %d bytes are left", n, bytes)
	}
}
