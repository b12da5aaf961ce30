package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

// Mosquitto's names for what we speak.
var mosquittoVersions = []string{"mqttv31", "mqttv311", "mqttv5"}

// sub starts mosquitto_sub and waits until the broker granted the filter. It
// prints topic, payload, QoS and the retain flag of each message.
func sub(t *testing.T, b *testkit.Broker, version, filter string, args ...string) *testkit.Process {
	t.Helper()
	testkit.Need(t, "mosquitto_sub")
	argv := []string{"stdbuf", "-oL", "mosquitto_sub", "-h", "localhost", "-p", port(b), "--cafile", b.CA(), "-V", version,
		"-u", user, "-P", password, "-t", filter, "-F", "got %t %p q%q r%r", "-d"}
	p := testkit.Go(t, "", append(argv, args...)...)
	p.MayHang = true // its handler of SIGTERM sends DISCONNECT, for which it takes locks that what it interrupts may hold
	if _, ok := p.Stdout.WaitFor(patience, 0, "Subscribed (mid"); !ok {
		t.Fatalf("mosquitto_sub did not subscribe:\n%s%s\nbroker:\n%s", p.Stdout, p.Stderr, b.Log())
	}
	return p
}

// pub runs mosquitto_pub to its end.
func pub(t *testing.T, b *testkit.Broker, version, topic, payload string, args ...string) testkit.Run {
	t.Helper()
	testkit.Need(t, "mosquitto_pub")
	argv := []string{"mosquitto_pub", "-h", "localhost", "-p", port(b), "--cafile", b.CA(), "-V", version,
		"-u", user, "-P", password, "-t", topic, "-m", payload}
	return testkit.Exec(t, patience, "", append(argv, args...)...)
}

// mustPub fails unless the message was accepted.
func mustPub(t *testing.T, b *testkit.Broker, version, topic, payload string, args ...string) {
	t.Helper()
	if r := pub(t, b, version, topic, payload, args...); r.Code != 0 {
		t.Fatalf("mosquitto_pub %s: exit code %d\n%s", topic, r.Code, r.Text())
	}
}

// got waits for one message.
func got(t *testing.T, p *testkit.Process, want string) {
	t.Helper()
	if _, ok := p.Stdout.WaitFor(patience, 0, "got "+want); !ok {
		t.Errorf("did not get %q:\n%s%s", want, p.Stdout, p.Stderr)
	}
}

// TestDenialsNameTheirRule: a rule that refuses is named with file and line, so
// that the operator can look at it.
func TestDenialsNameTheirRule(t *testing.T) {
	t.Parallel()
	b := start(t, testkit.Options{Rules: "version: 1\nrules:\n  - {id: not-this, deny: all, topics: [\"devices/dev1/private\"]}\n  - {allow: all, topics: [\"devices/${username}/#\"]}\n"})
	for _, command := range []string{"pub", "sub"} {
		logged := b.Stderr.Len()
		argv := []string{testkit.Command(t), command, "-h", "localhost", "-p", port(b), "--cafile", b.CA(), "-u", user, "-P", password, "-t", "devices/dev1/private"}
		if command == "pub" {
			argv = append(argv, "-m", "x", "-q", "1")
		}
		r := testkit.Exec(t, patience, "", argv...)
		if r.Code != 5 || !strings.Contains(r.Text(), "not authorized") || !strings.Contains(r.Text(), "devices/dev1/private") || !strings.Contains(r.Text(), "redoubt why") {
			t.Errorf("redoubt %s: exit code %d\n%s", command, r.Code, r.Text())
		}
		if _, ok := b.Stderr.WaitFor(patience, logged, "denied", "rules.yaml", "\"line\":3"); !ok {
			t.Errorf("%s: the log does not say which rule:\n%s", command, b.Stderr.String()[logged:])
		}
	}
}

