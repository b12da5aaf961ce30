package points

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/redoubtmq/redoubt/internal/safefile"
	"github.com/redoubtmq/redoubt/pki/fetch"
	"github.com/redoubtmq/redoubt/pki/revoke"
)

// A file is the certificate of an issuer and its list in PEM, which says in a header where
// it came from. What it is called follows from that.
const (
	suffix        = ".crl"
	addressHeader = "Address"
	certKind      = "CERTIFICATE"
	listKind      = "X509 CRL"
	fileBytesMax  = revoke.BytesMax/3*4 + revoke.BytesMax/32 + 1<<20 // of base64 and its line ends, and a certificate
)

func (p point) file() string {
	sum := sha256.Sum256(append(p.issuer[:], p.address...))
	return hex.EncodeToString(sum[:]) + suffix
}

// save writes a list that has been judged.
func (l *Lists) save(e *entry, list []byte) error {
	if block, _ := pem.Decode(list); block != nil {
		list = block.Bytes
	}
	b := pem.EncodeToMemory(&pem.Block{Type: certKind, Bytes: e.issuer.Raw})
	b = append(b, pem.EncodeToMemory(&pem.Block{Type: listKind, Headers: map[string]string{addressHeader: e.address}, Bytes: list})...)
	if err := os.MkdirAll(l.folder, 0o700); err != nil {
		return fmt.Errorf("keep a revocation list: %w", err)
	}
	if err := safefile.Write(filepath.Join(l.folder, e.file()), b, 0o600); err != nil {
		return fmt.Errorf("keep a revocation list: %w", err)
	}
	return nil
}

// read takes what save has written. What it cannot take it removes: the list is fetched when
// a certificate asks for it.
func (l *Lists) read() {
	files, err := os.ReadDir(l.folder)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			l.log.Warn("revocation lists that were fetched before cannot be read, and are fetched again", "error", err.Error())
		}
		return
	}
	now := l.now()
	for _, f := range files {
		path := filepath.Join(l.folder, f.Name())
		if !strings.HasSuffix(f.Name(), suffix) || !f.Type().IsRegular() {
			continue // of somebody else, or a file that was being written
		}
		e, err := l.readFile(path)
		switch {
		case err != nil:
		case e.file() != f.Name():
			err = errors.New("it has another name than what is in it")
		case len(l.points) >= perListener || l.issuers[e.point.issuer] >= perIssuer || l.bytes+e.bytes > bytesMax:
			err = errors.New("there are too many")
		}
		if err != nil {
			l.log.Warn("a revocation list that was fetched before is left out", "file", path, "error", err.Error())
			_ = os.Remove(path)
			continue
		}
		e.asked, e.due = now, now
		l.points[e.point] = e
		l.issuers[e.point.issuer]++
		l.bytes += e.bytes
	}
}

func (l *Lists) readFile(path string) (*entry, error) {
	b, err := safefile.Read(path, fileBytesMax)
	if err != nil {
		return nil, err
	}
	first, rest := pem.Decode(b)
	if first == nil || first.Type != certKind {
		return nil, errors.New("it does not begin with a certificate")
	}
	issuer, err := x509.ParseCertificate(first.Bytes)
	if err != nil {
		return nil, err
	}
	second, _ := pem.Decode(rest)
	if second == nil || second.Type != listKind || fetch.Check(second.Headers[addressHeader]) != nil {
		return nil, errors.New("it holds no list, or not from where")
	}
	e := &entry{point: point{sha256.Sum256(issuer.Raw), second.Headers[addressHeader]}, issuer: issuer, bytes: int64(len(second.Bytes))}
	e.list, err = l.judge(e, second.Bytes)
	return e, err
}
