package staple

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/internal/safefile"
	"github.com/redoubtmq/redoubt/pki"
)

const (
	folderMode = 0o700
	fileMode   = 0o600
	fileEnding = ".ocsp" // behind the fingerprint of the certificate
)

func folder(dataDir string) string { return filepath.Join(dataDir, "certs", "staples") }

func (k *Keeper) file(e *entry) string {
	return filepath.Join(k.dir, pki.Fingerprint(e.leaf)+fileEnding)
}

// restore takes an answer from the disk, if it would be taken from a responder now.
func (k *Keeper) restore(e *entry, now time.Time) {
	if e.issuer == nil {
		return
	}
	raw, err := pki.ReadSecret(k.file(e))
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err == nil {
		e.staple, err = Judge(raw, e.leaf, e.issuer, now)
	}
	if err != nil {
		e.err = fmt.Errorf("the answer in %s does not count: %w", k.file(e), err)
		return
	}
	// Whoever starts anew asks at once if it is time, and not on account of the start.
	e.next = now.Add(k.early(half(e.staple, now)))
	if now.After(e.staple.ThisUpdate.Add(e.staple.NextUpdate.Sub(e.staple.ThisUpdate) / 2)) {
		e.next = now
	}
}

// store keeps an answer for the next start, and removes those of certificates that are not
// wanted any more.
func (k *Keeper) store(e *entry) error {
	if err := os.MkdirAll(k.dir, folderMode); err != nil {
		return fmt.Errorf("the answer cannot be kept for the next start: %w", err)
	}
	if err := safefile.Write(k.file(e), e.staple.Raw, fileMode); err != nil {
		return fmt.Errorf("the answer cannot be kept for the next start: %w", err)
	}
	names, _ := filepath.Glob(filepath.Join(escape(k.dir), "*"+fileEnding))
	for _, name := range names {
		if k.entries[strings.TrimSuffix(filepath.Base(name), fileEnding)] == nil && name != k.file(e) {
			_ = os.Remove(name)
		}
	}
	return nil
}

// forget removes an answer that counts no more, so that the next start does not show it.
func (k *Keeper) forget(e *entry) error {
	if err := os.Remove(k.file(e)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("the good answer of before cannot be removed: %w", err)
	}
	return nil
}

// escape takes the meaning from the characters filepath.Glob knows.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
