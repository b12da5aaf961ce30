package disk

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Allocate gives the file its blocks, without writing them, where the file system can.
func (f file) Allocate(size int64) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var aerr error
	if err := c.Control(func(fd uintptr) {
		for {
			if aerr = unix.Fallocate(int(fd), 0, 0, size); !errors.Is(aerr, unix.EINTR) {
				return
			}
		}
	}); err != nil {
		return err
	}
	return os.NewSyscallError("fallocate", aerr)
}

// Ahead has the kernel read what is about to be read, while whoever asks does something else.
func (f file) Ahead(off, n int64) {
	c, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = c.Control(func(fd uintptr) { _ = unix.Fadvise(int(fd), off, n, unix.FADV_WILLNEED) }) // without it the reading takes longer
}

// Sync is fdatasync: the length is made durable too, the time of the last change
// is not, which nobody here reads.
func (f file) Sync() error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	if err := c.Control(func(fd uintptr) {
		for {
			if serr = unix.Fdatasync(int(fd)); !errors.Is(serr, unix.EINTR) {
				return
			}
		}
	}); err != nil {
		return err
	}
	return os.NewSyscallError("fdatasync", serr)
}
