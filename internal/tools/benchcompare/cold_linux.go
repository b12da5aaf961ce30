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
