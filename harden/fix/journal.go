package fix

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Progress of a run.
const (
	Applying = "applying" // or cut short
	Applied  = "applied"
	Undone   = "rolled back"
)

// Journal is what a run has changed and what was there before. It is on disk before the
// first change.
type Journal struct {
	Schema   string    `json:"schema"`
	Run      string    `json:"run"`
	Began    time.Time `json:"began"`
	By       int       `json:"by"` // user
	Progress string    `json:"progress"`
	Why      string    `json:"why,omitempty"` // it was rolled back
	Rows     []string  `json:"rows"`
	Begun    int       `json:"begun"` // steps that were begun
	Steps    []Step    `json:"steps"`
}

// rootJournals is where runs of root's are written down: a folder of root's, since what is
// in a journal is what a rollback writes, and the broker's user must have no say in that.
const rootJournals = "/var/lib/redoubt-fix"

// journals is the folder, and the tree it is in. Those of the owner are his own.
func (w *World) journals() (t *tree, dir string, err error) {
	if w.UID == 0 {
		t, err = w.host()
		return t, rootJournals, err
	}
	if !filepath.IsAbs(w.DataDir) {
		return nil, "", fmt.Errorf("the data directory %q is not a whole path", w.DataDir)
	}
	t, err = w.own()
	return t, filepath.Join(filepath.Clean(w.DataDir), "fix"), err
}

// journalFolder is the path of the folder as the process sees it.
func (w *World) journalFolder() string {
	if w.UID == 0 {
		return filepath.Join("/", w.Root, rootJournals)
	}
	return filepath.Join(filepath.Clean(w.DataDir), "fix")
}

var runName = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}Z-[a-z0-9]{6}$`)

// fileBytesMax bounds a file that is read to be changed.
const fileBytesMax = 1 << 20

// journalBytesMax bounds a journal. It has two versions of each file, in base64: what is
// written has to be read again, or nothing could be taken back.
const journalBytesMax = 32 * fileBytesMax

// keep writes a journal. Mode 0600: it has what files held.
func (w *World) keep(j *Journal) error {
	text, err := json.Marshal(j)
	if err != nil {
		return err
	}
	if len(text) > journalBytesMax {
		return fmt.Errorf("the journal would be larger than %d bytes, and could not be read again: name fewer rows", journalBytesMax)
	}
	t, dir, err := w.journals()
	if err != nil {
		return err
	}
	defer t.close()
	if err := t.replace(filepath.Join(dir, j.Run+".json"), State{Content: text, Mode: 0o600, UID: w.UID, GID: w.GID}, nil); err != nil {
		return fmt.Errorf("the journal: %w", err)
	}
	return nil
}

// Runs lists the journals, the newest first.
func (w *World) Runs() (all []*Journal, err error) {
	names, err := os.ReadDir(w.journalFolder())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		run, isJSON := strings.CutSuffix(n.Name(), ".json")
		if !isJSON || !runName.MatchString(run) {
			continue
		}
		j, err := w.read(run)
		if err != nil {
			return nil, err
		}
		all = append(all, j)
	}
	slices.SortFunc(all, func(a, b *Journal) int {
		if c := b.Began.Compare(a.Began); c != 0 {
			return c
		}
		return strings.Compare(b.Run, a.Run)
	})
	return all, nil
}

// RunsKept is how many runs that have come to an end are kept: each may be as large as the files it
// changed, and has what those held.
const RunsKept = 20

// prune removes the oldest of all, sorted as Runs answers them, so that with the run to come there are RunsKept. What
// was cut short stays, and so does the newest that can be rolled back.
func (w *World) prune(all []*Journal) error {
	t, dir, err := w.journals()
	if err != nil {
		return err
	}
	defer t.close()
	kept, last := 0, false
	for _, j := range all {
		newest := j.Progress == Applied && !last
		last = last || newest
		if kept++; j.Progress == Applying || newest || kept < RunsKept {
			continue
		}
		if err := t.remove(filepath.Join(dir, j.Run+".json"), nil); err != nil {
			return fmt.Errorf("an old journal could not be removed: %w", err)
		}
	}
	return nil
}

// read reads the journal of a run. One that somebody else could have written is refused.
func (w *World) read(run string) (*Journal, error) {
	if !runName.MatchString(run) {
		return nil, fmt.Errorf("%q is not the name of a run, such as 20260115T101500Z-abcdef", run)
	}
	t, dir, err := w.journals()
	if err != nil {
		return nil, err
	}
	defer t.close()
	path := filepath.Join(dir, run+".json")
	s, err := t.lookMost(path, journalBytesMax)
	switch {
	case err != nil:
		return nil, err
	case s.Absent:
		return nil, fmt.Errorf("there is no run %s in %s", run, w.journalFolder())
	case s.UID != w.UID || s.Mode&0o077 != 0:
		return nil, fmt.Errorf("the journal %s belongs to user %d and has mode %04o: what it says is not believed", path, s.UID, s.Mode)
	}
	var j Journal
	if err := json.Unmarshal(s.Content, &j); err != nil {
		return nil, fmt.Errorf("the journal %s: %w", path, err)
	}
	if j.Schema != journalSchema || j.Begun < 0 || j.Begun > len(j.Steps) {
		return nil, fmt.Errorf("the journal %s is of another version of redoubt fix", path)
	}
	return &j, nil
}

const journalSchema = "1"

// lock lets one run at a time change this host.
func (w *World) lock() (release func(), err error) {
	t, dir, err := w.journals()
	if err != nil {
		return nil, err
	}
	defer t.close()
	fd, _, _, err := t.parent(filepath.Join(dir, "lock"), true) // makes the folder, and judges it
	if err != nil {
		return nil, err
	}
	closeFD(fd)
	if err := os.Chmod(w.journalFolder(), 0o700); err != nil {
		return nil, err
	}
	return lockFile(filepath.Join(w.journalFolder(), "lock"))
}
