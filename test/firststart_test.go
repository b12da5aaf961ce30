package test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

// linesMax is how much a first start may print.
const linesMax = 15

// TestFirstStartPrintsCommandsThatWork starts on an empty directory, reads what
// a newcomer reads, and runs the commands as they are printed.
func TestFirstStartPrintsCommandsThatWork(t *testing.T) {
	t.Parallel()
	b := testkit.Start(t, testkit.Options{})
	printed := b.Stdout.String()
	if n := strings.Count(printed, "\n"); n > linesMax || n == 0 {
		t.Errorf("%d lines, at most %d:\n%s", n, linesMax, printed)
	}
	for _, part := range []string{b.CA(), port(b)} {
		if !strings.Contains(printed, part) {
			t.Errorf("does not mention %s:\n%s", part, printed)
		}
	}
	// Where the user's shell finds redoubt is not our business here: ours is first
	// in the path.
	path := "PATH=" + strings.TrimSuffix(testkit.Binary(t), "/redoubt") + ":$PATH; "
	add := command(t, printed, `redoubt .*user add .*`)
	r := testkit.Exec(t, patience, "", "sh", "-c", path+add)
	if r.Code != 0 {
		t.Fatalf("%s\nexit code %d\n%s", add, r.Code, r.Text())
	}
	generated := regexp.MustCompile(`[\w-]{28,}`).FindAllString(r.Text(), -1)
	if len(generated) == 0 {
		t.Fatalf("no password in:\n%s", r.Text())
	}
	secret := generated[0]
	fill := func(c string) string {
		return regexp.MustCompile(`(-P )('[^']*'|"[^"]*"|\S+)`).ReplaceAllString(c, "${1}'"+secret+"'")
	}
	subscribe := command(t, printed, `mosquitto_sub .*`)
	s := testkit.Go(t, "", "sh", "-c", "exec stdbuf -oL "+fill(subscribe)+" -d")
	if _, ok := s.Stdout.WaitFor(patience, 0, "Subscribed (mid"); !ok {
		t.Fatalf("%s\n%s%s", subscribe, s.Stdout, s.Stderr)
	}
	pub := command(t, printed, `mosquitto_pub .*`)
	if r := testkit.Exec(t, patience, "", "sh", "-c", fill(pub)); r.Code != 0 {
		t.Fatalf("%s\nexit code %d\n%s", pub, r.Code, r.Text())
	}
	message := regexp.MustCompile(`-m ('[^']*'|"[^"]*"|\S+)`).FindStringSubmatch(pub)
	if message == nil {
		t.Fatalf("no message in %s", pub)
	}
	if _, ok := s.Stdout.WaitFor(10*time.Second, 0, strings.Trim(message[1], `'"`)); !ok {
		t.Errorf("the message did not arrive:\n%s%s", s.Stdout, s.Stderr)
	}
	if strings.Contains(b.Log(), secret) {
		t.Error("the broker printed the password")
	}
}

// command finds a command in what was printed.
func command(t *testing.T, printed, pattern string) string {
	t.Helper()
	c := regexp.MustCompile(pattern).FindString(printed)
	if c == "" {
		t.Fatalf("no command like %s in:\n%s", pattern, printed)
	}
	return c
}
