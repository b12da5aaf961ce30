package disk

import (
	"fmt"
	"os"
)

// Look opens a folder of the machine as it is, for who only reads: nothing is
// made or closed to others, and it may be anybody's.
func Look(path string) (Dir, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !fi.IsDir() {
		return nil, fmt.Errorf("%s is not a directory", path)
	}
	return folder{path: path}, nil
}
