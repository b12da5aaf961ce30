package harden

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

var rewrite = flag.Bool("rewrite", false, "record generated files instead of comparing them")

// TestMain fixes the umask, because t.TempDir makes its folders with it, turns
// core dumps off as a unit does, lets tests that mostly wait do so side by side,
// and checks that no connection is left.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	syscall.Umask(0o022)
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(counted{m})
}

// entrances are the ways in, of which every one is judged.
var entrances = []string{"mqtt", "mqtts", "ws", "wss"}

// A broker without flaws passes every probe at every kind of entrance, so that
// what fails below fails because of its flaw.
func TestAGoodBrokerPasses(t *testing.T) {
	t.Parallel()
	for name, fl := range map[string]flaws{
		"good": {}, "without retained messages": {noRetain}, "without wildcards": {noWildcards},
		"without shared subscriptions": {noShared}, "QoS 1 at most": {qos1},
		"MQTT 3.1.1 only": {only4}, "TLS 1.3 only": {only13},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, fl)
			ways := entrances
			if len(fl) > 0 {
				ways = []string{"mqtts"}
			}
			for _, p := range ways {
				f.listen("to-"+p, p, "127.0.0.1:0")
			}
			for _, id := range []string{"P3.1", "P3.2", "P4.1", "P4.2", "P4.3"} {
				row := examine(t, f.alone(f.env()), id).Rows[0]
				scopes := map[string]bool{}
				for _, r := range row.Results {
					for _, o := range r.Observations {
						if o.State != Pass && o.State != NotApplicable {
							t.Errorf("%s %s: %+v", id, r.Scope, o)
						}
					}
					if r.State != Pass {
						t.Errorf("%s %s: %s: %s", id, r.Scope, r.State, r.Summary)
					}
					listener, _, _ := strings.Cut(r.Scope, "@")
					scopes[listener] = true
				}
				for _, p := range ways {
					if secure := p == "mqtts" || p == "wss"; id[:2] == "P3" && secure != scopes["listener:to-"+p] || id[:2] != "P3" && !scopes["listener:to-"+p] {
						t.Errorf("%s: wrong about whether to look at %s: %v", id, p, scopes)
					}
				}
				if row.State() != Pass || row.Confidence() != Behavioural {
					t.Errorf("%s: %s, %s", id, row.State(), row.Confidence())
				}
				fixture(id, name, Pass)
			}
		})
	}
}

