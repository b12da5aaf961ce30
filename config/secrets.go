package config

import (
	"errors"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/redoubtmq/redoubt/internal/secret"
	"github.com/redoubtmq/redoubt/pki"
)

// Ways to refer to a secret.
const (
	refFile       = "file:"
	refCredential = "credential:"
)

// secretAt decodes a reference and fetches what it refers to. Text that is no
// reference is taken for the secret itself, so no message shows it.
func (d *decoder) secretAt(n *yaml.Node, row *Row, path string) (Secret, bool) {
	if n.Kind != yaml.ScalarNode {
		d.refuse(n, path, "", "is %s where file:PATH or credential:NAME belongs.", describe(n))
		return Secret{}, false
	}
	ref := n.Value
	if ref == "" && row.Default == `""` { // none, where none is needed
		return Secret{}, true
	}
	name, isFile := strings.CutPrefix(ref, refFile)
	switch {
	case isFile && name != "" && !strings.ContainsRune(name, 0):
		ref = refFile + d.resolve(name)
	case strings.HasPrefix(ref, refCredential):
	default:
		d.refuse(n, path, "", "is written here in the open. Put it in a file that only this user may read and write file:PATH, or credential:NAME with systemd's LoadCredential=NAME:PATH.")
		return Secret{}, false
	}
	s, err := d.secret(ref)
	if err != nil {
		d.refuse(n, path, quotePath(ref), "%v.", err)
		return Secret{}, false
	}
	return s, true
}

// secretFinder fetches by reference. read is readSecretOf outside of tests.
type secretFinder struct {
	credentialsDir string
	read           func(path string, max int64) ([]byte, error)
}

// find returns the content as it is, a final line break included. Errors are
// clauses that follow the reference.
func (f *secretFinder) find(ref string) (Secret, error) {
	path, isFile := strings.CutPrefix(ref, refFile)
	if !isFile {
		name := strings.TrimPrefix(ref, refCredential)
		switch {
		case name == "" || name == "." || name == ".." || len(name) > 255 || strings.ContainsAny(name, "/\x00"):
			return Secret{}, errors.New("is not the name of a credential: one file name without a slash")
		case f.credentialsDir == "":
			return Secret{}, errors.New("needs $CREDENTIALS_DIRECTORY, which systemd sets for units with LoadCredential=. Elsewhere write file:PATH")
		}
		path = filepath.Join(f.credentialsDir, name)
	}
	b, err := f.read(path, SecretBytesMax)
	if err != nil {
		return Secret{}, err
	}
	if len(b) == 0 {
		return Secret{}, errors.New("is empty")
	}
	return Secret{Ref: ref, Value: secret.New(b)}, nil
}

// readSecretOf reads a file that nobody else may read or change, every folder above it
// included (P2.2); one in the folder of credentials is as the service manager makes them.
func readSecretOf(credentialsDir string) func(path string, max int64) ([]byte, error) {
	return func(path string, max int64) ([]byte, error) {
		if _, err := readRegular(path, max); err != nil { // says in our words what is not a small regular file
			return nil, err
		}
		if credentialsDir != "" && filepath.Dir(path) == filepath.Clean(credentialsDir) {
			return pki.ReadHanded(path)
		}
		return pki.ReadSecret(path)
	}
}
