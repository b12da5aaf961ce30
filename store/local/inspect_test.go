package local

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/disk"
	"github.com/redoubtmq/redoubt/store/storetest/faultfs"
)

// opened is open after an inspection, which must have changed nothing and said the
// same. The tests of crashes and damage open their logs by it.
func opened(dir disk.Dir, o Options) (*Log, *Report, error) {
	d, fake := dir.(*faultfs.FS)
	before := 0
	if fake {
		before = d.Changes()
	}
	seen, refused := Inspect(dir, nil)
	if fake && d.Changes() != before {
		return nil, nil, fmt.Errorf("an inspection made %d changes", d.Changes()-before)
	}
	l, rep, err := open(dir, o)
	switch {
	case refused != nil && (err == nil || err.Error() != refused.Error()):
		return nil, nil, fmt.Errorf("inspect refuses with %w, open says %w", refused, err)
	case refused == nil && err == nil && !reflect.DeepEqual(seen, rep):
		return nil, nil, fmt.Errorf("inspect says\n%+v\nopen says\n%+v", *seen, *rep)
	}
	return l, rep, err
}

// The report says what a person asks about a damaged log.
func TestInspectSaysWhereAndWhatAndWhen(t *testing.T) {
	d := faultfs.New()
	filled(t, d, 40)
	names := segmentsOf(t, d)
	b := d.Content(names[1])
	first, _ := parseSegmentName(names[1])
	size := int(frameLength(b[headerBytes:]))
	b[headerBytes+2*size+100] ^= 1 // the third record of the segment
	d.SetContent(names[1], b)
	d.SetContent(names[0]+asideSuffix+"1", []byte("earlier"))
	d.SetContent(names[0]+newSuffix, []byte("unfinished"))
	_, rep := mustOpen(t, d, tiny)
	lost := first + 2
	want := Loss{Range: store.Range{First: lost, Last: lost}, Segment: names[1], After: int64(lost) - 1, Before: int64(lost) + 1} //nolint:gosec // small
	if len(rep.Losses) != 1 || rep.Losses[0] != want {
		t.Errorf("%+v, want %+v", rep.Losses, want)
	}
	place := Place{int64(headerBytes + 2*size), int64(size)}
	if q := rep.Quarantined[0]; len(q.Places) != 1 || q.Places[0] != place {
		t.Errorf("%+v, want %+v", q.Places, place)
	}
	if rep.Records != 39 || rep.Oldest != 1 || rep.Newest != 40 || rep.Format != formatVersion {
		t.Errorf("%+v", rep)
	}
	if fmt.Sprint(rep.Aside, rep.Tidied) != fmt.Sprint([]string{names[0] + ".bad-1"}, []string{names[0] + ".new"}) {
		t.Errorf("%v, %v", rep.Aside, rep.Tidied)
	}
	again, err := Inspect(d.Kill(), nil)
	if err != nil || !again.Losses[0].Earlier || again.Losses[0].After != want.After || len(again.Quarantined) > 0 || len(again.Aside) != 2 {
		t.Errorf("after the repair: %+v, %v", again, err)
	}
}

// A loss at a segment's end is dated by the segments around it.
func TestALostFileIsDatedByItsNeighbours(t *testing.T) {
	d := faultfs.New()
	filled(t, d, 60)
	names := segmentsOf(t, d)
	second, _ := parseSegmentName(names[1])
	third, _ := parseSegmentName(names[2])
	if err := d.Remove(names[1]); err != nil {
		t.Fatal(err)
	}
	rep, err := Inspect(d, nil)
	if err != nil || len(rep.Losses) != 1 {
		t.Fatalf("%+v, %v", rep, err)
	}
	if l := rep.Losses[0]; l.Range != (store.Range{First: second, Last: third - 1}) || l.Earlier || l.After != int64(second)-1 || l.Before != int64(third) { //nolint:gosec // small
		t.Errorf("%+v", l)
	}
}

// Where nobody knows how far a segment went, the report does not pretend.
func TestAnEndThatNobodyKnowsIsAtMost(t *testing.T) {
	d := faultfs.New()
	filled(t, d, 5)
	name := segmentsOf(t, d)[0]
	d.SetContent(name, make([]byte, len(d.Content(name))))
	for round := range 2 {
		l, rep := mustOpen(t, d, tiny)
		if len(rep.Losses) != 1 || !rep.Losses[0].AtMost || rep.Losses[0].Earlier != (round == 1) || rep.CutBytes != 0 {
			t.Errorf("round %d: %+v", round, rep)
		}
		shut(l)
	}
}

// What is written right and is no record to this program is named: a tail will
// stop there.
func TestUnknownRecordsAreNamed(t *testing.T) {
	d := faultfs.New()
	filled(t, d, 3)
	name := segmentsOf(t, d)[0]
	b := d.Content(name)
	size := (len(b) - headerBytes - sealBytes) / 3
	at := headerBytes + size
	b[at+frameBytes] |= 0xf0 // a record format of the future
	finishFrame(b[at:at+size], markerOf(logID(b[16:32]), 1), frameBatch, uint32(at), 2, 1)
	d.SetContent(name, b)
	l, rep := mustOpen(t, d, tiny)
	defer shut(l)
	if len(rep.Unknown) != 1 || rep.Unknown[0].Offset != int64(at) || rep.Err() != nil || len(rep.Quarantined) > 0 {
		t.Errorf("%+v", rep)
	}
}

