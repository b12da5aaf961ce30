//go:build !linux

package fix

import "errors"

// tree is for Linux: elsewhere a host has none of these files.
type tree struct{ lax bool }

var errNotLinux = errors.New("this is only done on Linux; redoubt fix --write-dir works everywhere")

func (w *World) host() (*tree, error) { return nil, errNotLinux }

func (w *World) own() (*tree, error) { return nil, errNotLinux }

func (w *World) rootsAlone(string) error { return errNotLinux }

func (t *tree) close() {}

func (t *tree) look(string) (State, error) { return State{}, errNotLinux }

func (t *tree) lookMost(string, int64) (State, error) { return State{}, errNotLinux }

func (t *tree) replace(string, State, []string) error { return errNotLinux }

func (t *tree) remove(string, []string) error { return errNotLinux }

func (t *tree) sweep(string) error { return errNotLinux }

func (t *tree) parent(string, bool) (int, string, []string, error) { return -1, "", nil, errNotLinux }

func (t *tree) pin(string) (int, State, error) { return -1, State{}, errNotLinux }

func setMode(int, State, State) error { return errNotLinux }

func closeFD(int) {}

func limits(int, string) (string, error) { return "", errNotLinux }

func setLimits(int, string, string) error { return errNotLinux }

func newRun(*World) string { return "" }

func lockFile(string) (func(), error) { return nil, errNotLinux }
