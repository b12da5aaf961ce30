package enroll

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/redoubtmq/redoubt/internal/safefile"
)

// Files are where a device has its certificate and its key; they may be one file. While they
// are replaced there are others beside them, with newSuffix, so that there is a pair that
// belongs together whatever happens: Load finds it.
type Files struct{ Cert, Key string }

const (
	newSuffix = ".new"
	certMode  = 0o644
	keyMode   = 0o600
)

// ErrThere is in the error of Begin where the device has a certificate.
var ErrThere = errors.New("is there already and is not overwritten")

// In are the files of a device in a folder.
func In(dir, name string) Files {
	return Files{filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")}
}

// Begin refuses to replace what is there, and puts the new key on the disk: one that could
// not be kept is no use in a certificate.
func (f Files) Begin(key crypto.Signer) error {
	if dir := filepath.Dir(f.Key); !isFolder(dir) {
		return fmt.Errorf("the folder %s is not there; make it, with mode 0700, and try again: the token is not used yet", dir)
	}
	for _, path := range []string{f.Cert, f.Key} {
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("%s %w; redoubt cert renew gets the next certificate, or choose another folder", path, ErrThere)
		}
	}
	return f.Stage(key)
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// Stage writes the new key beside the old.
func (f Files) Stage(key crypto.Signer) error {
	text, err := keyPEM(key)
	if err != nil {
		return err
	}
	return safefile.Write(f.Key+newSuffix, text, keyMode)
}

// Drop removes what Begin or Stage wrote.
func (f Files) Drop() { _ = os.Remove(f.Key + newSuffix) }

// Done puts the new pair in the place of the old. With two files there are moments in which
// they are not of one pair; Load mends what a crash leaves of them.
func (f Files) Done(x *x509.Certificate, key crypto.Signer) error {
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: x.Raw})
	if f.Cert == f.Key {
		text, err := keyPEM(key)
		if err != nil {
			return err
		}
		if err := safefile.Write(f.Cert, append(cert, text...), keyMode); err != nil {
			return err
		}
		f.Drop()
		return nil
	}
	if err := safefile.Write(f.Cert+newSuffix, cert, certMode); err != nil {
		return err
	}
	return f.finish()
}

// finish moves both new files.
func (f Files) finish() error {
	if err := safefile.Rename(f.Key+newSuffix, f.Key); err != nil {
		return err
	}
	return safefile.Rename(f.Cert+newSuffix, f.Cert)
}

// Load is the pair there is. A change that a crash has interrupted after the certificate was
// on the disk is carried to its end first, so that none is lost.
func (f Files) Load() (*tls.Certificate, error) {
	if f.Cert != f.Key {
		var err error
		switch cert := f.Cert + newSuffix; {
		case matches(cert, f.Key+newSuffix):
			err = f.finish()
		case matches(cert, f.Key):
			err = safefile.Rename(cert, f.Cert)
		}
		if err != nil {
			return nil, fmt.Errorf("finish what was interrupted: %w", err)
		}
	}
	c, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil && strings.Contains(err.Error(), "does not match") {
		return nil, fmt.Errorf("the key in %s does not belong to the certificate in %s: give the pair that was made together", f.Key, f.Cert)
	}
	if err != nil {
		return nil, fmt.Errorf("the certificate of this device: %w", err)
	}
	return &c, nil
}

func matches(cert, key string) bool {
	_, err := tls.LoadX509KeyPair(cert, key)
	return err == nil
}

func keyPEM(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode the key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
