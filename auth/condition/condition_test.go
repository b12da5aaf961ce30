package condition

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/auth"
)

func input() Input {
	return Input{
		Username: "ann", ClientID: "pump-1", Peer: netip.MustParseAddr("::ffff:10.1.2.3"), PeerPort: 50_000, Listener: "mqtts", Protocol: 5,
		CommonName: "pump", Subject: "CN=pump,O=plant", Attrs: map[string]string{"site": "north"}, Password: true,
	}
}

func TestConditions(t *testing.T) {
	for source, want := range map[string]string{
		`listener == 'mqtts'`:  "true",
		`listener != 'mqtts'`:  "false",
		`username == clientid`: "false",
		`clientid.startsWith('pump-') && !username.endsWith('x')`:   "true",
		`peerhost == '10.1.2.3'`:                                    "true",
		`in_network(peerhost, '10.0.0.0/8')`:                        "true",
		`in_network(peerhost, 'fd00::/8')`:                          "false",
		`peerport > 1024 && protocol_version in [4, 5]`:             "true",
		`cert_common_name == client_attrs.site`:                     "false",
		`client_attrs['site'] == 'north'`:                           "true",
		`client_attrs.room == '7'`:                                  "error",
		`has(client_attrs.room) && client_attrs.room == '7'`:        "false",
		`client_attrs.exists(k, k == 'site')`:                       "true",
		`clientid.matches('^pump-[0-9]+$')`:                         "true",
		`cert_subject.contains('O=plant') && has_password`:          "true",
		`has_username && has_certificate`:                           "true",
		`size(clientid) < 10`:                                       "true",
		`listener == 'mqtts' || client_attrs.room == 'not there'`:   "true",
		`client_attrs.room == 'not there' || listener == 'other'`:   "error",
		`!(client_attrs.room == 'not there')`:                       "error",
		`client_attrs.room == 'not there' ? true : true`:            "error",
		`client_attrs.all(k, client_attrs[k].size() < 100) && true`: "true",
	} {
		p, err := Compile(source)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		holds, err := p.Eval(input())
		got := map[bool]string{true: "true", false: "false"}[holds]
		if err != nil {
			got = "error"
		}
		if got != want || holds && err != nil {
			t.Errorf("%s: %s (%v), want %s", source, got, err, want)
		}
	}
}

// What is not known is not an empty text: a condition that looks at it fails, whichever way
// it is put.
func TestWhatIsNotKnownFails(t *testing.T) {
	for _, name := range []string{"username", "clientid", "peerhost", "listener", "cert_common_name", "cert_subject"} {
		for _, put := range []string{" == ''", " != ''", " != 'x'", ".startsWith('')", ".matches('.*')", ".size() == 0"} {
			p, err := Compile(name + put)
			if err != nil {
				t.Fatal(err)
			}
			if holds, err := p.Eval(Input{}); err == nil || holds {
				t.Errorf("%s%s: %v, %v", name, put, holds, err)
			}
		}
	}
	for _, source := range []string{"peerport == 0", "peerport != 1", "protocol_version < 9", "client_attrs.x != 'y'"} {
		p, err := Compile(source)
		if err != nil {
			t.Fatal(err)
		}
		if holds, err := p.Eval(Input{}); err == nil || holds {
			t.Errorf("%s: %v, %v", source, holds, err)
		}
	}
	p, err := Compile("has_username || has_certificate || has_password")
	if err != nil {
		t.Fatal(err)
	}
	if holds, err := p.Eval(Input{}); err != nil || holds {
		t.Error(holds, err)
	}
}

