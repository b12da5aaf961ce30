package view

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/storetest/faultfs"
)

// message is a record for filters.
func message(payload string, ids ...fact.FilterID) store.Record {
	m := fact.Message{Topic: []byte("a/b"), Payload: []byte(payload), Filters: ids}
	return store.Record{Kind: store.Message, At: 1, Body: m.Append(nil)}
}

// refused opens a view that must not open, and answers why.
func refused(t *testing.T, o Options) string {
	t.Helper()
	v, err := Open(t.Context(), o)
	if err == nil {
		_ = v.Close()
		t.Fatal("it opened")
	}
	return err.Error()
}

func wantText(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q does not say %q", text, p)
		}
	}
}

func TestKeyIsMadeOnceAndStays(t *testing.T) {
	dir, fs := faultfs.New(), vfs.NewMem()
	var key fact.Key
	for round := range 3 {
		l := openLog(t, dir, smallLog)
		if round == 2 {
			fs = vfs.NewMem() // it is in the log
		}
		v := mustOpen(t, Options{Log: l, Folder: "index", FS: fs})
		if round > 0 && *v.Key() != key || *v.Key() == (fact.Key{}) {
			t.Errorf("round %d: the key is %x and was %x", round, *v.Key(), key)
		}
		key = *v.Key()
		if v.Applied() != 1 {
			t.Errorf("round %d: %d records", round, v.Applied())
		}
		shut(t, v, l)
	}
}

func shut(t fataler, v *View, l store.Log) {
	t.Helper()
	if err := v.Close(); err != nil {
		t.Fatalf("close the view: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatalf("close the log: %v", err)
	}
}

func TestLogWithoutAKeyGetsOneAndSaysSo(t *testing.T) {
	l := openLog(t, faultfs.New(), smallLog)
	put(t, l, message("x", 1))
	var heard alarms
	v := mustOpen(t, Options{Log: l, Folder: "index", FS: vfs.NewMem(), Alarm: heard.hear})
	defer shut(t, v, l)
	if heard.count("key") != 1 || v.Applied() != 2 {
		t.Errorf("%v, applied %d", heard.list, v.Applied())
	}
}

func TestIndexAheadOfTheLogIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	first := openLog(t, faultfs.New(), smallLog)
	v := mustOpen(t, Options{Log: first, Folder: "index", FS: fs})
	v.Run(newEar())
	for range 5 {
		put(t, first, message("x", 1))
	}
	shutWhenApplied(t, v, first, 6)

	second := openLog(t, faultfs.New(), smallLog)
	put(t, second, message("y", 1))
	wantText(t, refused(t, Options{Log: second, Folder: "index", FS: fs}), "index in index has applied record 6 and the log ends with 1", "was lost or replaced")
	for range 7 {
		put(t, second, message("y", 1))
	}
	wantText(t, refused(t, Options{Log: second, Folder: "index", FS: fs}), "record 6 is not the one", "another log")
	_ = second.Close()
}

// shutWhenApplied waits until the view has applied a record.
func shutWhenApplied(t fataler, v *View, l store.Log, seq store.Seq) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for v.Applied() < seq {
		if ctx.Err() != nil {
			t.Fatalf("applied %d, want %d", v.Applied(), seq)
		}
	}
	shut(t, v, l)
}

func TestIndexOlderThanTheLogBeginsIsRefused(t *testing.T) {
	dir := faultfs.New()
	l := openLog(t, dir, smallLog)
	old := vfs.NewMem()
	shutView(t, mustOpen(t, Options{Log: l, Folder: "index", FS: old}))
	for range 40 {
		put(t, l, message(strings.Repeat("x", 500), 1))
	}
	if err := l.Trim(t.Context(), 0, 30); err != nil {
		t.Fatal(err)
	}
	if first, _, _ := l.Bounds(t.Context(), 0); first < 10 {
		t.Fatalf("the log still begins with %d", first)
	}
	wantText(t, refused(t, Options{Log: l, Folder: "index", FS: old}), "has applied record 1 and the log begins with", "too old")
	wantText(t, refused(t, Options{Log: l, Folder: "index", FS: vfs.NewMem()}), "there is no index in index and the log begins with", "Restore both")
	_ = l.Close()
}

func shutView(t fataler, v *View) {
	t.Helper()
	if err := v.Close(); err != nil {
		t.Fatalf("close the view: %v", err)
	}
}

