//go:build !linux

package harden

import (
	"context"
	"errors"
	"os"
	"path/filepath"
)

// thisHost is the machine we run on: one whose kernel tells nothing of this.
type thisHost struct{}

var errNotLinux = errors.New("this is only told on Linux")

func (thisHost) Listening() ([]Listening, error) { return nil, errNotLinux }

func (thisHost) Clock() (ClockState, error) { return ClockState{}, errNotLinux }

func (thisHost) Unit(context.Context, string, ...string) (map[string]string, error) {
	return nil, errNotLinux
}

func (thisHost) Ruleset(context.Context) ([]byte, error) { return nil, errNotLinux }

func (thisHost) Space(string) (Space, error) { return Space{}, errNotLinux }

func ownDescriptor(int) (open bool, inode uint64, err error) { return false, 0, errNotLinux }

// links reads where links of one folder lead.
type links string

func newLinks(dir *os.File) links { return links(dir.Name()) }

func (l links) read(name string) ([]byte, error) {
	to, err := os.Readlink(filepath.Join(string(l), name))
	return []byte(to), err
}
