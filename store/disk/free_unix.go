//go:build unix

package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

func (d folder) Free() (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(d.path, &st); err != nil {
		return 0, os.NewSyscallError("statfs", err)
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil //nolint:gosec,unconvert // the types differ from system to system
}
