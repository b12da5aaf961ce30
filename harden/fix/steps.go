package fix

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// look answers what is there of what a step changes.
func (w *World) look(ctx context.Context, s *Step) (State, error) {
	switch s.Kind {
	case File:
		t, err := w.treeOf(s)
		if err != nil {
			return State{}, err
		}
		defer t.close()
		return t.look(s.Name)
	case Mode:
		return w.lookMode(s, true)
	case Sysctl:
		return w.lookSysctl(s.Name)
	case Limit:
		if w.started(s.PID) != s.Start {
			return State{Absent: true}, nil // the process has ended, and its limits with it
		}
		v, err := limits(s.PID, s.Name)
		return State{Value: v}, err
	case Table:
		return w.lookTable(ctx)
	case Setting:
		if w.Broker == nil {
			return State{}, errors.New("the broker does not answer, and " + s.Name + " is set while it runs")
		}
		v, ok, err := w.Broker.RunTime(ctx, s.Name)
		return State{Absent: !ok, Value: v}, err
	}
	return State{}, nil
}

// put makes it so that look answers to. It is the way there, and the way back.
func (w *World) put(ctx context.Context, s *Step, to State) error {
	switch s.Kind {
	case File:
		t, err := w.treeOf(s)
		if err != nil {
			return err
		}
		defer t.close()
		return t.replace(s.Name, to, s.Was.Folders)
	case Mode:
		return w.putMode(s, to)
	case Sysctl:
		return w.putSysctl(s.Name, to.Value)
	case Limit:
		if to.Absent || w.started(s.PID) != s.Start {
			return nil
		}
		return setLimits(s.PID, s.Name, to.Value)
	case Table:
		return w.putTable(ctx, to)
	case Setting:
		if to.Absent {
			return w.Broker.Unset(ctx, s.Name)
		}
		return w.Broker.Set(ctx, s.Name, to.Value)
	}
	return nil
}

// perform does a step that has no state of its own.
func (w *World) perform(ctx context.Context, s *Step) error {
	switch s.Kind {
	case Units:
		_, err := w.run(ctx, nil, "systemctl", "daemon-reload")
		return err
	case Reload:
		return w.Broker.Reload(ctx)
	case Listener:
		return w.Broker.Reopen(ctx, s.Name)
	}
	return nil
}

// same compares two states of a step, as far as they count for it.
func (s *Step) same(a, b State) bool {
	if a.Absent || b.Absent {
		return a.Absent == b.Absent
	}
	switch s.Kind {
	case File:
		return bytes.Equal(a.Content, b.Content) && a.Mode == b.Mode && a.UID == b.UID && a.GID == b.GID
	case Mode:
		return a.Mode == b.Mode && a.UID == b.UID && a.GID == b.GID
	case Table:
		return a.Value != "" && a.Value == b.Value || bytes.Equal(a.Content, b.Content)
	}
	return a.Value == b.Value
}

// ours tells whether now is what a run has left, or has half done.
func (s *Step) ours(now State) bool {
	if s.same(now, s.Will) || s.same(now, s.Was) {
		return true
	}
	if s.Kind != Mode || now.Absent {
		return false
	}
	between := func(x, a, b int) bool { return x == a || x == b }
	return between(now.UID, s.Was.UID, s.Will.UID) && between(now.GID, s.Was.GID, s.Will.GID) && between(int(now.Mode), int(s.Was.Mode), int(s.Will.Mode))
}

// treeOf is where a file of a step lies: with our name on the host, or where the broker's
// configuration is.
func (w *World) treeOf(s *Step) (*tree, error) {
	if ourFile(s.Name) {
		return w.host()
	}
	return w.own()
}

// lookMode looks at permissions. lax: folders on the way are judged when it is changed,
// since one that is open to others may be the step before.
func (w *World) lookMode(s *Step, lax bool) (State, error) {
	t, err := w.own()
	if err != nil {
		return State{}, err
	}
	defer t.close()
	t.lax = lax
	fd, now, err := t.pin(s.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return State{Absent: true}, nil
	}
	if err != nil {
		return State{}, err
	}
	closeFD(fd)
	return now, nil
}

// putMode changes the very file that the plan was about, or nothing.
func (w *World) putMode(s *Step, to State) error {
	t, err := w.own()
	if err != nil {
		return err
	}
	defer t.close()
	fd, now, err := t.pin(s.Name)
	if err != nil {
		return err
	}
	defer closeFD(fd)
	switch {
	case now.Dev != s.Was.Dev || now.Ino != s.Was.Ino:
		return fmt.Errorf("%s was exchanged since it was looked at: it is another file", s.Name)
	case !s.ours(now):
		return fmt.Errorf("%s has changed since it was looked at", s.Name)
	}
	if err := setMode(fd, now, to); err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	return nil
}

// sysctlName is a name of the kernel, with dots; an interface may have a dot in its own.
var sysctlName = regexp.MustCompile(`^(fs|net)(\.[a-zA-Z0-9_@:-]+)+$`)

func (w *World) sysctlPath(name string) (string, error) {
	if !sysctlName.MatchString(name) {
		return "", fmt.Errorf("%q is not a setting that is changed here", name)
	}
	return filepath.Join(w.proc(), "sys", strings.ReplaceAll(name, ".", "/")), nil
}

func (w *World) lookSysctl(name string) (State, error) {
	path, err := w.sysctlPath(name)
	if err != nil {
		return State{}, err
	}
	text, err := os.ReadFile(path)
	return State{Value: strings.Join(strings.Fields(string(text)), " ")}, err
}

func (w *World) putSysctl(name, value string) error {
	path, err := w.sysctlPath(name)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value + "\n")
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("set %s to %s: %w", name, value, err)
	}
	if now, err := w.lookSysctl(name); err != nil || now.Value != value {
		return fmt.Errorf("set %s to %s: the kernel has made %q of it (%w)", name, value, now.Value, err)
	}
	return nil
}

// mayRaise tells whether this process may raise hard limits: CAP_SYS_RESOURCE.
func (w *World) mayRaise() bool {
	text, err := os.ReadFile(filepath.Join(w.proc(), "self", "status"))
	_, rest, found := strings.Cut(string(text), "\nCapEff:")
	if err != nil || !found {
		return false
	}
	set, err := strconv.ParseUint(strings.Fields(rest)[0], 16, 64)
	const sysResource = 24
	return err == nil && set&(1<<sysResource) != 0
}

// started is when a process began, in the kernel's count: a number comes again, this with
// it does not. Empty: there is none.
func (w *World) started(pid int) string {
	text, err := os.ReadFile(filepath.Join(w.proc(), strconv.Itoa(pid), "stat"))
	if err != nil {
		return ""
	}
	f := strings.Fields(string(text)[strings.LastIndexByte(string(text), ')')+1:]) // a name may hold what it likes
	const startTime = 22 - 3
	if len(f) <= startTime {
		return ""
	}
	return f[startTime]
}
