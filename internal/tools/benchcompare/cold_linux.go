package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// forgetFiles has the kernel drop what it keeps of the files below dir, so that the next who reads
// them reads the disk.
func forgetFiles(dir string) error {
	return eachFile(dir, func(f *os.File) error {
		if err := unix.Fdatasync(int(f.Fd())); err != nil { // what is not written cannot be dropped
			return err
		}
		return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	})
}

// keptInMemory tells whether what is written below dir never comes to a disk.
func keptInMemory(dir string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(dir, &fs) == nil && inMemory(int64(fs.Type)) //nolint:unconvert // 32 bits elsewhere
}

func inMemory(kind int64) bool { return kind == unix.TMPFS_MAGIC || kind == unix.RAMFS_MAGIC }
