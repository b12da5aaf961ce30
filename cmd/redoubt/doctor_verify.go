package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubtmq/redoubt/harden"
	"github.com/redoubtmq/redoubt/harden/signed"
)

// verifyMax is how many reports are verified at once.
const verifyMax = 1000

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
		text, err := os.ReadFile(f.key)
		if err != nil {
			return doctorError{fmt.Errorf("--key: %w", err)}
		}
		if public, err = signed.ParsePublic(text); err != nil {
			return doctorError{fmt.Errorf("--key %s: %w", f.key, err)}
		}
	}
	reports, err := readReports(f.verify)
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
func readReports(paths []string) (map[string][]byte, error) {
	var files []string
	for _, path := range paths {
		fi, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if !fi.IsDir() {
			files = append(files, path)
			continue
		}
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, err
		}
		found := false
		for _, d := range entries {
			if filepath.Ext(d.Name()) == ".json" && d.Type().IsRegular() {
				files, found = append(files, filepath.Join(path, d.Name())), true
			}
		}
		if !found {
			return nil, fmt.Errorf("%s has no file that ends in .json", path)
		}
	}
	if len(files) > verifyMax {
		return nil, fmt.Errorf("%d files are more than %d; verify them in parts that overlap by one", len(files), verifyMax)
	}
	reports := make(map[string][]byte, len(files))
	for _, name := range files {
		text, err := readBounded(name)
		if err != nil {
			return nil, err
		}
		reports[name] = text
	}
	return reports, nil
}

func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, signed.BytesMax+1)) // one more than is verified
}
