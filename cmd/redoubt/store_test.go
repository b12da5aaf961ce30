package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/datadir"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/local"
)

// logged is a data directory with a log of 60 records in several small segments,
// one record every two seconds, closed in order.
func logged(t *testing.T) (dataDir string) {
	t.Helper()
	dataDir = t.TempDir()
	if err := os.Chmod(dataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dataDir, datadir.LockName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, _, err := local.Open(logFolder(dataDir), local.Options{SegmentBytes: 4 << 10, ReserveBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)
	for range 60 {
		done := make(chan error, 1)
		l.Submit(0, []store.Record{{Kind: store.Message, At: at.UnixMilli(), Body: make([]byte, 200)}}, func(_ store.Seq, err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		at = at.Add(2 * time.Second)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return dataDir
}

// segments are the files of a log, oldest first.
func segments(t *testing.T, dataDir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(logFolder(dataDir), "*.seg"))
	if err != nil || len(names) < 4 {
		t.Fatalf("%v, %v", names, err)
	}
	return names
}

// change rewrites a file.
func change(t *testing.T, path string, f func(b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, f(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func cutEnd(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:len(b)-n] } }

// storeMishaps are what can have happened to a log before somebody asks.
var storeMishaps = []struct {
	name string
	do   func(t *testing.T, segs []string)
}{
	{"nothing", func(*testing.T, []string) {}},
	{"one byte in the middle turned over", func(t *testing.T, segs []string) {
		change(t, segs[1], func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	}},
	{"a segment that was repaired was damaged again", func(t *testing.T, segs []string) {
		change(t, segs[1], func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		l, _, err := local.Open(filepath.Dir(segs[1]), local.Options{})
		if err == nil {
			err = l.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		change(t, segs[1], func(b []byte) []byte { b[100] ^= 1; return b })
	}},
	{"the disk lost many places, a header among them", func(t *testing.T, segs []string) {
		change(t, segs[1], func(b []byte) []byte {
			for i := 10; i < len(b); i += 480 {
				b[i] ^= 1
			}
			return b
		})
	}},
	{"a segment was deleted", func(t *testing.T, segs []string) {
		if err := os.Remove(segs[1]); err != nil {
			t.Fatal(err)
		}
	}},
	{"the power went in the middle of a write", func(t *testing.T, segs []string) {
		change(t, segs[len(segs)-1], cutEnd(100))
	}},
	{"the newest segment is zeros", func(t *testing.T, segs []string) {
		change(t, segs[len(segs)-1], func(b []byte) []byte { return make([]byte, len(b)) })
	}},
	{"somebody appended to the closed log", func(t *testing.T, segs []string) {
		change(t, segs[len(segs)-1], func(b []byte) []byte { return append(b, "hello"...) })
	}},
	{"a repair was interrupted between its renames", func(t *testing.T, segs []string) {
		if err := os.Rename(segs[2], segs[2]+".rebuilt"); err != nil {
			t.Fatal(err)
		}
		for _, suffix := range []string{".bad-1", ".new"} {
			if err := os.WriteFile(segs[2]+suffix, []byte("not much"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}},
	{"every segment was deleted", func(t *testing.T, segs []string) {
		for _, s := range segs {
			if err := os.Remove(s); err != nil {
				t.Fatal(err)
			}
		}
	}},
}

// TestStoreInWords: what an operator reads after each mishap is in a file that
// people review. A check and a dry run leave every file as it is.
func TestStoreInWords(t *testing.T) {
	var got strings.Builder
	for _, m := range storeMishaps {
		fmt.Fprintf(&got, "### %s\n\n", m.name)
		dataDir := logged(t)
		m.do(t, segments(t, dataDir))
		for _, args := range [][]string{{"check"}, {"repair", "--dry-run"}, {"repair"}, {"check"}} {
			before := storeSnapshot(t, dataDir)
			out, err, code := command(t, "", append(append([]string{"store"}, args...), "--data-dir", dataDir)...)
			if args[len(args)-1] != "repair" && storeSnapshot(t, dataDir) != before {
				t.Errorf("%s: %v changed something", m.name, args)
			}
			fmt.Fprintf(&got, "$ redoubt store %s\n%s", strings.Join(args, " "), strings.ReplaceAll(out, dataDir, "/data"))
			if err != nil && err.Error() != "" {
				fmt.Fprintf(&got, "redoubt: %s\n", strings.ReplaceAll(err.Error(), dataDir, "/data"))
			}
			fmt.Fprintf(&got, "[exit code %d]\n\n", code)
		}
	}
	path := filepath.Join("testdata", "store.txt")
	if *rewriteDocs {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || string(want) != got.String() {
		t.Errorf("%s is stale (%v): run with -rewrite and read the difference. Now:\n%s", path, err, got.String())
	}
}

// storeSnapshot is everything below a folder that a program could change.
func storeSnapshot(t *testing.T, dir string) string {
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
		var content []byte
		if fi.Mode().IsRegular() {
			if content, err = os.ReadFile(p); err != nil {
				return err
			}
		}
		fmt.Fprintf(&b, "%s %v %d %x\n", p, fi.Mode(), fi.ModTime().UnixNano(), content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A broker that runs, a newer format, and no log at all are refused in a sentence,
// and nothing is changed.
func TestStoreRefusals(t *testing.T) {
	running := logged(t)
	release, err := datadir.Lock(running)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	newer := logged(t)
	change(t, segments(t, newer)[2], func(b []byte) []byte {
		b[8] = 2
		binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], crc32.MakeTable(crc32.Castagnoli)))
		return b
	})
	for _, c := range []struct{ dataDir, want string }{
		{running, fmt.Sprintf("in use by process %d, so its log is changing; stop the broker first, or ask the running one how it is: redoubt status", os.Getpid())},
		{newer, "has format version 2 and this program reads up to 1; start the newer program"},
		{filepath.Join(t.TempDir(), "nowhere"), "there is no log in"},
		{t.TempDir(), "there is no log in"},
	} {
		for _, args := range [][]string{{"check"}, {"check", "-o", "json"}, {"repair", "--dry-run"}, {"repair"}} {
			before := ""
			if _, err := os.Stat(c.dataDir); err == nil && args[0] == "check" {
				before = storeSnapshot(t, c.dataDir)
			}
			out, err, code := command(t, "", append(append([]string{"store"}, args...), "--data-dir", c.dataDir)...)
			want := map[string]int{"check": 2, "repair": 1}[args[0]]
			if err == nil || !strings.Contains(err.Error(), c.want) || out != "" || code != want {
				t.Errorf("%v: %q, %v, exit code %d, want %q, %d", args, out, err, code, c.want, want)
			}
			if before != "" && storeSnapshot(t, c.dataDir) != before {
				t.Errorf("%v in %s changed something", args, c.dataDir)
			}
		}
	}
}

// While a check reads, no broker starts; several checks may read.
func TestStoreCheckHoldsTheDirectory(t *testing.T) {
	dataDir := logged(t)
	reader, err := datadir.Share(dataDir)
	if err != nil {
		t.Fatal(err)
	}
	defer reader()
	if _, err, code := command(t, "", "store", "check", "--data-dir", dataDir); err != nil || code != 0 {
		t.Errorf("a second check: %v, %d", err, code)
	}
	if _, err, code := command(t, "", "store", "repair", "--data-dir", dataDir); err == nil || code != 1 {
		t.Errorf("a repair under a check: %v, %d", err, code)
	}
}

// What the disk does not give back is damage, with what to do.
func TestStoreThatCannotBeRead(t *testing.T) {
	bad := &store.DamageError{Segment: "00000000000000000001.seg", Offset: 4096, Err: syscall.EIO}
	_, err := storeReportOf(&bytes.Buffer{}, "reading", &globals{}, "d", func(func(done, total int64)) (*local.Report, error) { return nil, fmt.Errorf("log: %w", bad) })
	var unchecked storeUnchecked
	if err == nil || !strings.Contains(err.Error(), "00000000000000000001.seg, offset 4096: input/output error: the disk does not give this file back") || errors.As(err, &unchecked) {
		t.Error(err)
	}
}

// Programs get the same, by name.
func TestStoreCheckForPrograms(t *testing.T) {
	dataDir := logged(t)
	segs := segments(t, dataDir)
	change(t, segs[1], func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	change(t, segs[len(segs)-1], cutEnd(100))
	out, err, code := command(t, "", "store", "check", "--data-dir", dataDir, "-o", "json")
	var d storeDocument
	if jerr := json.Unmarshal([]byte(out), &d); jerr != nil || code != 1 || err == nil || err.Error() != "" {
		t.Fatalf("%v, %v, exit code %d\n%s", jerr, err, code, out)
	}
	name := filepath.Base(segs[1])
	if d.OK || d.Repaired || d.Closed || d.Segments != len(segs) || d.Records != 58 || d.Cut == nil || d.Cut.Segment != filepath.Base(segs[len(segs)-1]) {
		t.Errorf("%+v", d)
	}
	if len(d.Damaged) != 1 || d.Damaged[0].Segment != name || d.Damaged[0].Aside != name+".bad-1" || len(d.Damaged[0].Places) != 1 {
		t.Errorf("%+v", d.Damaged)
	}
	if len(d.Missing) != 1 || d.Missing[0].First != d.Missing[0].Last || d.Missing[0].Earlier || d.Missing[0].Before.Sub(*d.Missing[0].After) != 4*time.Second {
		t.Errorf("%+v", d.Missing)
	}
	if out, err, _ := command(t, "", "store", "repair", "--data-dir", dataDir, "-o", "json"); err != nil || !strings.Contains(out, `"repaired": true`) {
		t.Errorf("%v\n%s", err, out)
	}
	out, _, code = command(t, "", "store", "check", "--data-dir", dataDir, "-o", "json")
	d = storeDocument{}
	if jerr := json.Unmarshal([]byte(out), &d); jerr != nil || code != 1 || !d.Closed || len(d.Damaged) != 0 || !d.Missing[0].Earlier || len(d.Aside) != 1 {
		t.Errorf("%v, exit code %d\n%s", jerr, code, out)
	}
}
