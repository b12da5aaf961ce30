package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var rewriteDocs = flag.Bool("rewrite", false, "record generated files instead of comparing them")

// TestDocs: docs/cli.md says what the program says of itself, for every command.
func TestDocs(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "cli.md")
	var want bytes.Buffer
	want.WriteString("# Commands\n\n" +
		"Every command of `redoubt`, as `--help` shows it. The page is made from the program: change the command, then run\n" +
		"`go test ./cmd/redoubt -run TestDocs -rewrite`. `pub` and `sub` have a [page of their own](cli-pub-sub.md), and so has `bench` ([cli-bench.md](cli-bench.md)).\n\n" +
		"Commands that talk to a running broker do so over its administration socket (`admin.socket`), as the user the broker\n" +
		"runs as or as root. They end with 0 when it is done, 1 when it was refused or failed, 2 for a command line that makes no\n" +
		"sense and 3 when no broker answers. The same is there for programs: HTTP on that socket, with the document of the API at\n" +
		"`/api/v5/openapi.json`. Names that clients chose are shown with control characters as codes such as `\\x1b`.\n\n")
	document(&want, visible(rootCmd()))
	if *rewriteDocs {
		if err := os.WriteFile(path, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("docs/cli.md is stale (%v): go test ./cmd/redoubt -run TestDocs -rewrite", err)
	}
}

// TestReadmeNamesEveryCommand: whoever reads no further than the README knows what there is.
func TestReadmeNamesEveryCommand(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range rootCmd().Commands() {
		if c.Hidden || c.Name() == "help" {
			continue
		}
		if !regexp.MustCompile("`" + c.Name() + "[ `]").Match(readme) {
			t.Errorf("%s is not there", c.Name())
		}
		for _, s := range c.Commands() {
			if c.Name() != "completion" && !regexp.MustCompile("`"+c.Name()+" ([a-z-]+\\|)*"+s.Name()+"[|`]").Match(readme) {
				t.Errorf("%s %s is not there", c.Name(), s.Name())
			}
		}
	}
}

// TestEveryCommandIsDocumented: each says in a sentence what it does, and each that
// does something says it at length.
func TestEveryCommandIsDocumented(t *testing.T) {
	for _, c := range visible(rootCmd()) {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: its short help is %q", c.CommandPath(), c.Short)
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s --%s says nothing of itself", c.CommandPath(), f.Name)
			}
		})
		if c.Parent() == nil || c.Name() == "version" {
			continue
		}
		if c.Long == "" && c.Example == "" && !c.HasSubCommands() && c.Flags().HasFlags() {
			t.Errorf("%s has flags and no help", c.CommandPath())
		}
	}
}

func document(b *bytes.Buffer, commands []*cobra.Command) {
	for _, c := range commands {
		fmt.Fprintf(b, "## `%s`\n\n", c.CommandPath())
		text := c.Long
		if text == "" {
			text = c.Short + "."
		}
		text = strings.TrimSpace(strings.ReplaceAll(text, "\n\n"+brokerHelp, "")) // said once, above
		fmt.Fprintf(b, "```text\n%s\n", text)
		if c.Runnable() && !c.HasSubCommands() {
			fmt.Fprintf(b, "\nUsage: %s\n", c.UseLine())
		}
		if c.Example != "" {
			fmt.Fprintf(b, "\nExamples:\n%s\n", c.Example)
		}
		if flags := c.NonInheritedFlags().FlagUsages(); flags != "" && !elsewhere(c) {
			fmt.Fprintf(b, "\nFlags:\n%s", flags)
		}
		b.WriteString("```\n\n")
	}
	b.Truncate(b.Len() - 1)
}

// elsewhere tells whether the flags of c are on a page of their own.
func elsewhere(c *cobra.Command) bool {
	return c.Name() == "pub" || c.Name() == "sub" || c.HasParent() && c.Parent().Name() == "bench"
}