func TestNewerFormatIsRefused(t *testing.T) {
	l, fs := openLog(t, faultfs.New(), smallLog), vfs.NewMem()
	v := mustOpen(t, Options{Log: l, Folder: "index", FS: fs})
	if err := v.ix.db.Set([]byte{tableFormat}, []byte{formatVersion + 1}, pebble.NoSync); err != nil {
		t.Fatal(err)
	}
	shutView(t, v)
	wantText(t, refused(t, Options{Log: l, Folder: "index", FS: fs}), "index in index cannot be read", "its format is 04 and this version reads 1 to 3", "newer broker")
	_ = l.Close()
}

func TestIndexThatCannotBeReadNamesTheRemedy(t *testing.T) {
	l, folder := openLog(t, faultfs.New(), smallLog), t.TempDir()
	o := Options{Log: l, Folder: filepath.Join(folder, "index")}
	shutView(t, mustOpen(t, o))
	if info, err := os.Stat(o.Folder); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder: %v, %v", info.Mode(), err)
	}
	names, err := filepath.Glob(filepath.Join(o.Folder, "MANIFEST-*"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, n := range names {
		if err := os.WriteFile(n, []byte("this is no manifest at all"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wantText(t, refused(t, o), o.Folder, "cannot be read", "move the folder away and start again")
	if err := os.RemoveAll(o.Folder); err != nil { // the remedy
		t.Fatal(err)
	}
	shutView(t, mustOpen(t, o))
	_ = l.Close()
}

func TestTwoViewsOfOneFolderAreRefused(t *testing.T) {
	l, o := openLog(t, faultfs.New(), smallLog), Options{Folder: t.TempDir()}
	o.Log = l
	v := mustOpen(t, o)
	refused(t, o)
	shut(t, v, l)
}

func TestNothingAnswersAfterClose(t *testing.T) {
	l := openLog(t, faultfs.New(), smallLog)
	v := mustOpen(t, Options{Log: l, Folder: "index", FS: vfs.NewMem()})
	v.Run(newEar())
	shut(t, v, l)
	if err := v.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
	v.Run(newEar()) // nothing starts
	_, _, pending := v.Pending(&Query{}, nil)
	_, trim := v.Trim(t.Context(), 1)
	for name, err := range map[string]error{
		"Sessions": v.Sessions(nil), "Retained": v.Retained(nil), "Values": v.Values(store.Key, nil), "Postings": v.Postings(nil), "Pending": pending, "Trim": trim,
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if v.Stats() != (Stats{}) {
		t.Error("Stats has numbers")
	}
}

// An fn may ask the view again, also while somebody waits to close it.
func TestReadersMayAskAgain(t *testing.T) {
	l := openLog(t, faultfs.New(), smallLog)
	v := mustOpen(t, Options{Log: l, Folder: "index", FS: vfs.NewMem()})
	closed := make(chan error, 1)
	err := v.Values(store.Key, func(string, []byte) error {
		go func() { closed <- v.Close() }()
		err := v.Sessions(func(*Session) error { return nil })
		for err == nil { // until Close has begun
			err = v.Sessions(func(*Session) error { return nil })
		}
		return err
	})
	if !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	_ = l.Close()
}

// A log that is opened meanwhile is asked for when the rows are read, once. What is wrong with it
// comes before what is wrong with the index, whose remedy depends on it.
func TestTheLogMayComeLater(t *testing.T) {
	fs := vfs.NewMem()
	l := openLog(t, faultfs.New(), smallLog)
	put(t, l, claimOf(1, 1))
	shutView(t, mustOpen(t, Options{Log: l, Folder: "index", FS: fs}))
	asked := 0
	o := Options{Folder: "index", FS: fs, Await: func() (store.Log, error) { asked++; return l, nil }}
	v := mustOpen(t, o)
	if _, all := sessionsOf(t, v); len(all) != 1 || asked != 1 {
		t.Errorf("%d sessions; asked for the log %d times", len(all), asked)
	}
	shutView(t, v)

	damaged := errors.New("the log is damaged")
	late := o
	late.Await = func() (store.Log, error) { asked++; return nil, damaged }
	if _, err := Open(t.Context(), late); !errors.Is(err, damaged) || err.Error() != damaged.Error() {
		t.Errorf("%v, want what is wrong with the log", err)
	}
	names, err := fs.List("index")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if strings.HasPrefix(n, "MANIFEST-") {
			f, err := fs.Create("index/"+n, vfs.WriteCategoryUnspecified)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = f.Write([]byte("this is no manifest at all"))
			_ = f.Close()
		}
	}
	if _, err := Open(t.Context(), late); !errors.Is(err, damaged) || err.Error() != damaged.Error() {
		t.Errorf("%v, want what is wrong with the log", err)
	}
	asked = 0
	wantText(t, refused(t, o), "index in index cannot be read", "move the folder away")
	if asked != 1 {
		t.Errorf("asked for the log %d times", asked)
	}
	_ = l.Close()
}