// With every copy of the id gone, a client must not be able to know the next one.
func TestALostIDIsReplacedByASecret(t *testing.T) {
	d := faultfs.New()
	l, _ := mustOpen(t, d, tiny)
	forged := store.AppendRecord(make([]byte, frameBytes), &store.Record{Kind: store.User, Body: []byte("mallory")})
	finishFrame(forged, markerOf(logID{}, 1), frameBatch, headerBytes, 1, 1)
	l.Submit(0, []store.Record{{Kind: store.Message, Body: forged}}, func(store.Seq, error) {})
	l.step()
	shut(l)
	name := segmentsOf(t, d)[0]
	for _, id := range [][]byte{nil, make([]byte, 16)} {
		b := d.Content(name)
		clear(b[:headerBytes])
		d := faultfs.New()
		d.SetContent(name, b)
		if id != nil {
			d.SetContent(idName, id)
		}
		if rep, err := Inspect(d, nil); err != nil || rep.Records != 0 || len(rep.Losses) != 1 {
			t.Errorf("%+v, %v", rep, err)
		}
	}
}

// A log that is only an id was emptied, or its first write failed.
func TestABareLogIsSaid(t *testing.T) {
	d := faultfs.New()
	if rep, err := Inspect(d, nil); err != nil || rep.Bare || !rep.Clean {
		t.Errorf("%+v, %v", rep, err)
	}
	d.SetContent(idName, make([]byte, 16))
	if rep, err := Inspect(d, nil); err != nil || !rep.Bare {
		t.Errorf("%+v, %v", rep, err)
	}
}

// Repair leaves what Open leaves: a log that is whole and closed.
func TestRepairIsOpenAndClose(t *testing.T) {
	whole := faultfs.New()
	filled(t, whole, 40)
	for seed := range uint64(100) {
		rnd := rand.New(rand.NewPCG(seed, 12)) //nolint:gosec // a test
		byOpen, byRepair := faultfs.New(), faultfs.New()
		for _, d := range []*faultfs.FS{byOpen, byRepair} {
			copyLog(t, d, whole)
		}
		flip(rnd, byOpen, segmentsOf(t, whole))
		copyLog(t, byRepair, byOpen)
		l, want := mustOpen(t, byOpen, tiny)
		shut(l)
		var done, total int64
		got, err := Repair(byRepair, func(d, n int64) {
			if d <= done {
				t.Errorf("seed %d: progress went from %d to %d", seed, done, d)
			}
			done, total = d, n
		})
		if err != nil || !reflect.DeepEqual(got, want) || done != total || total == 0 {
			t.Fatalf("seed %d: %+v, %v, want %+v; read %d of %d", seed, got, err, want, done, total)
		}
		names, _ := byOpen.List()
		if others, _ := byRepair.List(); !slices.Equal(names, others) {
			t.Fatalf("seed %d: %v, want %v", seed, others, names)
		}
		for _, n := range names {
			if string(byOpen.Content(n)) != string(byRepair.Content(n)) {
				t.Fatalf("seed %d: %s differs", seed, n)
			}
		}
		if after, err := Inspect(byRepair, nil); err != nil || !after.Clean || after.CutBytes != 0 || len(after.Quarantined) > 0 {
			t.Fatalf("seed %d: afterwards %+v, %v", seed, after, err)
		}
	}
}

// TestInspectChangesNoFile: on a real folder that cannot be written, whatever is
// wrong with it, bytes and times stay.
func TestInspectChangesNoFile(t *testing.T) {
	whole := faultfs.New()
	filled(t, whole, 40)
	names := segmentsOf(t, whole)
	for seed := range uint64(20) {
		dir := t.TempDir()
		d := faultfs.New()
		copyLog(t, d, whole)
		flip(rand.New(rand.NewPCG(seed, 13)), d, names) //nolint:gosec // a test
		d.SetContent(names[0]+newSuffix, []byte("unfinished"))
		d.SetContent(names[2]+rebuiltSuffix, d.Content(names[2])) // a repair that stopped between its renames
		d.SetContent(names[2]+asideSuffix+"1", d.Content(names[2]))
		if err := d.Remove(names[2]); err != nil {
			t.Fatal(err)
		}
		all, _ := d.List()
		for _, n := range all {
			if err := os.WriteFile(filepath.Join(dir, n), d.Content(n), 0o400); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		before := snapshot(t, dir)
		look, err := disk.Look(dir)
		if err != nil {
			t.Fatal(err)
		}
		rep, err := Inspect(look, nil)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if after := snapshot(t, dir); after != before {
			t.Fatalf("seed %d: it was\n%sand is\n%s", seed, before, after)
		}
		if l, same, err := opened(d, tiny); err != nil || !reflect.DeepEqual(rep, same) {
			t.Fatalf("seed %d: %+v, %v, want %+v", seed, rep, err, same)
		} else {
			shut(l)
		}
		if err := os.Chmod(dir, 0o700); err != nil { // so that it can be removed
			t.Fatal(err)
		}
	}
}

// snapshot is everything of a folder that a program could change.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %v %v", p, fi.Mode(), fi.ModTime().UnixNano())
		if fi.Mode().IsRegular() {
			content, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %x", content)
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
