package signed

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func payload(at Link) ([]byte, error) {
	return json.MarshalIndent(map[string]any{"kind": "a report", "chain": at, "signature": "of the payload itself"}, "", "  ")
}

func appended(t *testing.T, dir string) ([]byte, Link) {
	t.Helper()
	text, at, err := Append(dir, true, payload)
	if err != nil {
		t.Fatal(err)
	}
	return text, at
}

// A text verifies as it was written and in no other way, by the key it was signed with and by no
// other, and what is answered is what was signed.
func TestVerify(t *testing.T) {
	dir := t.TempDir()
	text, at := appended(t, dir)
	public, err := Public(dir)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := payload(at)
	if got, err := Verify(text, public); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%v\n%s", err, got)
	}
	var whole map[string]any
	if err := json.Unmarshal(text, &whole); err != nil || SignedBy(text) != KeyID(public) {
		t.Errorf("%v, signed by %s", err, SignedBy(text))
	}
	for i := range text {
		odd := bytes.Clone(text)
		odd[i] ^= 1
		if _, err := Verify(odd, public); err == nil {
			t.Errorf("byte %d of %q may be another one", i, text)
		}
	}
	for n := range text {
		if _, err := Verify(text[:n], public); err == nil {
			t.Errorf("%d bytes of it verify", n)
		}
	}
	other, _, _ := ed25519.GenerateKey(nil)
	forged := bytes.Replace(text, []byte(KeyID(public)), []byte(KeyID(other)), 1)
	for name, c := range map[string]struct {
		text []byte
		key  ed25519.PublicKey
		want error
	}{
		"another key":                 {text, other, ErrOtherKey},
		"another key that it names":   {forged, other, ErrChanged},
		"more behind it":              {append(bytes.Clone(text), ' '), public, ErrChanged},
		"no signature":                {want, public, ErrUnsigned},
		"a signature without an end":  {[]byte(opening + label + `{"a":"` + strings.Repeat("x", 4096)), public, ErrUnsigned},
		"the words of another format": {[]byte(opening + label + "1" + ending + "}"), public, ErrUnsigned},
		"nothing":                     {nil, public, ErrUnsigned},
	} {
		if _, err := Verify(c.text, c.key); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	pem, err := EncodePublic(public)
	if back, err2 := ParsePublic(pem); err != nil || err2 != nil || !back.Equal(public) {
		t.Errorf("%v, %v", err, err2)
	}
	if _, err := ParsePublic([]byte("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n")); err == nil {
		t.Error("an empty key is one")
	}
}

