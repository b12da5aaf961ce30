package fix

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// victim is a file that is nobody's to change through here.
func victim(t *testing.T, s *stage) (path string, unharmed func()) {
	t.Helper()
	path = filepath.Join(s.dir, "victim")
	write(t, path, "root's\n", 0o666)
	return path, func() {
		t.Helper()
		fi, err := os.Lstat(path)
		if err != nil || fi.Mode().Perm() != 0o666 {
			t.Errorf("somebody else's file was changed: %v, %v", fi.Mode(), err)
		}
	}
}

func (s *stage) modeStep(t *testing.T, path string) (Step, error) {
	t.Helper()
	step := Step{Kind: Mode, Name: path}
	now, err := s.look(t.Context(), &step)
	step.Was, step.Will = now, now
	step.Will.Mode &^= 0o077
	return step, err
}

// Who owns the folder of a file may put what he likes into its place: a link, a hard link,
// another file, a device, before it is looked at or between the look and the change. What
// is changed is what was looked at, or nothing.
func TestModesAreNotTricked(t *testing.T) {
	for name, swap := range map[string]func(key, victim string) error{
		"a link": func(key, victim string) error {
			return os.Symlink(victim, key)
		},
		"a hard link": func(key, victim string) error { return os.Link(victim, key) },
		"a pipe":      func(key, _ string) error { return syscall.Mkfifo(key, 0o666) },
		"its folder": func(key, victim string) error {
			dir := filepath.Dir(key)
			if err := os.Rename(dir, dir+".old"); err != nil {
				return err
			}
			return os.Symlink(filepath.Dir(victim), dir)
		},
	} {
		for _, between := range []bool{false, true} {
			s := newStage(t)
			path, unharmed := victim(t, s)
			key := filepath.Join(s.dir, "data", "sub", "victim")
			write(t, key, "secret\n", 0o644)
			var step Step
			var err error
			trick := func() {
				if name != "its folder" {
					if err := os.Remove(key); err != nil {
						t.Fatal(err)
					}
				}
				if err := swap(key, path); err != nil {
					t.Fatal(err)
				}
			}
			if !between {
				trick()
			}
			if step, err = s.modeStep(t, key); err == nil && between {
				trick()
			}
			if err == nil {
				err = s.put(t.Context(), &step, step.Will)
			}
			if err == nil {
				t.Errorf("%s, between %v: nobody minds", name, between)
			}
			unharmed()
		}
	}
}

// Another file in the place of the one that was looked at is left alone, also where it is
// one that could be changed; so is one whose mode has become another one.
func TestModesOfWhatWasLookedAt(t *testing.T) {
	s := newStage(t)
	key := filepath.Join(s.dir, "data", "key")
	step, err := s.modeStep(t, key)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(s.dir, "data", "other")
	write(t, other, "another\n", 0o644)
	if err := os.Rename(other, key); err != nil {
		t.Fatal(err)
	}
	if err := s.put(t.Context(), &step, step.Will); err == nil || !strings.Contains(err.Error(), "exchanged") {
		t.Errorf("another file: %v", err)
	}
	if step, err = s.modeStep(t, key); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(key, 0o604); err != nil {
		t.Fatal(err)
	}
	if err := s.put(t.Context(), &step, step.Will); err == nil || !strings.Contains(err.Error(), "has changed") {
		t.Errorf("another mode: %v", err)
	}
	if fi, err := os.Stat(key); err != nil || fi.Mode().Perm() != 0o604 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
}

// In a folder that others can write into nothing is changed or written. One that a step
// before has closed is well.
func TestOpenFolders(t *testing.T) {
	s := newStage(t)
	data := filepath.Join(s.dir, "data")
	for _, mode := range []os.FileMode{0o777, 0o770 | 0o002, os.ModeSticky | 0o777} {
		if err := os.Chmod(data, mode); err != nil {
			t.Fatal(err)
		}
		step, err := s.modeStep(t, filepath.Join(data, "key"))
		if err != nil {
			t.Fatal(err)
		}
		err = s.put(t.Context(), &step, step.Will)
		if sticky := mode&os.ModeSticky != 0 && os.Geteuid() == 0; (err == nil) != sticky {
			t.Errorf("mode %v: %v", mode, err) // a sticky one of root's is /tmp
		}
	}
	if err := os.Chmod(data, 0o777); err != nil {
		t.Fatal(err)
	}
	p := &Plan{}
	write(t, filepath.Join(data, "key"), "secret\n", 0o644)
	for _, path := range []string{data, filepath.Join(data, "key")} {
		step, err := s.modeStep(t, path)
		if err != nil {
			t.Fatal(err)
		}
		p.Steps = append(p.Steps, step)
	}
	if _, err := s.Apply(t.Context(), p, false, nil); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{data: 0o700, filepath.Join(data, "key"): 0o600} {
		if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, fi.Mode(), err)
		}
	}
	if _, err := s.Rollback(t.Context(), "last", false); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(data); err != nil || fi.Mode().Perm() != 0o777 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	etc := filepath.Join(s.Root, "etc")
	if err := os.Chmod(etc, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := s.look(t.Context(), &Step{Kind: File, Name: sysctlFile}); err == nil {
		t.Error("a file of the host is looked up in a folder that is open to all")
	}
}