// mutants are broken brokers: the row that must notice, the state it must be in,
// and what must be in the words of the finding.
var mutants = []struct {
	name  string
	row   string
	flaws flaws
	state State
	want  string
}{
	{"accepts TLS 1.0", "P3.1", flaws{oldTLS}, Fail, "ServerHello for TLS 1.0"},
	{"accepts TLS 1.1 for one name only", "P3.1", flaws{oldTLSByName}, Fail, "TLS 1.1 for old.example: ServerHello for TLS 1.1"},

	{"accepts a suite without encryption", "P3.2", flaws{nullSuite}, Fail, "NULL: accepts RSA-NULL-SHA"},
	{"accepts a suite for export", "P3.2", flaws{exportSuite}, Fail, "export: accepts EXP-RC4-MD5"},
	{"accepts a suite without a certificate", "P3.2", flaws{anonymousSuite}, Fail, "anonymous: accepts ADH-AES128-SHA"},
	{"accepts RC4", "P3.2", flaws{rc4Suite}, Fail, "RC4: accepts ECDHE-ECDSA-RC4-SHA"},
	{"accepts 3DES", "P3.2", flaws{tripleDES}, Fail, "3DES: accepts DES-CBC3-SHA"},
	{"accepts RSA key exchange", "P3.2", flaws{rsaExchange}, Fail, "RSA key exchange: accepts AES128-GCM-SHA256"},
	{"accepts DHE", "P3.2", flaws{dheSuite}, Fail, "DHE: accepts DHE-RSA-AES128-SHA"},
	{"accepts CBC", "P3.2", flaws{cbcSuite}, Fail, "CBC: accepts ECDHE-ECDSA-AES128-SHA256"},
	{"is a library that accepts CBC", "P3.2", flaws{goCBC}, Fail, "CBC: accepts ECDHE-ECDSA-AES256-SHA"},
	{"accepts CBC for one name only", "P3.2", flaws{cbcByName}, Fail, "for old.example: every bad suite: accepts ECDHE-ECDSA-AES128-SHA"},
	{"accepts a suite of TLS 1.3 without encryption", "P3.2", flaws{unencrypted13}, Fail, "accepts TLS_SHA256_SHA256"},
	{"accepts CCM", "P3.2", flaws{ccmSuite}, Warn, "CCM, Camellia or ARIA: accepts 0xC0AC"},
	{"compresses", "P3.2", flaws{compresses}, Fail, "method 1 is chosen"},
	{"renegotiates as before RFC 5746", "P3.2", flaws{oldRenegotiation}, Fail, "not confirmed"},
	{"accepts any application protocol", "P3.2", flaws{anyProtocol}, Fail, "no other: ServerHello"},
	{"accepts a weak curve", "P3.2", flaws{weakCurve}, Fail, "group P-224: accepted"},
	{"has no hybrid key exchange", "P3.2", flaws{noHybrid}, Warn, "X25519 is chosen"},
	{"accepts a curve that is not on the list", "P3.2", flaws{loneP521}, Warn, "group P-521: accepted"},
	{"has no TLS 1.3", "P3.2", flaws{only12}, Warn, "hello with TLS 1.3: alert"},
	{"knows a probe by its suites", "P3.2", flaws{knowsProbes}, Unknown, "proves nothing"},

	{"accepts everybody", "P4.1", flaws{everybody}, Fail, "no user name, no password: CONNACK 0x00"},
	{"a password is optional", "P4.1", flaws{noPassword}, Fail, "a known user without a password: CONNACK 0x00"},
	{"an empty password is a login", "P4.1", flaws{emptyPassword}, Fail, "a known user with an empty password: CONNACK 0x00"},
	{"unknown users are ignored into allow", "P4.1", flaws{anyUser}, Fail, "a user that does not exist: CONNACK 0x00"},
	{"compares as far as the password goes", "P4.1", flaws{prefixOfSecret}, Fail, "a part of the secret: CONNACK 0x00"},
	{"authentication method is passed over", "P4.1", flaws{anyMethod}, Fail, "beside the right secret: CONNACK 0x00"},
	{"refuses everybody", "P4.1", flaws{nobody}, Unknown, "by authenticator svc, before builtin, which has the users of the probes: the service says no"},
	{"refuses everybody", "P4.2", flaws{nobody}, Unknown, "by authenticator svc, before builtin"},
	{"refuses everybody after a while", "P4.1", flaws{noneAfter}, Unknown, "after the others (positive control)"},
	{"closes without saying why", "P4.1", flaws{closesOnly}, Unknown, "connection closed"},
	{"lets anybody in on MQTT 3.1", "P4.1", flaws{everybody3}, Fail, "MQTT 3.1: no user name, no password: CONNACK 0x00"},
	{"answers faster about who does not exist", "P4.1", flaws{tellsByTime}, Fail, "how long a wrong password takes"},
	{"a deleted user stays", "P4.1", flaws{keepsDeleted}, Fail, "still open"},

	{"refuses and delivers", "P4.2", flaws{deliversDenied}, Fail, "delivered: a watched topic/denied/0"},
	{"accepts what it should deny", "P4.2", flaws{acceptsDenied}, Fail, "at QoS 1 without a grant: PUBACK 0x00"},
	{"judges QoS 1 and 2 only", "P4.2", flaws{acceptsQoS0}, Fail, "what was published without a grant: delivered"},
	{"keeps denied retained messages", "P4.2", flaws{keepsRetained}, Fail, "a retained message is there"},
	{"judges before it resolves the alias", "P4.2", flaws{lateAlias}, Fail, "by topic alias without a grant: PUBACK 0x00"},
	{"sends any will", "P4.2", flaws{freeWill}, Fail, "denied/will"},
	{"grants every subscription", "P4.2", flaws{freeSubscribe}, Fail, "subscribe to # without a grant: SUBACK 0x02"},
	{"grants every subscription on MQTT 3.1", "P4.2", flaws{freeSubscribe3}, Fail, "MQTT 3.1: subscribe to # without a grant: SUBACK 0x02"},
	{"a group is a way around", "P4.2", flaws{freeShare}, Fail, "subscribe to $share/g/# without a grant: SUBACK 0x02"},
	{"refuses a subscription and serves it", "P4.2", flaws{leaksRefused}, Fail, "messages to a client whose subscriptions were refused"},
	{"one grant opens everything", "P4.2", flaws{masterGrant}, Fail, "subscribe to # beyond the one grant: SUBACK 0x02"},
	{"delivers nothing at all", "P4.2", flaws{loses}, Unknown, "(positive control)"},
	{"denies for another reason", "P4.2", flaws{wrongCode}, Unknown, "0x97"},
	{"lets nobody in", "P4.2", flaws{nobody}, Unknown, "(positive control)"},

	{"has no packet limit", "P4.3", flaws{noPacketLimit}, Fail, "the fixed header alone of a packet of 2001 bytes: no answer"},
	{"keeps the body before it refuses", "P4.3", flaws{waitsForBody}, Fail, "the fixed header alone of a packet of 2001 bytes: no answer"},
	{"allocates what is announced and refuses it", "P4.3", flaws{reservesAnnounced}, Fail, "it grew by 255 MiB"},
	{"fills with zeros what is announced and gives it back", "P4.3", flaws{fillsAnnounced}, Fail, "it grew by 255 MiB"},
	{"has no limit for the first packet", "P4.3", flaws{noConnectLimit}, Fail, "of a CONNECT of 1001 bytes: no answer"},
	{"publishes as deep as asked", "P4.3", flaws{noLevels}, Fail, "publish to a topic of 5 levels: PUBACK"},
	{"subscribes as deep as asked", "P4.3", flaws{noLevelsSubscribe}, Fail, "subscribe to 5 levels: SUBACK 0x02"},
	{"grants every number of subscriptions", "P4.3", flaws{noSubscriptions}, Fail, "one subscription more: SUBACK 0x02"},
	{"keeps every message without PUBREL", "P4.3", flaws{noReleases}, Fail, "one message more awaiting PUBREL: PUBREC"},
	{"refuses one too early", "P4.3", flaws{early}, Unknown, "(positive control)"},
	{"cuts without a reason", "P4.3", flaws{silentCut}, Unknown, "connection closed"},
	{"lets nobody in", "P4.3", flaws{nobody}, Unknown, "(positive control)"},
}

