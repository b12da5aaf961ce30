package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

// Every command has a manual page with its flags, from what --help says.
func TestManualPages(t *testing.T) {
	t.Parallel()
	dir := testkit.TempDir(t)
	root := rootCmd()
	root.SetArgs([]string{"man", dir})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	for _, c := range visible(root) {
		b, err := os.ReadFile(filepath.Join(dir, pageName(c)+".1"))
		if err != nil {
			t.Error(err)
			continue
		}
		page := string(b)
		c.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && !strings.Contains(page, roff("--"+f.Name)+`\fR`) {
				t.Errorf("%s says nothing of --%s", pageName(c), f.Name)
			}
		})
		for i, line := range strings.Split(page, "\n") {
			if name, _, _ := strings.Cut(line, " "); strings.HasPrefix(line, ".") && !strings.Contains(".TH .SH .TP .nf .fi ", name+" ") {
				t.Errorf("%s line %d: %q", pageName(c), i+1, line)
			}
		}
	}
}

func TestWhatMeansSomethingToMan(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"a-b":              `a\-b`,
		".TH x\n'y\n.z":    "\\&.TH x\n\\&'y\n\\&.z",
		`\fB ^~` + "`":     `\efB \(ha\(ti\(ga`,
		"devices/+/temp #": "devices/+/temp #",
	} {
		if got := roff(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}