func TestMosquitto(t *testing.T) {
	t.Parallel()
	b := start(t, testkit.Options{})
	for _, version := range mosquittoVersions {
		topic := func(name string) string { return "devices/" + user + "/" + version + "/" + name }
		t.Run(version, func(t *testing.T) {
			t.Run("qos", func(t *testing.T) {
				s := sub(t, b, version, topic("q/#"), "-q", "2")
				for qos := range 3 {
					name := fmt.Sprintf("q/%d", qos)
					mustPub(t, b, version, topic(name), "hello", "-q", fmt.Sprint(qos))
					got(t, s, fmt.Sprintf("%s hello q%d r0", topic(name), qos))
				}
				s.Stop()
			})
			t.Run("lower subscription", func(t *testing.T) {
				s := sub(t, b, version, topic("low"), "-q", "0")
				mustPub(t, b, version, topic("low"), "hello", "-q", "2")
				got(t, s, topic("low")+" hello q0 r0")
				s.Stop()
			})
			t.Run("retained", func(t *testing.T) {
				mustPub(t, b, version, topic("kept"), "old", "-q", "1", "-r")
				mustPub(t, b, version, topic("kept"), "new", "-q", "1", "-r")
				s := sub(t, b, version, topic("+"), "-q", "1")
				got(t, s, topic("kept")+" new q1 r1")
				if strings.Contains(s.Stdout.String(), " old ") {
					t.Error("an older retained message was delivered")
				}
				s.Stop()
				mustPub(t, b, version, topic("kept"), "", "-q", "1", "-r")
				s = sub(t, b, version, topic("+"), "-q", "1")
				mustPub(t, b, version, topic("marker"), "m", "-q", "1")
				got(t, s, topic("marker")+" m q1 r0")
				if strings.Contains(s.Stdout.String(), "kept") {
					t.Error("a cleared retained message was delivered")
				}
				s.Stop()
			})
			t.Run("will", func(t *testing.T) {
				s := sub(t, b, version, topic("will"), "-q", "1")
				dying := sub(t, b, version, topic("nothing"), "-i", "dying-"+version, "--will-topic", topic("will"), "--will-payload", "gone", "--will-qos", "1")
				dying.Signal(killed)
				dying.Wait(patience)
				got(t, s, topic("will")+" gone q1 r0")
				s.Stop()
			})
			t.Run("resume", func(t *testing.T) {
				args := []string{"-q", "1", "-c", "-i", "resume-" + version}
				if version == "mqttv5" {
					args = append(args, "-x", "3600")
				}
				s := sub(t, b, version, topic("resume"), args...)
				s.Stop()
				for i := range 10 {
					mustPub(t, b, version, topic("resume"), fmt.Sprint(i), "-q", "1")
				}
				s = sub(t, b, version, topic("resume"), args...)
				got(t, s, topic("resume")+" 9 q1 r0")
				if have := strings.Count(s.Stdout.String(), "got "); have != 10 {
					t.Errorf("%d messages waited, want 10:\n%s", have, s.Stdout)
				}
				s.Stop()
			})
			t.Run("takeover", func(t *testing.T) {
				id := "same-" + version
				first := sub(t, b, version, topic("take"), "-i", id)
				second := connect(t, b, wireVersion(version), id)
				if version == "mqttv5" {
					if _, ok := first.Stdout.WaitFor(patience, 0, "DISCONNECT (142)"); !ok { // 0x8E
						t.Errorf("mosquitto_sub was not told:\n%s%s", first.Stdout, first.Stderr)
					}
					second.wantAlive()
				} else {
					// Nobody can tell a 3.1.1 client: it reconnects and throws out the second in
					// turn, which proves that it was thrown out.
					second.wantClosed()
				}
				// Not asked to stop: its handler of SIGTERM can wait for a lock that the
				// interrupted reconnection holds.
				first.Signal(killed)
				first.Wait(patience)
			})
			t.Run("denied", func(t *testing.T) {
				logged := b.Stderr.Len()
				r := pub(t, b, version, "devices/"+other+"/x", "no", "-q", "1", "-i", "denied-"+version)
				if version == "mqttv5" && !strings.Contains(r.Text(), "Not authorized") {
					t.Errorf("the client is not told why:\n%s", r.Text())
				}
				if _, ok := b.Stderr.WaitFor(patience, logged, "publish denied", "devices/"+other+"/x", "denied-"+version, "last rule"); !ok {
					t.Errorf("the log does not say which rule refused what:\n%s", b.Stderr.String()[logged:])
				}
			})
		})
	}
}
