package pki

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/redoubtmq/redoubt/internal/datadir"
	"github.com/redoubtmq/redoubt/internal/safefile"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// Bundle is everything a client needs to connect, for the person who sets it up.
type Bundle struct {
	Issued *IssuedDevice
	CA     []byte // PEM, of the broker's certificate; empty: one that systems know
	Host   string // of the broker
	Port   int    // MQTT over TLS
}

// bundled is one file of a bundle. All have mode 0600: the key makes the folder a secret.
type bundled struct {
	name string
	data secret.Value
}

// caFile is the name of the CA in the bundle, or the folder where systems have theirs.
func (b *Bundle) caFile() string {
	if len(b.CA) == 0 {
		return "/etc/ssl/certs/ca-certificates.crt"
	}
	return caCertName
}

func (b *Bundle) files() ([]bundled, error) {
	name := b.Issued.Name
	settings, err := json.MarshalIndent(map[string]any{
		"host": b.Host, "port": b.Port, "protocol": "mqtts", "user": name, "topics": "devices/" + name + "/#",
		"ca": b.caFile(), "certificate": "client.pem", "key": "client.key", "not_after": b.Issued.NotAfter.UTC().Format(time.RFC3339),
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the settings: %w", err)
	}
	out := []bundled{
		{"client.pem", secret.New(b.Issued.Certificate)},
		{"client.key", b.Issued.Key},
		{"settings.json", secret.New(append(settings, '\n'))},
		{"mosquitto.conf", secret.New([]byte(b.mosquitto()))},
		{"README.txt", secret.New([]byte(b.readme()))},
	}
	if len(b.CA) > 0 {
		out = append(out, bundled{caCertName, secret.New(b.CA)})
	}
	return out, nil
}

// mosquitto is a bridge, the one thing in Mosquitto that connects by a configuration file.
func (b *Bundle) mosquitto() string {
	name := b.Issued.Name
	return fmt.Sprintf(`# For Mosquitto: what it is told under devices/%[1]s/ goes to the broker.
# Paths are relative to the folder Mosquitto runs in; make them absolute.
connection %[1]s
address %[2]s
bridge_protocol_version mqttv50
try_private false
notifications false
remote_clientid %[1]s
bridge_cafile %[3]s
bridge_certfile client.pem
bridge_keyfile client.key
topic devices/%[1]s/# out 1
`, name, net.JoinHostPort(b.Host, strconv.Itoa(b.Port)), b.caFile())
}

func (b *Bundle) readme() string {
	return fmt.Sprintf(`%[1]s connects to %[2]s, port %[3]d, with MQTT over TLS.
It needs no password: it is who its certificate says, until %[4]s.
Whoever has client.key is %[1]s. Delete this folder where it was made and on the way.

Try it, in this folder:
  mosquitto_pub -h %[2]s -p %[3]d --cafile %[5]s --cert client.pem --key client.key -t %[6]s -m 21.5
`, b.Issued.Name, b.Host, b.Port, day(b.Issued.NotAfter), b.caFile(), datadir.Quote("devices/"+b.Issued.Name+"/temp"))
}

// Tar is the bundle as an archive of one folder with the client's name.
func (b *Bundle) Tar() (secret.Value, error) {
	files, err := b.files()
	if err != nil {
		return secret.Value{}, err
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	folder := b.Issued.Name + "/"
	if folder == "./" || folder == "../" { // a user may be called so
		folder = "client/"
	}
	head := tar.Header{Typeflag: tar.TypeDir, Name: folder, Mode: 0o700, Format: tar.FormatPAX}
	if err := w.WriteHeader(&head); err != nil {
		return secret.Value{}, fmt.Errorf("write the archive: %w", err)
	}
	for _, f := range files {
		data := f.data.Reveal()
		h := tar.Header{Typeflag: tar.TypeReg, Name: folder + f.name, Mode: keyMode, Size: int64(len(data)), Format: tar.FormatPAX}
		if err := w.WriteHeader(&h); err != nil {
			return secret.Value{}, fmt.Errorf("write the archive: %w", err)
		}
		if _, err := w.Write(data); err != nil {
			return secret.Value{}, fmt.Errorf("write the archive: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return secret.Value{}, fmt.Errorf("write the archive: %w", err)
	}
	return secret.New(buf.Bytes()), nil
}

// Fill writes the files of the bundle into a folder that is there and empty.
func (b *Bundle) Fill(dir string) error {
	files, err := b.files()
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := safefile.Write(filepath.Join(dir, f.name), f.data.Reveal(), keyMode); err != nil {
			return err
		}
	}
	return syncDir(filepath.Dir(dir))
}

// PKCS12 is key, certificate and CA in one file, for programs that take only that; of its
// kinds that with AES-256 and SHA-256.
func (b *Bundle) PKCS12(password secret.Value) (secret.Value, error) {
	key, err := parseKey(b.Issued.Key.Reveal(), "the new key")
	if err != nil {
		return secret.Value{}, err
	}
	chain, err := parseChain(b.Issued.Certificate, "the new certificate")
	if err != nil {
		return secret.Value{}, err
	}
	if len(b.CA) > 0 {
		cas, err := parseChain(b.CA, "the broker's CA")
		if err != nil {
			return secret.Value{}, err
		}
		chain = append(chain, cas...)
	}
	out, err := pkcs12.Modern2023.Encode(key, chain[0], chain[1:], string(password.Reveal()))
	if err != nil {
		return secret.Value{}, fmt.Errorf("make the PKCS #12 file: %w", err)
	}
	return secret.New(out), nil
}

// Package is where a bundle will be: made before anything is issued, so that nothing is
// issued that could not be given out. What is there is never overwritten.
type Package struct {
	path string
	file *os.File // nil: a folder
}

// NewPackage makes the file, or the folder if folder is set.
func NewPackage(path string, folder bool) (*Package, error) {
	p := &Package{path: path}
	var err error
	if folder {
		err = os.Mkdir(path, 0o700)
	} else {
		p.file, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, keyMode)
	}
	if os.IsExist(err) {
		return nil, fmt.Errorf("%s exists and is not overwritten: move it away, or choose another name with --out", path)
	}
	if err != nil {
		return nil, fmt.Errorf("nothing was issued, because it could not be given out: %w; choose a place of your own with --out", err)
	}
	return p, nil
}

// Folder fills a folder.
func (p *Package) Folder(b *Bundle) error { return p.done(b, b.Fill(p.path)) }

// Write fills a file.
func (p *Package) Write(b *Bundle, data secret.Value) error {
	_, err := p.file.Write(data.Reveal())
	if err == nil {
		err = p.file.Sync()
	}
	if closing := p.file.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = syncDir(filepath.Dir(p.path))
	}
	return p.done(b, err)
}

func (p *Package) done(b *Bundle, err error) error {
	if err == nil {
		return nil
	}
	p.Drop()
	return fmt.Errorf("certificate %s was issued and could not be given out: %w; its key is gone and nobody has it: issue another one", b.Issued.Serial, err)
}

// Drop removes it again.
func (p *Package) Drop() {
	if p.file != nil {
		_ = p.file.Close()
	}
	_ = os.RemoveAll(p.path) // we made it
}
