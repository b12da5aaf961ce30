package test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

// memoryLimit is redoubt_memory_limit_bytes as the broker reports it.
func memoryLimit(t *testing.T, b *testkit.Broker) string {
	t.Helper()
	return memorySeries(t, b, "redoubt_memory_limit_bytes")
}

func memorySeries(t *testing.T, b *testkit.Broker, name string) string {
	t.Helper()
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", b.Metrics))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "\n"+name+" ")
	value, _, _ := strings.Cut(rest, "\n")
	return value
}

// TestMemoryLimit: the start says the sum; GOMEMLIMIT counts because it is smaller;
// a reload changes the limit, and one that asks for more than there is changes
// nothing. SIGUSR1 gives memory back, and ends nobody.
func TestMemoryLimit(t *testing.T) {
	t.Setenv("GOMEMLIMIT", "200MiB")
	b := testkit.Start(t, testkit.Options{Config: "limits: {memory: auto}\n"})
	if line, ok := b.Stdout.WaitFor(patience, 0, "  memory  ", "GOMEMLIMIT = 200 MiB", "75 % of"); !ok {
		t.Errorf("the start does not say the sum: %q\n%s", line, b.Stdout)
	}
	if got := memoryLimit(t, b); got != "2.097152e+08" {
		t.Errorf("the limit is %s, want 200 MiB", got)
	}
	text, err := os.ReadFile(b.Config)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ size, says, limit string }{
		{"128MiB", "reloaded", "1.34217728e+08"},
		{"15TiB", "limits.memory is 15360.0 GiB", "1.34217728e+08"},
	} {
		logged := b.Stderr.Len()
		testkit.WriteFile(t, b.Config, strings.Replace(string(text), "memory: auto", "memory: "+c.size, 1))
		b.Signal(syscall.SIGHUP)
		if _, ok := b.Stderr.WaitFor(patience, logged, c.says); !ok {
			t.Errorf("%s: not answered %q:\n%s", c.size, c.says, b.Stderr.String()[logged:])
		}
		if got := memoryLimit(t, b); got != c.limit {
			t.Errorf("%s: the limit is %s, want %s", c.size, got, c.limit)
		}
	}
	b.Signal(syscall.SIGUSR1)
	if !until(patience, func() bool { return memorySeries(t, b, "redoubt_memory_collections_total") == "1" }) {
		t.Error("SIGUSR1 did not have memory given back")
	}
}

// TestMemoryMustBeThere: a limit that the machine cannot hold, and one that is too
// little to serve anybody, refuse the start with the sum.
func TestMemoryMustBeThere(t *testing.T) {
	for _, c := range []struct {
		name, config, environment string
		says                      []string
	}{
		{"more than there is", "limits: {memory: 15TiB}\n", "", []string{"limits.memory is 15360.0 GiB", "there is less", "auto"}},
		{"too little", "", "20MiB", []string{"too little memory", "GOMEMLIMIT = 20 MiB", "96 MiB"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.environment != "" {
				t.Setenv("GOMEMLIMIT", c.environment)
			}
			dir := testkit.TempDir(t)
			config := filepath.Join(dir, "redoubt.yaml")
			testkit.WriteFile(t, config, c.config)
			r := testkit.Exec(t, patience, "", append([]string{testkit.Command(t), "serve", "--config", config, "--data-dir", filepath.Join(dir, "data")}, testkit.AllowRoot()...)...)
			if r.Code != 1 {
				t.Errorf("exit code %d", r.Code)
			}
			for _, words := range c.says {
				if !strings.Contains(r.Text(), words) {
					t.Errorf("it does not say %q:\n%s", words, r.Text())
				}
			}
		})
	}
}
