package testkit

import (
	"bytes"
	"strings"
	"sync"
	"time"
)

// Output collects what a program prints and lets a test wait for a line. It is an
// io.Writer for one stream of a process.
type Output struct {
	mu      sync.Mutex // guards all below
	text    bytes.Buffer
	changed chan struct{} // closed and replaced when text grows
	ended   bool
}

// newOutput is an empty one.
func newOutput() *Output { return &Output{changed: make(chan struct{})} }

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(p)
	close(o.changed)
	o.changed = make(chan struct{})
	return len(p), nil
}

// end wakes everybody who waits: nothing more will come.
func (o *Output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.ended {
		o.ended = true
		close(o.changed)
		o.changed = make(chan struct{})
	}
}

// String is everything so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Len is how many bytes were printed so far: a mark to wait from.
func (o *Output) Len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Len()
}

// Lines is everything so far, by line.
func (o *Output) Lines() []string {
	return strings.Split(strings.TrimSuffix(o.String(), "\n"), "\n")
}

// WaitFor waits until a whole line after mark holds every one of parts and
// answers it. ok is false after timeout, or when the program ended without it.
func (o *Output) WaitFor(timeout time.Duration, mark int, parts ...string) (line string, ok bool) {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for {
		o.mu.Lock()
		text, changed, ended := o.text.String(), o.changed, o.ended
		o.mu.Unlock()
		text = text[mark:]
		for l := range strings.Lines(text) {
			if !strings.HasSuffix(l, "\n") && !ended {
				continue
			}
			if containsAll(l, parts) {
				return strings.TrimSuffix(l, "\n"), true
			}
		}
		if ended {
			return "", false
		}
		select {
		case <-changed:
		case <-timer.C:
			return "", false
		}
	}
}

// containsAll tells whether every part is in s.
func containsAll(s string, parts []string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}
