package enroll

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func certText(x *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: x.Raw})
}

func keyText(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	text, err := keyPEM(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestFilesAfterACrash: wherever a renewal is interrupted, the next run finds a pair, and the
// new one if its certificate was on the disk.
func TestFilesAfterACrash(t *testing.T) {
	oldKey, newKey := mustKey(t), mustKey(t)
	oldCert, newCert := certFor(t, "dev", oldKey.Public(), t0.Add(time.Hour)), certFor(t, "dev", newKey.Public(), t0.Add(time.Hour))
	for what, row := range map[string]struct {
		key, cert, nextKey, nextCert []byte
		want                         *x509.Certificate
	}{
		"before anything":          {keyText(t, oldKey), certText(oldCert), nil, nil, oldCert},
		"with a key only":          {keyText(t, oldKey), certText(oldCert), keyText(t, newKey), nil, oldCert},
		"with both":                {keyText(t, oldKey), certText(oldCert), keyText(t, newKey), certText(newCert), newCert},
		"between the two renames":  {keyText(t, newKey), certText(oldCert), nil, certText(newCert), newCert},
		"after the first half":     {keyText(t, newKey), certText(newCert), nil, nil, newCert},
		"with the certificate cut": {keyText(t, oldKey), certText(oldCert), keyText(t, newKey), certText(newCert)[:50], oldCert},
	} {
		f := In(t.TempDir(), "dev")
		for path, text := range map[string][]byte{f.Key: row.key, f.Cert: row.cert, f.Key + newSuffix: row.nextKey, f.Cert + newSuffix: row.nextCert} {
			if text != nil {
				write(t, path, text)
			}
		}
		c, err := f.Load()
		if err != nil || !c.Leaf.Equal(row.want) {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if again, err := f.Load(); err != nil || !again.Leaf.Equal(row.want) {
			t.Errorf("%s, again: %v", what, err)
		}
	}
}

// TestFilesOfOnePair: two files or one, with modes, and nothing is left over.
func TestFilesOfOnePair(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []Files{In(dir, "dev"), {filepath.Join(dir, "one.pem"), filepath.Join(dir, "one.pem")}} {
		for round := range 2 {
			key := mustKey(t)
			if round == 0 {
				if err := f.Begin(key); err != nil {
					t.Fatal(err)
				}
			} else {
				if err := f.Begin(key); !errors.Is(err, ErrThere) {
					t.Errorf("over a file: %v", err)
				}
				if err := f.Stage(key); err != nil {
					t.Fatal(err)
				}
			}
			x := certFor(t, "dev", key.Public(), t0.Add(time.Hour))
			if err := f.Done(x, key); err != nil {
				t.Fatal(err)
			}
			if c, err := f.Load(); err != nil || !c.Leaf.Equal(x) {
				t.Errorf("round %d: %v", round, err)
			}
		}
		if info, err := os.Stat(f.Key); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the key: %v %v", err, info.Mode())
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*"+newSuffix)); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}