// Every flaw is found, by the row that is about it, in plain text and in TLS, and
// no output holds a secret.
func TestEveryFlawIsFound(t *testing.T) {
	t.Parallel()
	for _, m := range mutants {
		t.Run(m.row+"/"+m.name, func(t *testing.T) {
			t.Parallel()
			fixture(m.row, m.name, m.state)
			f := newFake(t, m.flaws)
			f.listen("good-looking", "mqtts", "127.0.0.1:0")
			rep := examine(t, f.alone(f.env()), m.row)
			var out bytes.Buffer
			if err := rep.WriteText(&out, TextOptions{Evidence: true}); err != nil {
				t.Fatal(err)
			}
			if got := rep.Rows[0].State(); got != m.state || !strings.Contains(out.String(), m.want) {
				t.Errorf("%s, want %s and %q in\n%s", got, m.state, m.want, out.String())
			}
			if err := rep.WriteJSON(&out, "0"); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(out.String(), canary) {
				t.Error("the output holds a secret")
			}
			if want := (map[State]int{Fail: ExitFindings, Unknown: ExitUnknown, Warn: ExitClean})[m.state]; rep.ExitCode(Low, 0) != want {
				t.Errorf("exit code %d, want %d", rep.ExitCode(Low, 0), want)
			}
			if len(f.users) > 0 || m.row[:2] != "P3" && len(f.made) == 0 {
				t.Errorf("%d of %d probe users are left", len(f.users), len(f.made))
			}
		})
	}
}

// What was granted or kept for a probe is taken away again where it can be.
func TestNothingIsLeftRetained(t *testing.T) {
	t.Parallel()
	for name, fl := range map[string]flaws{"good": {}, "keeps": {keepsRetained}, "accepts": {acceptsDenied}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, fl)
			f.listen("mqtts", "mqtts", "127.0.0.1:0")
			examine(t, f.alone(f.env()), "P4.2")
			f.mu.Lock()
			defer f.mu.Unlock()
			if len(f.retained) > 0 {
				t.Errorf("left behind: %v", f.retained)
			}
		})
	}
}

// One broken entrance is found beside good ones, in either family, whatever the
// configuration says.
func TestEverySocketIsLookedAt(t *testing.T) {
	f := newFake(t, flaws{})
	f.listen("good", "mqtts", "127.0.0.1:0")
	bad := newFake(t, flaws{everybody, oldTLS})
	addr := bad.listen("", "mqtts", "[::1]:0")
	for id, want := range map[string]string{"P4.1": "nobody knows about it", "P3.1": "ServerHello for TLS 1.0"} {
		row := f.examine(id)
		found := false
		for _, r := range row.Results {
			if strings.HasSuffix(r.Scope, addr.String()) {
				found = r.State == Fail && strings.Contains(r.Summary, want)
				if id == "P4.1" && !strings.Contains(observed(&r), "inside TLS: CONNACK 0x00") {
					t.Errorf("what it lets in was not tried: %s", observed(&r))
				}
			} else if r.State != Pass {
				t.Errorf("%s: %s: %s", r.Scope, r.State, r.Summary)
			}
		}
		if !found || row.State() != Fail {
			t.Errorf("%s: the socket nobody knows about was not found: %+v", id, row.Results)
		}
	}
}

// A listener of both families is probed in both.
func TestBothFamiliesAreProbed(t *testing.T) {
	f := newFake(t, flaws{})
	f.listen("everywhere", "mqtts", ":0")
	for _, id := range []string{"P3.1", "P3.2", "P4.1", "P4.2", "P4.3"} {
		var scopes []string
		for _, r := range f.examine(id).Results {
			scopes = append(scopes, r.Scope)
		}
		if s := strings.Join(scopes, " "); !strings.Contains(s, "@[::1]:") || !strings.Contains(s, "@127.0.0.1:") {
			t.Errorf("%s looked at %s", id, s)
		}
	}
}

func TestAUnixSocketNobodyKnowsIsAFinding(t *testing.T) {
	f := newFake(t, flaws{})
	f.listen("good", "mqtts", "127.0.0.1:0")
	path := t.TempDir() + "/stray.sock"
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer os.NewFile(uintptr(fd), path).Close()
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 1); err != nil {
		t.Fatal(err)
	}
	row := f.examine("P4.1")
	if row.State() != Fail || !strings.Contains(row.Results[0].Scope, path) {
		t.Errorf("%+v", row.Results[0])
	}
}

func observed(r *Result) string {
	var b strings.Builder
	for _, o := range r.Observations {
		b.WriteString(o.What + ": " + o.Actual + "\n")
	}
	return b.String()
}
