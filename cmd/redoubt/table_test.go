package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// Names that clients choose cannot steer a terminal, forge a line or turn one
// around (A166, A177).
func TestPlainNames(t *testing.T) {
	for in, want := range map[string]string{
		"pump-1": "pump-1", "": "-", "größe 7": "größe 7", "a\tb": `a\x09b`, "\x1b[2J": `\x1b[2J`, "a\r\nb": `a\x0d\x0ab`, "\x7f": `\x7f`,
		"\u0085": `\u0085`, "\u009b2J": `\u009b2J`, "a\u202eb": `a\u202eb`, "\u200b": `\u200b`, "\ufeff": `\ufeff`, "\u2028": `\u2028`, "a\xffb": `a\ufffdb`, "\U000e0041": `\ue0041`,
		"<b>": "<b>",
	} {
		if got := plain(in); got != want {
			t.Errorf("plain(%q) = %q, want %q", in, got, want)
		}
	}
}

// Where there is no list there is no head of one either: the error stands alone. An empty list
// has it.
func TestTableWithoutAList(t *testing.T) {
	for whole, want := range map[bool]string{false: "", true: "NAME  N\n"} {
		var out bytes.Buffer
		if err := newRows(&out, false, "NAME", "N").end(whole); err != nil || out.String() != want {
			t.Errorf("whole %v: %q, %v", whole, out.String(), err)
		}
	}
}

// A table of any length is written while it comes: what is kept back are the first
// rows, by which the columns are set.
func TestTableStreams(t *testing.T) {
	var out bytes.Buffer
	r := newRows(&out, false, "NAME", "N", "LAST")
	for i := range 100_000 {
		if err := r.add(nil, fmt.Sprint("client-", i), "7", "x"); err != nil {
			t.Fatal(err)
		}
		if i == 5000 && (out.Len() < 50_000 || cap(r.first) > 0) {
			t.Fatalf("after %d rows %d bytes are written and %d rows kept", i, out.Len(), len(r.first))
		}
	}
	if err := r.end(true); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	if len(lines) != 100_002 || lines[0] != "NAME        N  LAST" || lines[1] != "client-0    7  x" || lines[100_000] != "client-99999  7  x" {
		t.Errorf("%d lines: %q, %q, %q", len(lines), lines[0], lines[1], lines[100_000])
	}
}

// A list as JSON is one document, and none at all when it was broken off.
func TestJSONStreams(t *testing.T) {
	for n := range 3 {
		for _, whole := range []bool{true, false} {
			var out bytes.Buffer
			r := newRows(&out, true, "NAME")
			for i := range n {
				if err := r.add(map[string]string{"name": fmt.Sprintf("<%d\x1b>", i)}); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.end(whole); err != nil {
				t.Fatal(err)
			}
			var doc struct{ Data []struct{ Name string } }
			err := json.Unmarshal(out.Bytes(), &doc)
			if whole && (err != nil || len(doc.Data) != n || n > 0 && doc.Data[0].Name != "<0\x1b>") || !whole && err == nil {
				t.Errorf("%d rows, whole %v: %v in %q", n, whole, err, out.String())
			}
			if strings.Contains(out.String(), "\x1b") {
				t.Errorf("%q can steer a terminal", out.String())
			}
		}
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestTableSaysThatItCouldNotBeWritten(t *testing.T) {
	for _, asJSON := range []bool{true, false} {
		r := newRows(fullDisk{}, asJSON, "NAME")
		err := r.add("x", "x")
		if err = errors.Join(err, r.end(true)); err == nil {
			t.Errorf("JSON %v: nothing is said", asJSON)
		}
	}
}

// Who interrupts a list hears that it is not complete, and a script can tell.
func TestInterruptedList(t *testing.T) {
	dir := t.TempDir()
	startAdmin(t, dir, brokerStub{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, words := range []string{"clients list", "sessions list -o json", "subs list", "retained list", "retained clear # --yes"} {
		root := rootCmd()
		var out bytes.Buffer
		root.SetOut(&out)
		root.SetArgs(append(strings.Fields(words), "--data-dir", dir))
		err := root.ExecuteContext(ctx)
		var i interrupted
		if !errors.As(err, &i) || i.ExitCode() != 130 || json.Valid(out.Bytes()) {
			t.Errorf("%s: %v, %q", words, err, out.String())
		}
	}
}

// Command lines that make no sense are refused before anybody is asked.
func TestListingUsage(t *testing.T) {
	for words, want := range map[string]string{
		"clients list --state asleep": "connected, disconnected or any", "clients show": "accepts 1 arg", "sessions delete": "accepts 1 arg", "subs list x": "unknown command",
		"retained list a#b": "'#' must", "retained clear": "accepts 1 arg", "retained clear +x": "'+' must", "log level set loud": "loud", "log level set": "accepts 1 arg",
	} {
		_, err, code := command(t, "", append(strings.Fields(words), "--data-dir", t.TempDir())...)
		if code != 2 || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: exit code %d, %v", words, code, err)
		}
	}
}
