package pki

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/redoubtmq/redoubt/internal/datadir"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// Handover is the files a device's certificate and key will be in. They are made, empty,
// before there is a certificate, so that none is issued that could not be given out; what
// is there is never overwritten.
type Handover struct {
	CertFile string
	KeyFile  string // "": the device has the key

	made []*os.File // the certificate's first
}

// handedCertMode is that of the certificate, which is no secret; the key has keyMode.
const handedCertMode = 0o644

// NewHandover makes NAME.pem and, if a key is to be given out, NAME.key in dir.
func NewHandover(dir, name string, withKey bool) (*Handover, error) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("%s is not a folder that can be used: make it first (mkdir -p %s), or choose another with --out", dir, datadir.Quote(dir))
	}
	h := &Handover{CertFile: filepath.Join(dir, name+".pem")}
	if err := h.make(h.CertFile, handedCertMode); err != nil {
		return nil, err
	}
	if withKey {
		h.KeyFile = filepath.Join(dir, name+".key")
		if err := h.make(h.KeyFile, keyMode); err != nil {
			h.Drop()
			return nil, err
		}
	}
	return h, nil
}

func (h *Handover) make(path string, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s exists and is not overwritten: move it away, or choose another folder with --out", path)
	}
	if err != nil {
		return fmt.Errorf("nothing was issued, because it could not be given out: %w; choose a folder of your own with --out", err)
	}
	h.made = append(h.made, f)
	return nil
}

// Fill writes what was issued. After an error both files are gone.
func (h *Handover) Fill(d *IssuedDevice) error {
	contents := []secret.Value{secret.New(d.Certificate), d.Key}
	var errs []error
	for i, f := range h.made {
		_, err := f.Write(contents[i].Reveal())
		errs = append(errs, err, f.Sync())
	}
	err := errors.Join(append(errs, syncDir(filepath.Dir(h.CertFile)))...)
	if err != nil {
		h.Drop()
		return fmt.Errorf("certificate %s was issued and could not be given out: %w; its key is gone and nobody has it: issue another one", d.Serial, err)
	}
	return h.close()
}

// Drop removes the files again.
func (h *Handover) Drop() {
	_ = h.close()
	for _, f := range h.made {
		_ = os.Remove(f.Name())
	}
}

func (h *Handover) close() error {
	var errs []error
	for _, f := range h.made {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
