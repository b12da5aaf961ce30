package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// oldUsers is a users file of the first releases: user has the password of the suites,
// and other a generated secret.
const (
	oldUserSum  = "$argon2id$v=19$m=19456,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$S8+FZTmHjFpa60po4zEJxcWQSH1sedxkMtKdSkz6E4c"
	oldOtherSum = "$rdt-sha256$v=1$AAECAwQFBgcICQoLDA0ODw$o78EKejQuy2o2YrqWD2c44HnhrMyrVDoitdRaOreXSs"
	oldSecret   = "rdt_6bKlKOYsEWagjdn6SqgTLM4wIQu2zp2an"
)

func oldUsers() string {
	return fmt.Sprintf(`{"version": 1, "users": [
  {"name": %q, "hash": %q, "created": "2026-01-01T00:00:00Z", "changed": "2026-01-01T00:00:00Z"},
  {"name": %q, "hash": %q, "created": "2026-01-01T00:00:00Z", "changed": "2026-01-01T00:00:00Z"}
]}
`, user, oldUserSum, other, oldOtherSum)
}

// login answers what a user is told.
func login(t *testing.T, b *testkit.Broker, name, word string) mqtt.ReasonCode {
	t.Helper()
	w := dial(t, b, trust(t, b), mqtt.V5)
	w.send((&mqtt.Connect{Version: mqtt.V5, ClientID: name, CleanStart: true, KeepAlive: 60, HasUsername: true, Username: name, HasPassword: true, Password: []byte(word), ReceiveMaximum: 10}).Append(nil, mqtt.V5, 0))
	p := w.want(mqtt.CONNACK)
	var ack mqtt.Connack
	if err := mqtt.DecodeConnack(p.Body, p.Header, mqtt.V5, mqtt.Limits{UserProperties: -1}, &ack); err != nil {
		t.Fatal(err)
	}
	return ack.Reason
}

// reborn kills a broker and starts another one on what it left.
func reborn(t *testing.T, b *testkit.Broker) *testkit.Broker {
	t.Helper()
	b.Signal(killed)
	b.Wait(patience)
	return testkit.Start(t, testkit.Options{DataDir: b.DataDir, Repeats: true})
}

// TestUsersSurviveAKill: what `redoubt user` said is done is done.
func TestUsersSurviveAKill(t *testing.T) {
	b := start(t, testkit.Options{})
	b = reborn(t, b)
	if rc := login(t, b, user, password); rc != mqtt.Success {
		t.Errorf("%s was added and is told %v", user, rc)
	}
	if r := b.Redoubt(otherPassword+"\n", "user", "passwd", user, "--password-stdin"); r.Code != 0 {
		t.Fatal(r.Text())
	}
	if r := b.Redoubt("", "user", "delete", other); r.Code != 0 {
		t.Fatal(r.Text())
	}
	b = reborn(t, b)
	for _, c := range []struct {
		name, word string
		want       mqtt.ReasonCode
	}{{user, password, mqtt.BadUserNameOrPassword}, {user, otherPassword, mqtt.Success}, {other, otherPassword, mqtt.BadUserNameOrPassword}} {
		if rc := login(t, b, c.name, c.word); rc != c.want {
			t.Errorf("%s is told %v, want %v", c.name, rc, c.want)
		}
	}
	// Without a broker, on what a kill left.
	b.Signal(killed)
	b.Wait(patience)
	if r := b.Redoubt("", "user", "list"); r.Code != 0 || !strings.Contains(r.Stdout, user) || strings.Contains(r.Stdout, other) {
		t.Errorf("user list: exit code %d\n%s", r.Code, r.Text())
	}
	b.AddUser(other, otherPassword)
	b = testkit.Start(t, testkit.Options{DataDir: b.DataDir, Repeats: true})
	if rc := login(t, b, other, otherPassword); rc != mqtt.Success {
		t.Errorf("%s was added without a broker and is told %v", other, rc)
	}
	if r := b.Redoubt("", "reload"); r.Code != 0 || !strings.Contains(r.Stdout, "nothing is different") {
		t.Errorf("reload: exit code %d\n%s", r.Code, r.Text())
	}
}

// TestUsersOfTheFirstReleases: everybody of an old users file comes in, the file has
// another name, an old copy is refused, and no secret is in the log.
func TestUsersOfTheFirstReleases(t *testing.T) {
	dir := filepath.Join(testkit.TempDir(t), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "users.json")
	testkit.WriteFile(t, file, oldUsers())
	b := testkit.Start(t, testkit.Options{DataDir: dir})
	for name, word := range map[string]string{user: password, other: oldSecret} {
		if rc := login(t, b, name, word); rc != mqtt.Success {
			t.Errorf("%s is told %v", name, rc)
		}
	}
	if text, err := os.ReadFile(file + ".migrated"); err != nil || string(text) != oldUsers() {
		t.Errorf("the file that was put aside: %v", err)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the file: %v", err)
	}
	logs := b.Log()
	if n := strings.Count(logs, "users.json.migrated"); n != 1 {
		t.Errorf("the log names the file %d times", n)
	}
	b = reborn(t, b)
	if rc := login(t, b, other, oldSecret); rc != mqtt.Success {
		t.Errorf("%s is told %v after a kill", other, rc)
	}
	if r := b.Redoubt("", "user", "delete", other); r.Code != 0 {
		t.Fatal(r.Text())
	}
	logs += b.Log()
	b.Stop()
	testkit.WriteFile(t, file, oldUsers()) // somebody restores it
	r := testkit.Exec(t, patience, "", append([]string{testkit.Command(t), "serve", "--config", b.Config, "--data-dir", dir}, testkit.AllowRoot()...)...)
	if r.Code == 0 || !strings.Contains(r.Text(), file) || !strings.Contains(r.Text(), fmt.Sprintf("%q", other)) {
		t.Errorf("an old file was taken: exit code %d\n%s", r.Code, r.Text())
	}
	logs += r.Text()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	b = testkit.Start(t, testkit.Options{DataDir: dir})
	if rc := login(t, b, other, oldSecret); rc != mqtt.BadUserNameOrPassword {
		t.Errorf("%s was deleted and is told %v", other, rc)
	}
	for _, secret := range []string{password, oldSecret, oldUserSum[60:], oldOtherSum[45:]} {
		if strings.Contains(logs+b.Log(), secret) {
			t.Errorf("a secret is in the log")
		}
	}
}
