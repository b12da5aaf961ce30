package disk

import (
	"fmt"
	"os"

	"github.com/redoubtmq/redoubt/internal/datadir"
)

// OpenDir opens a folder of the machine; it is made if it is missing, and must
// belong to this process's user and be closed to others.
func OpenDir(path string) (Dir, error) {
	if err := datadir.Init(path); err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	return folder{path: path}, nil
}

// folder is a folder of the operating system.
type folder struct{ path string }

func (d folder) Lock() (func(), error) { return datadir.Lock(d.path) }

// do runs f inside the folder: an os.Root follows no link out of it.
func (d folder) do(f func(*os.Root) error) error {
	r, err := os.OpenRoot(d.path)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	return f(r)
}

func (d folder) List() (names []string, err error) {
	es, err := os.ReadDir(d.path)
	for _, e := range es {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

func (d folder) open(name string, flag int) (File, error) {
	var f *os.File
	err := d.do(func(r *os.Root) (err error) {
		f, err = r.OpenFile(name, flag, 0o600)
		return err
	})
	if err != nil {
		return nil, err
	}
	return file{f}, nil
}

func (d folder) Create(name string) (File, error) {
	return d.open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

func (d folder) Open(name string, write bool) (File, error) {
	if write {
		return d.open(name, os.O_RDWR)
	}
	return d.open(name, os.O_RDONLY)
}

func (d folder) Rename(from, to string) error {
	return d.do(func(r *os.Root) error { return r.Rename(from, to) })
}

func (d folder) Remove(name string) error {
	return d.do(func(r *os.Root) error { return r.Remove(name) })
}

func (d folder) Sync() error {
	f, err := os.Open(d.path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return f.Sync()
}

// file is a file of the operating system.
type file struct{ *os.File }

func (f file) Size() (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}
