package builtin

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/redoubtmq/redoubt/internal/safefile"
)

// The first releases had their users in a file of the data directory. It is read once
// and then has another name, under which nobody reads it.
const (
	FileName     = "users.json"
	MigratedName = FileName + ".migrated"
)

// Migrate gives the users of a data directory's users file to keeper and renames the
// file, and answers how many the file has. Without a file it does nothing.
//
// It is safe to be cut off anywhere: until the file is renamed the next call goes on,
// and what was kept already is kept once.
//
// A file that says something new to a keeper which has users, or where a file was
// migrated before, is somebody's old copy: it could bring back who was deleted, or an
// old password. It is refused, and nothing has changed.
func Migrate(dataDir string, keeper Keeper) (users int, migrated bool, err error) {
	path := filepath.Join(dataDir, FileName)
	data, err := readGuarded(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	t, err := decodeUsers(data)
	if err != nil {
		return 0, false, fmt.Errorf("%s: %w", path, err)
	}
	missing, err := t.missing(dataDir, keeper)
	if err != nil {
		return 0, false, err
	}
	if len(missing) > 0 {
		if err := keeper.Put(missing...); err != nil {
			return 0, false, fmt.Errorf("take over the users of %s: %w", path, err)
		}
	}
	if err := safefile.Rename(path, filepath.Join(dataDir, MigratedName)); err != nil {
		return 0, false, fmt.Errorf("the users of %s are in the log now, and the file could not be put aside: %w", path, err)
	}
	_ = os.Remove(filepath.Join(dataDir, "."+FileName+".lock")) // nobody locks the file any more
	return len(t), true, nil
}

// missing is what keeper lacks of the file's users, in the order of their names, or why
// it must not have them.
func (t table) missing(dataDir string, keeper Keeper) ([]Kept, error) {
	has := make(map[string][]byte)
	err := keeper.Users(func(name string, content []byte) error {
		has[name] = bytes.Clone(content)
		return nil
	})
	if err != nil {
		return nil, err
	}
	var missing []Kept
	var news []string // names of whom the keeper does not have as the file does
	same := 0         // at the front of the file
	for i, r := range t.sorted() {
		k := Kept{r.name, r.content()}
		switch content, ok := has[r.name]; {
		case ok && bytes.Equal(content, k.Content):
			if same == i {
				same++
			}
			continue
		case !ok:
			missing = append(missing, k)
		}
		news = append(news, r.name)
	}
	if len(news) == 0 {
		return nil, nil
	}
	again, err := exists(filepath.Join(dataDir, MigratedName))
	if err != nil {
		return nil, err
	}
	// A migration that was cut off leaves whole steps of it, from the front.
	if !again && len(has) == same && same%PutMax == 0 {
		return missing, nil
	}
	return nil, stale(filepath.Join(dataDir, FileName), news)
}

// stale refuses an old file.
func stale(path string, news []string) error {
	const show = 3
	names := make([]string, 0, show)
	for _, n := range news[:min(len(news), show)] {
		names = append(names, fmt.Sprintf("%q", n))
	}
	if len(news) > show {
		names = append(names, fmt.Sprintf("%d more", len(news)-show))
	}
	return fmt.Errorf("users are in the log of the data directory, and %s, which the log has replaced, says something else of %s; an old file must not bring back old users and passwords. Move it away: mv %s %s; then, if the log lacks them: redoubt user add NAME",
		path, strings.Join(names, ", "), shellQuote(path), shellQuote(path+".old"))
}

func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