// OpenSSL says the same of a signature, by the steps of the page about doctor.
func TestOpenSSLVerifies(t *testing.T) {
	dir := t.TempDir()
	text, _ := appended(t, dir)
	public, err := Public(dir)
	if err != nil {
		t.Fatal(err)
	}
	pem, _ := EncodePublic(public)
	if err := os.WriteFile(filepath.Join(dir, "node.pem"), pem, 0o600); err != nil {
		t.Fatal(err)
	}
	const steps = `sed 2d report.json > payload
		sed -n 2p report.json | sed 's/.*"value":"\([^"]*\)".*/\1/' | base64 -d > signature
		openssl pkeyutl -verify -pubin -inkey node.pem -rawin -in payload -sigfile signature`
	for change, good := range map[string]bool{"": true, "sed s/report/rapport/ report.json > changed.json; mv changed.json report.json\n": false} {
		if err := os.WriteFile(filepath.Join(dir, "report.json"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sh", "-c", change+steps)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); (err == nil) != good {
			t.Errorf("after %q: %v, %s", change, err, out)
		}
	}
}

// Reports follow each other; what is missing, changed or put in is named.
func TestChain(t *testing.T) {
	dir := t.TempDir()
	var all []Member
	for i := range 4 {
		text, at := appended(t, dir)
		if at.Sequence != uint64(i+1) || (at.Previous == "") != (i == 0) {
			t.Errorf("report %d is at %+v", i+1, at)
		}
		all = append(all, Member{fmt.Sprintf("%d.json", i+1), at, Hash(text)})
	}
	if sorted, err := Chain([]Member{all[2], all[0], all[1], all[1]}); err != nil || sorted[0].Sequence != 1 {
		t.Errorf("%v", err)
	}
	forged, twin := all[1], all[1]
	forged.Hash, twin.Hash = "f", "f"
	for want, members := range map[string][]Member{
		"1 report is missing": {all[0], all[2]}, "does not follow": {all[0], forged, all[2]}, "are both report 2": {all[0], all[1], twin},
	} {
		if _, err := Chain(members); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

// What is kept has a bound, belongs to nobody else, and the chain goes on after what was lost.
func TestKeep(t *testing.T) {
	dir := t.TempDir()
	for range keptMax + 5 {
		appended(t, dir)
	}
	names, err := filepath.Glob(filepath.Join(dir, FolderName, "*"))
	if err != nil || len(names) != keptMax || filepath.Base(names[0]) != "0000000006.json" {
		t.Errorf("%d files from %s, %v", len(names), names[0], err)
	}
	for name, mode := range map[string]os.FileMode{KeyName: 0o600, FolderName: 0o700 | os.ModeDir, FolderName + "/0000000006.json": 0o600} {
		if fi, err := os.Stat(filepath.Join(dir, name)); err != nil || fi.Mode() != mode {
			t.Errorf("%s: %v, %v", name, fi.Mode(), err)
		}
	}
	last := names[len(names)-1]
	if err := os.WriteFile(last, []byte("cut off"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, at := appended(t, dir); at.Sequence != keptMax+6 || at.Previous != Hash([]byte("cut off")) {
		t.Errorf("after a damaged one: %+v", at)
	}
	big := func(Link) ([]byte, error) {
		return []byte("{\n  \"x\": \"" + strings.Repeat("x", keptBytesMax) + "\"\n}\n"), nil
	}
	for range 3 {
		if _, _, err := Append(dir, true, big); err != nil {
			t.Fatal(err)
		}
	}
	if names, _ = filepath.Glob(filepath.Join(dir, FolderName, "*")); len(names) != keptLeast {
		t.Errorf("%d large files", len(names))
	}
	if _, _, err := Append(dir, true, func(Link) ([]byte, error) { return []byte("{}"), nil }); err == nil {
		t.Error("what has no lines is signed")
	}
	n, err := openNode(dir, write)
	if err != nil {
		t.Fatal(err)
	}
	defer n.close()
	if _, _, err := Append(dir, false, payload); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("while another one writes: %v", err)
	}
}

// A key that others can read, and what is not one, sign nothing; a link leads nowhere.
func TestOddKeys(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(dir string) error
		want  string
	}{
		"open":      {func(dir string) error { return os.Chmod(filepath.Join(dir, KeyName), 0o640) }, "chmod 600"},
		"not a key": {func(dir string) error { return os.WriteFile(filepath.Join(dir, KeyName), []byte("x"), 0o600) }, "no PRIVATE KEY"},
		"a folder": {func(dir string) error {
			_ = os.Remove(filepath.Join(dir, KeyName))
			return os.Mkdir(filepath.Join(dir, KeyName), 0o700)
		}, "is no file"},
		"a link": {func(dir string) error {
			return errors.Join(os.Rename(filepath.Join(dir, KeyName), filepath.Join(dir, "x")), os.Symlink("x", filepath.Join(dir, KeyName)))
		}, "exchanged"},
		"a link away": {func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, KeyName)), os.Symlink("/etc/passwd", filepath.Join(dir, KeyName)))
		}, "escapes"},
		"no folder": {func(dir string) error {
			return errors.Join(os.RemoveAll(filepath.Join(dir, FolderName)), os.WriteFile(filepath.Join(dir, FolderName), nil, 0o600))
		}, "no folder"},
	} {
		dir := t.TempDir()
		appended(t, dir)
		if err := c.spoil(dir); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Append(dir, true, payload); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		f.Fatal(err)
	}
	good, _ := payload(Link{})
	text, _ := Sign(private, good)
	f.Add(text)
	f.Add([]byte(opening + label + "{}" + ending))
	f.Fuzz(func(t *testing.T, in []byte) {
		if got, err := Verify(in, public); err == nil && !bytes.Equal(got, good) {
			t.Errorf("%q verifies", in)
		}
		SignedBy(in)
	})
}
