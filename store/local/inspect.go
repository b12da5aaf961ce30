package local

import (
	"fmt"

	"github.com/redoubtmq/redoubt/store/disk"
)

// Inspect reads a log that nobody writes and answers the report that Open would,
// and refuses what Open would refuse. It is Open's own code with its hands tied:
// the folder is not changed, and need not be writable. Its caller sees to it that
// no broker uses the folder. progress, if not nil, is told how many bytes of how
// many were read.
func Inspect(dir disk.Dir, progress func(done, total int64)) (*Report, error) {
	r, err := recoverDir(unchanged{dir}, true, progress)
	if err != nil {
		return nil, err
	}
	return r.report, nil
}

// Repair does what Open does to a folder and leaves it closed: afterwards the log
// is as after a Close. progress is as in Inspect.
func Repair(dir disk.Dir, progress func(done, total int64)) (*Report, error) {
	release, err := dir.Lock()
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	defer release()
	r, err := recoverDir(dir, false, progress)
	if err != nil {
		return nil, err
	}
	return r.report, nil
}

// unchanged is a folder that can be read. A change is a mistake of ours, which
// must not reach the evidence that somebody is looking at.
type unchanged struct{ disk.Dir }

func refuse(what, name string) error {
	panic(fmt.Sprintf("BUG: an inspection tried to %s %s", what, name))
}

func (unchanged) Lock() (func(), error)                 { return nil, refuse("lock", "the folder") }
func (unchanged) Create(name string) (disk.File, error) { return nil, refuse("make", name) }
func (unchanged) Rename(from, _ string) error           { return refuse("rename", from) }
func (unchanged) Remove(name string) error              { return refuse("remove", name) }
func (unchanged) Sync() error                           { return refuse("flush", "the folder") }

func (u unchanged) Open(name string, write bool) (disk.File, error) {
	if write {
		return nil, refuse("write", name)
	}
	return u.Dir.Open(name, false)
}