// A file of ours that is a link, or has another name elsewhere, is not written.
func TestFilesAreNotTricked(t *testing.T) {
	for name, swap := range map[string]func(path, victim string) error{
		"a link":      func(path, victim string) error { return os.Symlink(victim, path) },
		"a hard link": func(path, victim string) error { return os.Link(victim, path) },
		"a folder":    func(path, _ string) error { return os.Mkdir(path, 0o755) },
	} {
		s := newStage(t)
		path, unharmed := victim(t, s)
		file := filepath.Join(s.Root, sysctlFile)
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if err := swap(file, path); err != nil {
			t.Fatal(err)
		}
		if now, err := s.look(t.Context(), &Step{Kind: File, Name: sysctlFile}); err == nil {
			t.Errorf("%s: %+v", name, now)
		}
		unharmed()
	}
	s := newStage(t) // a link in the place of the temporary file
	path, unharmed := victim(t, s)
	temp := filepath.Join(s.Root, filepath.Dir(sysctlFile), "."+filepath.Base(sysctlFile)+tempMark)
	if err := os.Symlink(path, temp); err != nil {
		t.Fatal(err)
	}
	step := Step{Kind: File, Name: sysctlFile}
	if err := s.put(t.Context(), &step, State{Content: []byte("x = 1\n"), Mode: 0o644, UID: s.UID, GID: s.GID}); err != nil {
		t.Error(err)
	}
	unharmed()
	if text, err := os.ReadFile(path); err != nil || string(text) != "root's\n" {
		t.Errorf("%q, %v", text, err)
	}
	if err := os.Symlink("/etc", filepath.Join(s.Root, "etc", "modprobe.d")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.look(t.Context(), &Step{Kind: File, Name: modprobeFile}); err == nil {
		t.Error("a link on the way is followed")
	}
}

// Somebody who exchanges the file all the time, while it is changed, gets nothing.
func TestModesInARace(t *testing.T) {
	s := newStage(t)
	path, unharmed := victim(t, s)
	key, aside := filepath.Join(s.dir, "data", "key"), filepath.Join(s.dir, "data", "aside")
	if err := os.Symlink(path, aside); err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default: // the two change places
				for _, r := range [][2]string{{key, key + ".x"}, {aside, key}, {key + ".x", aside}} {
					_ = os.Rename(r[0], r[1])
				}
			}
		}
	}()
	for range 2000 {
		if step, err := s.modeStep(t, key); err == nil {
			_ = s.put(t.Context(), &step, step.Will)
		}
	}
	close(stop)
	<-done
	unharmed()
}

// The broker's user is trusted with what is his, and a third one with nothing.
func TestModesUnderOthersFolders(t *testing.T) {
	if os.Geteuid() != 0 {
		return // nobody else can give a folder away
	}
	const third = 12345
	s := newStage(t)
	data := filepath.Join(s.dir, "data")
	if err := os.Chown(data, third, third); err != nil {
		t.Fatal(err)
	}
	step, err := s.modeStep(t, filepath.Join(data, "key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.put(t.Context(), &step, step.Will); err == nil || !strings.Contains(err.Error(), "belongs to user 12345") {
		t.Errorf("a third user's folder: %v", err)
	}
	s.Owner = third
	step.Will.UID = third
	if err := s.put(t.Context(), &step, step.Will); err != nil {
		t.Error(err)
	}
	fi, err := os.Stat(filepath.Join(data, "key"))
	if err != nil || fi.Sys().(*syscall.Stat_t).Uid != third || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	if err := s.put(t.Context(), &step, step.Was); err != nil {
		t.Error(err)
	}
	if fi, err := os.Stat(filepath.Join(data, "key")); err != nil || fi.Sys().(*syscall.Stat_t).Uid != 0 || fi.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	for _, file := range []string{sysctlFile, limitsFile} { // the broker's user has no say in files of the host
		if err := os.Chown(filepath.Join(s.Root, "etc"), third, third); err != nil {
			t.Fatal(err)
		}
		if _, err := s.look(t.Context(), &Step{Kind: File, Name: file}); err == nil {
			t.Errorf("%s in a folder of the broker's user", file)
		}
	}
}
