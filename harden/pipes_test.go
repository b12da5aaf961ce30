package harden

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A file that a run reads may be exchanged for a pipe at any moment, also between looking at it and opening
// it: no reader waits for who would write into that.
func TestNoReaderWaitsForAPipe(t *testing.T) {
	dir := t.TempDir()
	path, file, pipe := filepath.Join(dir, "x.pem"), filepath.Join(dir, "file"), filepath.Join(dir, "pipe")
	if err := errors.Join(os.WriteFile(file, []byte("x"), 0o600), syscall.Mkfifo(pipe, 0o600), os.Link(file, path)); err != nil {
		t.Fatal(err)
	}
	stop, swapped, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(swapped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			next := filepath.Join(dir, "next")
			if os.Link([]string{file, pipe}[i%2], next) == nil {
				_ = os.Rename(next, path)
			}
		}
	}()
	go func() {
		defer close(done)
		for range 5000 {
			_, chain := readChain(path)
			_, list := readList(path)
			if chain == nil || list == nil {
				t.Error("one of them has read something")
				return
			}
		}
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Error("it waits for somebody to write")
	}
	close(stop)
	<-swapped
	for { // it goes on
		if f, err := os.OpenFile(pipe, os.O_RDWR|syscall.O_NONBLOCK, 0); err == nil {
			_ = f.Close()
		}
		select {
		case <-done:
			return
		case <-time.After(time.Millisecond):
		}
	}
}