func TestConditionsThatAreRefused(t *testing.T) {
	long := strings.Repeat("a", PatternMax+1)
	for source, want := range map[string]string{
		"":                                 "empty",
		"  ":                               "empty",
		"listener":                         "is a string",
		"1 + 1":                            "is a int",
		"listener = 'x'":                   "no condition",
		"listenr == 'x'":                   "undeclared reference",
		"username == 1":                    "no matching overload",
		"password == 'x'":                  "undeclared reference",
		"username.matches(clientid)":       "written out",
		"matches(username, clientid)":      "written out",
		"username.matches('a' + 'b')":      "written out",
		"in_network(peerhost, clientid)":   "written out",
		"in_network(peerhost, '10.0.0.0')": "not a network",
		"username.matches('" + long + "')": "bytes",
		"username.matches('(')":            "no condition",
		"username == '" + strings.Repeat("a", SourceMax) + "'":       "bytes",
		"now() > timestamp('2026-01-01T00:00:00Z')":                  "undeclared reference",
		"client_attrs.map(k, k).size() > 0":                          "undeclared reference",
		strings.Repeat("(", 200) + "true" + strings.Repeat(")", 200): "no condition",
		"[1,2,3,4,5,6,7,8,9].all(a, [1,2,3].all(b, a > b))":          "no condition",
		"client_attrs.all(k, username.contains(client_attrs[k]) && clientid.contains(client_attrs[k]) && peerhost.contains(client_attrs[k]) && username.contains(k) && (username + clientid + username + clientid).contains(client_attrs[k] + k) && (username + clientid + username + clientid).contains(client_attrs[k] + k))": "steps",
	} {
		p, err := Compile(source)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, %v; want an error with %q", source, p, err, want)
		}
	}
}

// A name of the length MQTT allows makes a condition fail, and not the loop wait.
func TestWorkIsBoundedWhenItIsDone(t *testing.T) {
	p, err := Compile("username.contains(clientid)")
	if err != nil {
		t.Fatal(err)
	}
	in := input()
	in.Username, in.ClientID = strings.Repeat("a", 65_535), strings.Repeat("a", 30_000)+"b"
	if holds, err := p.Eval(in); err == nil || holds {
		t.Error(holds, err)
	}
}

func TestARuleSeesOnlyWhatStays(t *testing.T) {
	for _, name := range []string{"has_password", "peerport == 1", "protocol_version == 5", "cert_subject == 'x'"} {
		if _, err := ForRule(name); err == nil || !strings.Contains(err.Error(), "undeclared reference") {
			t.Errorf("%s: %v", name, err)
		}
	}
	p, err := ForRule("cert_common_name == 'pump' && client_attrs.site == 'north' && username == 'ann' && listener == 'l' && peerhost == '192.0.2.1'")
	if err != nil {
		t.Fatal(err)
	}
	by := &auth.Principal{Username: "ann", Listener: "l", Addr: netip.MustParseAddr("192.0.2.1"), Claims: &auth.Claims{CommonName: "pump", Attrs: map[string]string{"site": "north"}}}
	if holds, err := p.Holds(by); !holds || err != nil {
		t.Error(holds, err)
	}
	by.Claims = nil
	if holds, err := p.Holds(by); holds || err == nil {
		t.Error(holds, err)
	}
}

func FuzzCompile(f *testing.F) {
	for _, s := range []string{"listener == 'mqtts'", "client_attrs.x == 'y' || has_password", "username.matches('^a+$')", "[1].all(x, x > 0)", "in_network(peerhost, '10.0.0.0/8')", "1/0 == 1", "{'a': 1}['b'] == 2", "dyn(username) == 1", "b'\\xff' == b'a'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, source string) {
		p, err := Compile(source)
		if err != nil {
			return
		}
		for _, in := range []Input{input(), {}} {
			holds, err := p.Eval(in)
			if holds && err != nil {
				t.Error("it failed and holds")
			}
			again, _ := p.Eval(in)
			if again != holds {
				t.Error("two answers")
			}
		}
	})
}

func BenchmarkEval(b *testing.B) {
	p, err := Compile("listener == 'mqtts' && clientid.startsWith('pump-') && client_attrs.site == 'north'")
	if err != nil {
		b.Fatal(err)
	}
	in := input()
	b.ReportAllocs()
	for b.Loop() {
		if ok, err := p.Eval(in); !ok || err != nil {
			b.Fatal(err)
		}
	}
}
