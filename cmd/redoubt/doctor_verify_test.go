package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/redoubtmq/redoubt/harden"
	"github.com/redoubtmq/redoubt/harden/signed"
	"github.com/redoubtmq/redoubt/internal/testkit"
)

// Reports are verified by files and by folder, with the key of the node or one that is given, and
// whatever is wrong has an exit code and names the file.
func TestDoctorVerifies(t *testing.T) {
	dir, elsewhere := dataDir(t), dataDir(t)
	node := func(dir string) {
		t.Helper()
		if out, err, code := command(t, "", "doctor", "--public-key", "--data-dir", dir); code != 2 || !strings.Contains(err.Error()+out, "no key yet") {
			t.Errorf("without a key: exit code %d, %v\n%s", code, err, out)
		}
		for range 2 {
			if _, err := (&harden.Report{Node: "n1"}).KeepSigned(dir, "9.9", true); err != nil {
				t.Fatal(err)
			}
		}
	}
	node(dir)
	node(elsewhere)
	key := func(dir string) string {
		t.Helper()
		out, err, code := command(t, "", "doctor", "--public-key", "--data-dir", dir)
		at := strings.Index(out, "-----BEGIN PUBLIC KEY-----")
		if err != nil || code != 0 || at < 0 {
			t.Fatalf("exit code %d, %v\n%s", code, err, out)
		}
		file := filepath.Join(t.TempDir(), "node.pem")
		testkit.WriteFile(t, file, out[at:])
		return file
	}
	mine, theirs := key(dir), key(elsewhere)
	folder := filepath.Join(dir, signed.FolderName)
	first, second := filepath.Join(folder, "0000000001.json"), filepath.Join(folder, "0000000002.json")
	text, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	changed := filepath.Join(t.TempDir(), "changed.json")
	testkit.WriteFile(t, changed, string(bytes.Replace(text, []byte(`"points": 0`), []byte(`"points": 100`), 1)))
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--verify", folder}, 0, "the chain is whole: 2 reports, 1 to 2"},
		{[]string{"--verify", second + "," + first, "--key", mine}, 0, "the chain is whole"},
		{[]string{"--verify", second}, 0, "report 2 of n1"},
		{[]string{"--verify", second}, 0, "score 0 over 0 rows"},
		{[]string{"--verify", folder, "--key", theirs}, 1, "signed by another key"},
		{[]string{"--verify", changed}, 1, "changed.json: it was changed"},
		{[]string{"--verify", mine}, 1, "it is not signed"},
		{[]string{"--verify", filepath.Join(dir, "nothing")}, 2, "no such file"},
		{[]string{"--verify", t.TempDir()}, 2, "no file that ends in .json"},
		{[]string{"--verify", first, "--key", first}, 2, "no PUBLIC KEY in PEM"},
		{[]string{"--verify", first, "--data-dir", dataDir(t)}, 2, "--key FILE takes"},
		{[]string{"--key", mine}, 2, "--key is for --verify"},
	} {
		args := append([]string{"doctor"}, c.args...)
		if !strings.Contains(strings.Join(args, " "), "--data-dir") {
			args = append(args, "--data-dir", dir)
		}
		out, err, code := command(t, "", args...)
		if err != nil {
			out += err.Error()
		}
		if code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("%v: exit code %d, want %d and %q\n%s", c.args, code, c.code, c.want, out)
		}
	}
}

// What lies in a folder is read with a bound, whatever is put there while it is listed: the folder may
// belong to a broker that was taken over.
func TestVerifyReadsWithABound(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.json", "b.json"} {
		testkit.WriteFile(t, filepath.Join(dir, name), strings.Repeat("x", 1<<20))
	}
	if got, err := readReports([]string{dir}, 2<<20); err != nil || len(got) != 2 || len(got[filepath.Join(dir, "a.json")]) != 1<<20 {
		t.Errorf("%d reports, %v", len(got), err)
	}
	if _, err := readReports([]string{dir}, 2<<20-1); err == nil || !strings.Contains(err.Error(), "larger than 1 MiB together") {
		t.Errorf("more than may be: %v", err)
	}
	pipe, link := filepath.Join(dir, "pipe"), filepath.Join(dir, "link")
	if err := errors.Join(syscall.Mkfifo(pipe, 0o600), os.Symlink("a.json", link)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{pipe, link} {
		if _, err := readListed(name, 1); err == nil {
			t.Errorf("%s was a file a moment before, and is read", name)
		}
	}
}
