package pki

import (
	"fmt"
	"os"
)

// CheckPermissionsAs is CheckPermissions as a process of another user would judge:
// root looks at the files of the broker's user.
func CheckPermissionsAs(uid int, f *os.File, need Access) error {
	return checkerAs(uid).file(f, need)
}

// CheckDirectoryAs is CheckDirectory as a process of another user would judge.
func CheckDirectoryAs(uid int, path string) error {
	fi, err := checkerAs(uid).walk(path)
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return fmt.Errorf("%s is not a directory", path)
	}
	return nil
}

func checkerAs(uid int) *checker {
	c := newChecker()
	c.uid = uint32(uid)
	return c
}
