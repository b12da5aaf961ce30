package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The flags of mosquitto stand beside the program's own without a clash, and -h
// is the host.
func TestPubAndSubInTheProgram(t *testing.T) {
	for _, command := range []string{"pub", "sub"} {
		var out bytes.Buffer
		root := rootCmd()
		root.SetOut(&out)
		root.SetArgs([]string{command, "--help"})
		if err := root.Execute(); err != nil {
			t.Fatalf("%s --help: %v", command, err)
		}
		for _, want := range []string{"-h, --host HOST", "-o, --output", "--data-dir", "Exit codes: 0 ok"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s --help has no %q", command, want)
			}
		}
	}
}

func TestPubUsageErrorEndsWithTwo(t *testing.T) {
	for _, args := range [][]string{{"pub", "-t", "a"}, {"pub", "--colour"}, {"sub"}, {"sub", "-t", "a", "-q", "9"}, {"pub", "-t", "a", "-m", "b", "stray"}} {
		if code := run(args); code != 2 {
			t.Errorf("%q ended with %d, want 2", args, code)
		}
	}
}

func TestClientDefaults(t *testing.T) {
	t.Setenv("REDOUBT_PASSWORD", "geheim")
	dir := t.TempDir()
	d, err := clientDefaults(&globals{DataDir: dir})
	if err != nil || d.CAFile != "" || !d.HasPassword || string(d.Password.Reveal()) != "geheim" {
		t.Errorf("an empty data directory gives %+v, %v", d, err)
	}
	ca := filepath.Join(dir, "certs", "ca.pem")
	if err := os.MkdirAll(filepath.Dir(ca), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ca, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if d, err = clientDefaults(&globals{DataDir: dir}); err != nil || d.CAFile != ca {
		t.Errorf("a data directory with a CA gives %+v, %v", d, err)
	}
	file := filepath.Join(t.TempDir(), "redoubt.yaml")
	if err := os.WriteFile(file, []byte("node: { data_dir: "+dir+" }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if d, err = clientDefaults(&globals{ConfigFile: file}); err != nil || d.CAFile != ca {
		t.Errorf("a configuration file gives %+v, %v", d, err)
	}
	if err := os.WriteFile(file, []byte("nonsense: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = clientDefaults(&globals{ConfigFile: file}); err == nil {
		t.Error("a configuration file that was asked for and is not valid is passed over")
	}
}
