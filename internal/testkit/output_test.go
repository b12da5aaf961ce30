package testkit

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestWaitForTakesWholeLinesAfterTheMark(t *testing.T) {
	o := newOutput()
	_, _ = o.Write([]byte("ready one\n"))
	if line, ok := o.WaitFor(time.Second, 0, "ready"); !ok || line != "ready one" {
		t.Errorf("got %q, %v", line, ok)
	}
	mark := o.Len()
	if _, ok := o.WaitFor(time.Millisecond, mark, "ready"); ok {
		t.Error("found what was printed before the mark")
	}
	go func() {
		_, _ = o.Write([]byte("rea"))
		_, _ = o.Write([]byte("dy two\n"))
	}()
	if line, ok := o.WaitFor(10*time.Second, mark, "ready", "two"); !ok || line != "ready two" {
		t.Errorf("got %q, %v", line, ok)
	}
	_, _ = o.Write([]byte("half"))
	go o.end()
	if line, ok := o.WaitFor(10*time.Second, mark, "half"); !ok || line != "half" {
		t.Errorf("the last line has no end: got %q, %v", line, ok)
	}
	if _, ok := o.WaitFor(10*time.Second, 0, "never"); ok {
		t.Error("found what was never printed")
	}
}

func TestExecAnswersStreamsAndCode(t *testing.T) {
	r := Exec(t, 10*time.Second, "in\n", "sh", "-c", "cat; echo err >&2; exit 3")
	if r.Stdout != "in\n" || r.Stderr != "err\n" || r.Code != 3 {
		t.Errorf("got %+v", r)
	}
}

func TestStopEndsByPid(t *testing.T) {
	p := Go(t, "", "sh", "-c", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done")
	if _, ok := p.Stdout.WaitFor(10*time.Second, 0, "up"); !ok {
		t.Fatal("did not start")
	}
	if r := p.Stop(); r.Code != 0 || !strings.Contains(r.Stdout, "bye") {
		t.Errorf("got %+v", r)
	}
	if !p.Ended() {
		t.Error("it still runs")
	}
}

func TestEnvironmentHidesOurSettings(t *testing.T) {
	t.Setenv("REDOUBT_LIMITS__PACKET_BYTES", "1")
	r := Exec(t, 10*time.Second, "", "sh", "-c", "echo ${REDOUBT_LIMITS__PACKET_BYTES:-none}")
	if strings.TrimSpace(r.Stdout) != "none" {
		t.Errorf("a setting of this machine reaches the program under test: %q", r.Stdout)
	}
}

func TestTempDirIsShortAndPrivate(t *testing.T) {
	dir := TempDir(t)
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 || len(dir) > 60 {
		t.Errorf("%s: %v, %v", dir, info.Mode(), err)
	}
}

func TestRootHoldsTheModule(t *testing.T) {
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(root + "/go.mod"); err != nil || !strings.HasPrefix(string(text), "module github.com/redoubtmq/redoubt") {
		t.Errorf("%s: %v", root, err)
	}
}

// TestMakefileBuildsWithTheSameFlags: with others, all of it would be compiled
// twice.
func TestMakefileBuildsWithTheSameFlags(t *testing.T) {
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	r := Exec(t, 30*time.Second, "", "make", "--dry-run", "--directory", root, "test")
	if want := "go test -json " + strings.Join(raceFlags, " ") + " "; r.Code != 0 || !strings.Contains(r.Stdout, want) {
		t.Errorf("make test does not say %q:\n%s", want, r.Text())
	}
	if want := "GORACE='" + raceOptions + "'"; !strings.Contains(r.Stdout, want) {
		t.Errorf("make test does not say %q:\n%s", want, r.Text())
	}
}
