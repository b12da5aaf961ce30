package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/harden"
	"github.com/redoubtmq/redoubt/harden/signed"
)

// What is verified at once: so many reports, of so many bytes, in a folder of so many files. The folder
// may be the broker's, and who verifies may be root.
const (
	verifyMax      = 1000
	verifyBytesMax = 256 << 20
	verifyFilesMax = 10_000
	keyFileMax     = 64 << 10
)

// showKey prints the public key of the node, by which its reports are verified elsewhere.
func showKey(cmd *cobra.Command, g *globals) error {
	public, err := nodeKey(g)
	if err != nil {
		return doctorError{err}
	}
	text, err := signed.EncodePublic(public)
	if err != nil {
		return doctorError{err}
	}
	fmt.Fprintln(cmd.ErrOrStderr(), "redoubt: the key of this node is", signed.KeyID(public))
	_, err = cmd.OutOrStdout().Write(text)
	return err
}

// nodeKey is that of the data directory.
func nodeKey(g *globals) (ed25519.PublicKey, error) {
	loaded, err := g.LookConfig()
	if err != nil {
		return nil, err
	}
	public, err := signed.Public(loaded.Config.Node.DataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the node has no key yet (%s): it is made with the first report of redoubt doctor, or by the broker when it looks at itself", filepath.Join(loaded.Config.Node.DataDir, signed.KeyName))
	}
	if err != nil {
		return nil, fmt.Errorf("the key of the node: %w", err)
	}
	return public, nil
}

// verify judges reports that were kept, by the key of the node or the one that is given. What does
// not verify makes the exit code 1.
func (f *doctorFlags) verifyReports(cmd *cobra.Command, g *globals) error {
	var public ed25519.PublicKey
	if f.key == "" {
		var err error
		if public, err = nodeKey(g); err != nil {
			return doctorError{fmt.Errorf("%w; --key FILE takes the public key of another node", err)}
		}
	} else {
		text, err := readNamed(f.key, keyFileMax)
		if err != nil {
			return doctorError{fmt.Errorf("--key: %w", err)}
		}
		if public, err = signed.ParsePublic(text); err != nil {
			return doctorError{fmt.Errorf("--key %s: %w", f.key, err)}
		}
	}
	reports, err := readReports(f.verify, verifyBytesMax)
	if err != nil {
		return doctorError{fmt.Errorf("--verify: %w", err)}
	}
	good, wrong := harden.Verify(reports, public)
	out := cmd.OutOrStdout()
	for i := range good {
		v := &good[i]
		fmt.Fprintf(out, "%s: report %d of %s, %s, score %d over %s: signed by %s\n", plain(v.Name), v.Chain.Sequence, orUnknown(v.Node), v.Started.UTC().Format(time.DateTime+" UTC"), v.Score, rowCount(v.Scopes), signed.KeyID(public))
	}
	if wrong != nil {
		return doctorFinding{wrong}
	}
	// One of them can be there under two names.
	if n := len(good); n > 1 && good[0].Chain.Sequence != good[n-1].Chain.Sequence {
		first, last := good[0].Chain.Sequence, good[n-1].Chain.Sequence
		fmt.Fprintf(out, "the chain is whole: %d reports, %d to %d, each with the hash of the one before it\n", last-first+1, first, last)
	}
	return nil
}

// rowCount is how many rows a score is over: that of one row is no score of the node.
func rowCount(scopes []harden.ScopeState) string {
	rows := map[string]bool{}
	for i := range scopes {
		rows[scopes[i].ID] = true
	}
	if len(rows) == 1 {
		return "1 row"
	}
	return fmt.Sprintf("%d rows", len(rows))
}

// doctorFinding is what was looked at and found wrong.
type doctorFinding struct{ error }

func (doctorFinding) ExitCode() int   { return harden.ExitFindings }
func (e doctorFinding) Unwrap() error { return e.error }

func orUnknown(node string) string {
	if node == "" {
		return "a node without a name"
	}
	return plain(node)
}

// readReports reads files, and of folders those in them that end in .json.
func readReports(paths []string, most int64) (map[string][]byte, error) {
	var files []string
	listed := map[string]bool{} // and not named: what was a file may be a pipe by now
	for _, path := range paths {
		fi, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if !fi.IsDir() {
			files = append(files, path)
			continue
		}
		entries, err := readFolder(path)
		if err != nil {
			return nil, err
		}
		found := false
		for _, d := range entries {
			if filepath.Ext(d.Name()) == ".json" && d.Type().IsRegular() {
				files, found = append(files, filepath.Join(path, d.Name())), true
				listed[files[len(files)-1]] = true
			}
		}
		if !found {
			return nil, fmt.Errorf("%s has no file that ends in .json", path)
		}
	}
	if len(files) > verifyMax {
		return nil, fmt.Errorf("%d files are more than %d; verify them in parts that overlap by one", len(files), verifyMax)
	}
	reports, left := make(map[string][]byte, len(files)), most
	for _, name := range files {
		read := readNamed
		if listed[name] {
			read = readListed
		}
		text, err := read(name, min(left, signed.BytesMax)+1)
		if err != nil {
			return nil, err
		}
		if left -= int64(len(text)); left < 0 {
			return nil, fmt.Errorf("these files are larger than %d MiB together; verify them in parts that overlap by one", most>>20)
		}
		reports[name] = text
	}
	return reports, nil
}

// readFolder lists a folder of a bounded number of files.
func readFolder(path string) ([]os.DirEntry, error) {
	d, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	entries, err := d.ReadDir(verifyFilesMax + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(entries) > verifyFilesMax {
		return nil, fmt.Errorf("%s has more than %d files; name those to verify", path, verifyFilesMax)
	}
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// readNamed reads the beginning of what somebody named, which may be a pipe.
func readNamed(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}

// readListed reads the beginning of a file that was found in a folder.
func readListed(name string, most int64) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("%s is no file any more", name))
	}
	return io.ReadAll(io.LimitReader(f, most))
}
