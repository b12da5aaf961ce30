package local

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/storetest/faultfs"
)

var rewrite = flag.Bool("rewrite", false, "write the log of this format version to testdata; never over one that was released")

// listing is a log as a person reads it.
func listing(t *testing.T, l *Log) string {
	t.Helper()
	var b strings.Builder
	first, last := l.cat.bounds()
	fmt.Fprintf(&b, "records %d to %d\n", first, last)
	err := l.Tail(context.Background(), 0, first, func(first store.Seq, recs []store.Record) error {
		for i, r := range recs {
			fmt.Fprintf(&b, "%d.%d %v sid=%x epoch=%d at=%d %q\n", first, i, r.Kind, r.SID, r.Epoch, r.At, r.Body)
		}
		if first+store.Seq(len(recs)) > last { //nolint:gosec // small
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	return b.String()
}

// TestFormatOneIsReadForEver: every format version that was released has a folder
// in testdata, and each must be readable by this program. A program with a new
// version adds a folder and leaves the others as they are.
func TestFormatOneIsReadForEver(t *testing.T) {
	dir := filepath.Join("testdata", "format1")
	if *rewrite {
		writeSample(t, dir)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) < 4 {
		t.Fatalf("%d files in %s, %v", len(files), dir, err)
	}
	d := faultfs.New()
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		d.SetContent(filepath.Base(f), b)
	}
	l, rep := mustOpen(t, d, Options{ReserveBytes: -1})
	defer shut(l)
	if !rep.Clean || rep.CutBytes != 0 || rep.Err() != nil {
		t.Fatalf("%+v, %v", rep, rep.Err())
	}
	if got, want := listing(t, l), string(d.Content("listing")); got != want {
		t.Errorf("it reads\n%swant\n%s", got, want)
	}
	mustCommit(t, l, 1)
}

// writeSample makes a log of three segments with every kind.
func writeSample(t *testing.T, dir string) {
	d := faultfs.New()
	for run := range 3 {
		l, _ := mustOpen(t, d, tiny)
		for k := store.Message; (&store.Record{Kind: k}).Valid(); k++ {
			recs := []store.Record{{Kind: k, SID: store.SID{byte(k), 15: byte(run)}, Epoch: uint64(run), At: 1_790_000_000_000 + int64(k), Body: fmt.Append(nil, "body of ", k)}}
			if k%3 == 0 {
				recs = append(recs, store.Record{Kind: k})
			}
			l.Submit(0, recs, func(store.Seq, error) {})
			if k%4 == 0 {
				l.step()
			}
		}
		shut(l)
	}
	l, _ := mustOpen(t, d, tiny)
	text := listing(t, l)
	shut(l)
	names, err := d.List()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if err := os.WriteFile(filepath.Join(dir, n), d.Content(n), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "listing"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// What is written is format 1 to the byte: an old program must be able to read
// what this one writes while both say 1.
func TestFormatOneIsWrittenToTheByte(t *testing.T) {
	id := logID{1, 2, 3}
	h := header{log: id, first: 7, follows: 5}
	b := h.append(nil)
	m := markerOf(id, 7)
	at := len(b)
	b = append(b, make([]byte, frameBytes)...)
	b = store.AppendRecord(b, &store.Record{Kind: store.Message, SID: store.SID{15: 1}, Epoch: 2, At: 3, Body: []byte("body")})
	finishFrame(b[at:], m, frameBatch, headerBytes, 7, 1)
	b = appendSeal(b, m, int64(len(b)), 8, 7)
	const want = `52444254 4c4f470a 01000000 00000000 01020300 00000000 00000000 00000000 07000000 00000000 05000000 00000000 00000000 00000000 00000000`
	if got := words(b[:60]); got != want {
		t.Errorf("header\n%s, want\n%s", got, want)
	}
	if got := fmt.Sprintf("%x", b[60:]); got != goldenTail {
		t.Errorf("checksum and frames\n%s, want\n%s", got, goldenTail)
	}
	if _, err := parseHeader(b); err != nil {
		t.Error(err)
	}
}

func words(b []byte) string {
	var out []string
	for len(b) > 0 {
		out, b = append(out, fmt.Sprintf("%x", b[:4])), b[4:]
	}
	return strings.Join(out, " ")
}

// FuzzSegment: whatever a segment file holds, Open does not panic and reads
// nothing that is not there; what it answers it answers again, and the log goes on.
func FuzzSegment(f *testing.F) {
	id := logID{9}
	h := header{log: id, first: 1}
	b := h.append(nil)
	f.Add(bytes.Clone(b))
	for i := range 3 {
		at := len(b)
		b = append(b, make([]byte, frameBytes)...)
		b = store.AppendRecord(b, &store.Record{Kind: store.Message, Body: []byte("body")})
		finishFrame(b[at:], markerOf(id, 1), frameBatch, uint32(at), store.Seq(i+1), 1) //nolint:gosec // small
		f.Add(bytes.Clone(b))
	}
	f.Add(appendSeal(b, markerOf(id, 1), int64(len(b)), 4, 3))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := faultfs.New()
		d.SetContent(segmentName(1), b)
		d.SetContent(idName, id[:])
		l, rep, err := opened(d, tiny)
		if err != nil {
			return
		}
		if _, _, err := everything(l); err != nil && !errors.Is(err, errEnough) { // a frame with a right checksum may hold a wrong record
			var bad *store.DamageError
			if !errors.As(err, &bad) {
				t.Fatal(err)
			}
		}
		if _, err := commit(l, 1); err != nil {
			t.Fatal(err)
		}
		shut(l)
		l, again := mustOpen(t, d, tiny)
		if fmt.Sprint(again.Err()) != fmt.Sprint(rep.Err()) {
			t.Fatalf("first %v, then %v", rep.Err(), again.Err())
		}
		shut(l)
	})
}

const goldenTail = "787ebbe23532fa95a0684093190000004000000007000000000000000100010089553617170100000000000000000000000000000001020604626f6479" +
	"3532fa95a068409308000000790000000800000000000000000002000717d2ad0700000000000000"
