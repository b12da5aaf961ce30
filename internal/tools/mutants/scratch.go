package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// scratch is a copy of the tree in which one mutant lives at a time.
type scratch struct {
	tree string // absolute
	dir  string // absolute
}

// copyTree copies what git would track, as it is now, to a folder that may exist
// only as the copy of an earlier run.
func copyTree(tree, dir string) (*scratch, error) {
	tree, err := filepath.Abs(tree)
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	s := &scratch{tree: tree, dir: dir}
	if _, err := os.Stat(dir); err == nil {
		if _, err := os.Stat(s.mark()); err != nil {
			return nil, fmt.Errorf("%s is not a copy of ours; name another folder", dir)
		}
	}
	s.remove()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(s.mark(), nil, 0o644); err != nil {
		return nil, err
	}
	list, err := command(tree, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		return nil, fmt.Errorf("list the files of %s: %w", tree, err)
	}
	for _, name := range strings.Split(strings.TrimRight(string(list), "\x00"), "\x00") {
		if err := s.restore(name); err != nil && !os.IsNotExist(err) { // tracked and deleted
			return nil, err
		}
	}
	return s, nil
}

// mark is a file that tells our copies from other folders.
func (s *scratch) mark() string { return filepath.Join(s.dir, ".mutants") }

func (s *scratch) remove() { _ = os.RemoveAll(s.dir) }

// restore copies one file anew.
func (s *scratch) restore(name string) error {
	from := filepath.Join(s.tree, name)
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	to := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, text, info.Mode().Perm())
}

// The words for what became of a mutant.
const (
	noticed  = "noticed"
	survived = "SURVIVED"
	stale    = "STALE" // does not apply, does not build, or names no test
)

type verdict struct {
	word string
	text string // why, unless noticed
}

// try applies m, runs its test, and takes m out again.
func (s *scratch) try(m mutant) verdict {
	path, err := filepath.Abs(m.path)
	if err != nil {
		return verdict{stale, err.Error()}
	}
	before, err := s.snapshot(path)
	if err != nil {
		return verdict{stale, err.Error()}
	}
	defer func() {
		for name, text := range before {
			_ = os.WriteFile(filepath.Join(s.dir, name), text, 0o644)
		}
	}()
	if out, err := command(s.dir, "git", "apply", "-C1", path).CombinedOutput(); err != nil {
		return verdict{stale, "does not apply: " + string(out)}
	}
	out, err := s.test(m.pkg, m.test, testTimeout)
	return judge(out, err)
}

// snapshot is the files that a patch touches, as they are.
func (s *scratch) snapshot(patch string) (map[string][]byte, error) {
	text, err := os.ReadFile(patch)
	if err != nil {
		return nil, err
	}
	files := make(map[string][]byte)
	for _, line := range strings.Split(string(text), "\n") {
		if name, ok := strings.CutPrefix(line, "--- a/"); ok {
			if files[name], err = os.ReadFile(filepath.Join(s.dir, name)); err != nil {
				return nil, err
			}
		}
	}
	return files, nil
}

// judge reads what go test said of a mutant.
func judge(out string, err error) verdict {
	switch {
	case strings.Contains(out, "[build failed]") || strings.Contains(out, "[setup failed]"):
		return verdict{stale, "does not build: " + out}
	case strings.Contains(out, "no tests to run") || strings.Contains(out, "no test files"):
		return verdict{stale, "the test is not there: " + out}
	case err == nil:
		return verdict{survived, "its test passes without the defence"}
	case strings.Contains(out, "--- FAIL: ") || strings.Contains(out, "panic: "):
		return verdict{word: noticed}
	}
	return verdict{stale, fmt.Sprintf("%v: %s", err, out)}
}

// testTimeout is longer than any of these tests takes; a mutant that makes one
// hang is noticed by it.
const testTimeout = "60s"

// baselineTimeout is for all tests of a package in one run.
const baselineTimeout = "8m"

func (s *scratch) test(pkg, pattern, timeout string) (string, error) {
	parts := strings.Split(pattern, "/")
	for i, p := range parts {
		parts[i] = "^(" + p + ")$"
	}
	out, err := command(s.dir, "go", "test", "-count=1", "-failfast", "-timeout", timeout, "-run", strings.Join(parts, "/"), pkg).CombinedOutput()
	return string(out), err
}

// baseline runs all named tests without a mutant: a test that fails anyway would
// notice everything.
func (s *scratch) baseline(mutants []mutant) (text string, ok bool) {
	ok = true
	tests := make(map[string][]string)
	for _, m := range mutants {
		name, _, _ := strings.Cut(m.test, "/")
		if !slices.Contains(tests[m.pkg], name) {
			tests[m.pkg] = append(tests[m.pkg], name)
		}
	}
	for pkg, names := range tests {
		if out, err := s.test(pkg, strings.Join(names, "|"), baselineTimeout); err != nil {
			text, ok = text+out, false
		}
	}
	return text, ok
}

// command is a program that runs in dir and is not steered by where we were called
// from.
func command(dir, name string, args ...string) *exec.Cmd {
	c := exec.Command(name, args...)
	c.Dir = dir
	c.Env = append(c.Environ(), "GOWORK=off", "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir))
	return c
}
