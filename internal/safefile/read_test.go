package safefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Whatever is at the path, reading it ends.
func TestReadEnds(t *testing.T) {
	dir := t.TempDir()
	file, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "pipe")
	if err := errors.Join(os.WriteFile(file, []byte("four"), 0o600), syscall.Mkfifo(pipe, 0o600), os.Symlink(file, filepath.Join(dir, "link")), os.Symlink(pipe, filepath.Join(dir, "away"))); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		most int64
		text string
		want error
	}{{"file", 4, "four", nil}, {"file", 3, "", ErrTooLarge}, {"link", 4, "four", nil}, {"pipe", 4, "", ErrNotRegular}, {"away", 4, "", ErrNotRegular}, {".", 4, "", ErrNotRegular}, {"none", 4, "", fs.ErrNotExist}} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			if b, err := Read(filepath.Join(dir, c.name), c.most); string(b) != c.text || !errors.Is(err, c.want) {
				t.Errorf("%s: %q, %v", c.name, b, err)
			}
		}()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			if f, err := os.OpenFile(pipe, os.O_RDWR, 0); err == nil { // it goes on
				_ = f.Close()
			}
			<-done
			t.Fatalf("%s: it waits for somebody to write", c.name)
		}
	}
}
