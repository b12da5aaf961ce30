// Package talk plays conversations: text files in which clients send packets to
// a broker and say what must come back. README.md has the words. Somebody who
// knows MQTT and no Go can read and write them.
//
// It is a client that trusts nothing. Its codec is its own, so that a mistake in
// package mqtt cannot hide behind itself; it can write what no client should, and
// it refuses whatever a server may not send, in every packet of every script. It
// is no broker and opens no socket: a World does. Only _test.go files import it.
//
// Rules: MQTT 5.0 (OASIS, 2019), 3.1.1 (OASIS, 2014) and 3.1 (2010), chapters 2
// and 3.
package talk

import (
	"embed"
	"io/fs"
	"net"
	"path"
	"slices"
	"strings"
	"testing"
	"time"
)

// World is a broker, its clock and the way to its door. A World serves one case.
type World interface {
	// Dial opens a connection.
	Dial() net.Conn
	// Go runs a function that ends when its connection does.
	Go(f func())
	// Settle returns when nothing moves any more.
	Settle()
	// Advance lets time pass for the broker.
	Advance(d time.Duration)
	// Patience is how long to wait for a packet that must come. 0 means that what
	// has not come when Settle returns will not come.
	Patience() time.Duration
}

// Version is a version of the protocol, as the level in CONNECT.
type Version byte

// The versions a script can speak.
const (
	V31  Version = 3
	V311 Version = 4
	V5   Version = 5
)

var versionNames = map[string]Version{"v31": V31, "v311": V311, "v5": V5}

// String is the name a script uses: v31, v311 or v5.
func (v Version) String() string {
	for name, w := range versionNames {
		if v == w {
			return name
		}
	}
	return "v?"
}

// Standard is the name of the standard: 3.1, 3.1.1 or 5.0.
func (v Version) Standard() string {
	return map[Version]string{V31: "3.1", V311: "3.1.1", V5: "5.0"}[v]
}

//go:embed scripts/*.txt
var scripts embed.FS

// Scripts are the scripts of the house. A script that cannot be read fails t.
func Scripts(t testing.TB) []*File {
	t.Helper()
	names, err := fs.Glob(scripts, "scripts/*.txt")
	if err != nil || len(names) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	slices.Sort(names)
	var files []*File
	for _, name := range names {
		text, err := scripts.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := Parse(path.Base(name), string(text))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	return files
}

// Test is the name of a case as a test: its sentence without punctuation.
func (c *Case) Test() string {
	return strings.Join(strings.FieldsFunc(c.Name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '#' && r != '+' && r != '$'
	}), "_")
}

// Run plays c in version v and fails t where the broker does something else. It
// says which statements the case covers, for internal/tools/conformance. A case
// that is known to fail must fail.
func Run(t testing.TB, c *Case, v Version, w World) {
	t.Helper()
	for _, s := range c.Covers {
		if s.Standard == v.Standard() && c.Fails == "" {
			t.Attr("covers", s.ID+" ("+s.Standard+")")
		}
	}
	err := Play(c, v, w)
	switch {
	case err != nil && c.Fails == "":
		t.Fatal(err)
	case err == nil && c.Fails != "":
		t.Fatalf("%s:%d: this case is said to fail (%s) and passes: take the line away", c.File, c.Line, c.Fails)
	}
}

// Waits is how much time the case lets pass.
func (c *Case) Waits() (sum time.Duration) {
	for i := range c.steps {
		sum += c.steps[i].pause
	}
	return sum
}
