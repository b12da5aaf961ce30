package test

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// refusal is one way to be turned away, and what each side must be able to read.
type refusal struct {
	name    string
	flags   []string // what is different from a command that works
	code    int      // exit code of `redoubt pub`
	says    []string // parts of what `redoubt pub` prints
	theySay string   // part of what mosquitto_pub prints
	log     []string // parts of one line of the broker's log
}

// TestRefusedAndBothSidesCanTellWhy: the operator who reads the log and the
// person at the client each see the reason without asking the other (P4.1, P3.3).
// Each case has a broker of its own, because a broker says the same thing about
// the same address once a minute.
func TestRefusedAndBothSidesCanTellWhy(t *testing.T) {
	t.Parallel()
	foreign := foreignCA(t)
	for i, c := range []refusal{
		{name: "wrong CA", flags: []string{"--cafile", foreign}, code: 4, says: []string{"CA", foreign},
			theySay: "TLS error", log: []string{"TLS handshake failed", "127.0.0.1", "certificate", "CA"}},
		// Linux takes 0.0.0.0 for this machine, and no certificate names it.
		{name: "wrong host name", flags: []string{"-h", "0.0.0.0"}, code: 4, says: []string{"0.0.0.0", "localhost"},
			theySay: "TLS error", log: []string{"handshake", "127.0.0.1", "certificate"}},
		{name: "wrong password", flags: []string{"-P", "wrong"}, code: 5, says: []string{"user name or password"},
			theySay: "Bad User Name or Password", log: []string{"CONNECT refused", user, "127.0.0.1", "wrong password"}},
		{name: "no password", flags: []string{"-P", ""}, code: 5, says: []string{"user name or password"},
			theySay: "Bad User Name or Password", log: []string{"CONNECT refused", user, "127.0.0.1", "no password"}},
		{name: "unknown user", flags: []string{"-u", "nobody-here"}, code: 5, says: []string{"user name or password"},
			theySay: "Bad User Name or Password", log: []string{"CONNECT refused", "nobody-here", "127.0.0.1", "no such user"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := start(t, testkit.Options{Repeats: i > 0})
			logged := b.Stderr.Len()
			usual := []string{"-h", "localhost", "-p", port(b), "--cafile", b.CA(), "-u", user, "-P", password, "-t", "devices/" + user + "/x", "-m", "hello", "-q", "1"}
			r := testkit.Exec(t, patience, "", append([]string{testkit.Need(t, "mosquitto_pub"), "-V", "mqttv5"}, replace(usual, c.flags)...)...)
			if r.Code == 0 || !strings.Contains(r.Text(), c.theySay) {
				t.Errorf("mosquitto_pub: exit code %d, does not say %q\n%s", r.Code, c.theySay, r.Text())
			}
			if _, ok := b.Stderr.WaitFor(patience, logged, c.log...); !ok {
				t.Errorf("no line of the broker's log has %q:\n%s", c.log, b.Stderr.String()[logged:])
			}
			r = testkit.Exec(t, patience, "", append([]string{testkit.Command(t), "pub"}, replace(usual, c.flags)...)...)
			if r.Code != c.code {
				t.Errorf("redoubt pub: exit code %d, want %d\n%s", r.Code, c.code, r.Text())
			}
			for _, part := range c.says {
				if !strings.Contains(r.Text(), part) {
					t.Errorf("redoubt pub does not say %q:\n%s", part, r.Text())
				}
			}
			for _, text := range []string{r.Text(), b.Log()} {
				if strings.Contains(text, password) {
					t.Errorf("a password was printed:\n%s", text)
				}
			}
		})
	}
}

// replace puts the values of flags in over into argv.
func replace(argv, over []string) []string {
	out := append([]string(nil), argv...)
	for i := 0; i+1 < len(over); i += 2 {
		for j, a := range out {
			if a == over[i] {
				out[j+1] = over[i+1]
			}
		}
	}
	return out
}

// TestPlaintextOnTheTLSPort: a client that forgot TLS is closed at once, and the
// log says what it forgot (P1.4).
func TestPlaintextOnTheTLSPort(t *testing.T) {
	t.Parallel()
	b := start(t, testkit.Options{})
	logged := b.Stderr.Len()
	conn, err := net.Dial("tcp", b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write((&mqtt.Connect{Version: mqtt.V5, ClientID: "plain", CleanStart: true, ReceiveMaximum: 65535, RequestProblemInformation: true}).Append(nil, mqtt.V5, 0)); err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(conn)
	if len(answer) > 0 && answer[0] == byte(mqtt.CONNACK)<<4 {
		t.Errorf("answered in MQTT: %x", answer)
	}
	if _, ok := b.Stderr.WaitFor(patience, logged, "127.0.0.1", "TLS"); !ok {
		t.Errorf("the log does not say why:\n%s", b.Stderr.String()[logged:])
	}
	r := testkit.Exec(t, patience, "", testkit.Command(t), "pub", "-h", "localhost", "-p", port(b), "--protocol", "mqtt", "-t", "x", "-m", "y")
	if r.Code == 0 || !strings.Contains(r.Text(), "TLS") {
		t.Errorf("redoubt pub without TLS: exit code %d, does not mention TLS:\n%s", r.Code, r.Text())
	}
	connect(t, b, mqtt.V5, "after").wantAlive()
}

// TestOldTLSIsRefused: TLS 1.0 and 1.1 do not exist here, and 1.2 and 1.3 do
// (P3.1).
func TestOldTLSIsRefused(t *testing.T) {
	t.Parallel()
	b := testkit.Start(t, testkit.Options{})
	for _, c := range []struct {
		version uint16
		ok      bool
	}{{tls.VersionTLS10, false}, {tls.VersionTLS11, false}, {tls.VersionTLS12, true}, {tls.VersionTLS13, true}} {
		config := trust(t, b)
		config.MinVersion, config.MaxVersion = c.version, c.version
		conn, err := tls.Dial("tcp", b.Addr(), config)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", tls.VersionName(c.version), err)
		}
		if err == nil {
			_ = conn.Close()
		}
	}
}
