package safefile

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// What Read refuses, whatever the file is for.
var (
	ErrNotRegular = errors.New("it is not a regular file")
	ErrTooLarge   = errors.New("it is larger than a file of its kind may be")
)

// Read reads a file of at most most bytes. What is judged is the file that was opened, and not
// what had that path a moment before: a pipe or a device that somebody puts there is refused and
// not waited for. Symbolic links are followed, because that is how secrets are mounted.
func Read(path string, most int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &os.PathError{Op: "read", Path: path, Err: ErrNotRegular}
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = &os.PathError{Op: "read", Path: path, Err: ErrTooLarge}
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}
