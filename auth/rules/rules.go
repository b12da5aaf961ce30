// Package rules reads the rules file: YAML to *auth.Policy. A file is taken whole
// or not at all: an unknown key, a value of the wrong type or a failing test of
// the file itself refuses it, with file, line and column. It judges nothing; the
// semantics of a rule are package auth's.
//
// Rules: YAML 1.2 without anchors, aliases, merge keys and second documents;
// checklist row P4.2.
package rules

import (
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/redoubtmq/redoubt/auth"
)

// FileBytesMax bounds a rules file.
const FileBytesMax = 1 << 20

// TestsMax bounds the tests of one file, because each may walk all rules.
const TestsMax = 1_000

//go:embed default.yaml
var shipped []byte

// Default is the file a new data directory gets: a user may use
// devices/${username}/# and nothing else. The caller owns the copy.
func Default() []byte { return append([]byte(nil), shipped...) }

// Load reads, compiles and tests a rules file. It changes nothing, so a reload is
// Load, and auth.Authorizer.Swap if every owner agreed (A102). The rules name path
// as their file.
func Load(path string) (*auth.Policy, error) {
	f, err := (*File)(nil).Again(path, func() {})
	if err != nil {
		return nil, err
	}
	return f.Policy, nil
}

// File is a rules file as it was loaded. It is immutable.
type File struct {
	Policy *auth.Policy
	path   string
	sum    [sha256.Size]byte
}

// Again is Load for who has loaded the file before, or nil: what has not changed is not compiled again, and
// its Policy is the same. rest is called again and again, so that others may go first: a file of many
// rules takes tens of milliseconds.
func (f *File) Again(path string, rest func()) (*File, error) {
	data, err := read(path)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	if f != nil && f.path == path && f.sum == sum {
		return f, nil
	}
	p, err := parse(path, data, rest)
	if err != nil {
		return nil, err
	}
	return &File{p, path, sum}, nil
}

func read(path string) ([]byte, error) {
	// Without O_NONBLOCK a pipe put in the file's place would hang the start.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("rules: %s is not a regular file", path)
	}
	if st.Mode().Perm()&0o002 != 0 {
		return nil, fmt.Errorf("rules: everybody on this machine may change %s (mode %04o); run: chmod o-w %q", path, st.Mode().Perm(), path)
	}
	data, err := io.ReadAll(io.LimitReader(f, FileBytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("rules: read %s: %w", path, err)
	}
	return data, nil
}

// Parse compiles and tests the text of a rules file; name is what errors and rules
// call it. The error is an *Error.
func Parse(name string, data []byte) (*auth.Policy, error) {
	return parse(name, data, func() {})
}

func parse(name string, data []byte, rest func()) (*auth.Policy, error) {
	r := &reader{file: name, rest: rest, nameless: true}
	if len(data) > FileBytesMax {
		r.fail(nil, "", "the file has more than %d bytes; use ${username} instead of a rule per user", FileBytesMax)
		return nil, r.err()
	}
	doc := r.document(data)
	if doc == nil {
		return nil, r.err()
	}
	f := r.readFile(doc)
	if len(r.problems) > 0 { // once more, to say where
		r = &reader{file: name, rest: rest}
		r.readFile(doc)
		return nil, r.err()
	}
	p, err := auth.CompileInPieces(f.specs, rest)
	if err != nil {
		r.compileError(f, err)
		return nil, r.err()
	}
	for i := range f.tests {
		rest()
		r.run(p, i, &f.tests[i])
	}
	if len(r.problems) > 0 {
		return nil, r.err()
	}
	return p, nil
}

// compileError finds the line of what package auth refused.
func (r *reader) compileError(f *file, err error) {
	var re *auth.RuleError
	if !errors.As(err, &re) || re.Rule >= len(f.nodes) {
		r.fail(nil, "rules", "%v", err)
		return
	}
	at := f.nodes[re.Rule]
	n := at.whole
	key := fmt.Sprintf("rules[%d].%s", re.Rule, re.Key)
	if list := at.keys[re.Key]; list != nil {
		n = list
		if re.Item < len(list.Content) {
			n = list.Content[re.Item]
			key = fmt.Sprintf("%s[%d]", key, re.Item)
		}
	}
	r.fail(n, key, "%s", re.Problem())
}
