package cinfo

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/internal/secret"
)

func ask(t *testing.T, a *Authenticator, req *auth.Request) (r auth.Result) {
	t.Helper()
	n := 0
	a.Authenticate(req, func(got auth.Result) { r = got; n++ })
	if n != 1 {
		t.Fatalf("%d answers", n)
	}
	return r
}

func TestTheFirstCheckThatHoldsDecides(t *testing.T) {
	a, err := New("info", []Check{
		{Match: []string{"in_network(peerhost, '192.0.2.0/24')"}, Result: Deny},
		{Match: []string{"listener == 'lab'", "clientid.startsWith('lab-')"}, Result: Allow, Identity: ByUsername},
		{Match: []string{"has_certificate && cert_common_name == 'gate'"}, Result: Allow, Identity: ByCertCommonName},
		{Match: []string{"protocol_version == 3"}, Result: Deny},
		{Match: []string{"has_password"}, Result: Ignore},
		{Match: []string{"true"}, Result: Deny},
	})
	if err != nil || a.Name() != "info" {
		t.Fatal(err)
	}
	home := netip.MustParseAddr("198.51.100.1")
	for what, c := range map[string]struct {
		req  auth.Request
		want auth.Outcome
		who  string
	}{
		"an address":             {auth.Request{Addr: netip.MustParseAddr("::ffff:192.0.2.7"), Listener: "lab", ClientID: "lab-1", Username: "u", HasUsername: true}, auth.Deny, ""},
		"both conditions":        {auth.Request{Addr: home, Listener: "lab", ClientID: "lab-1", Username: "u", HasUsername: true}, auth.Allow, "u"},
		"one of them":            {auth.Request{Addr: home, Listener: "lab", ClientID: "x", Version: 5, HasPassword: true, Password: secret.New([]byte("p"))}, auth.Ignore, ""},
		"a certificate":          {auth.Request{Addr: home, Listener: "mqtts", ClientID: "x", Username: "u", HasUsername: true, Certificate: auth.Certificate{CommonName: "gate"}}, auth.Allow, "gate"},
		"an old protocol":        {auth.Request{Addr: home, Listener: "mqtts", ClientID: "x", Version: 3}, auth.Deny, ""},
		"the last one":           {auth.Request{Addr: home, Listener: "mqtts", ClientID: "x", Version: 5, HasPassword: true}, auth.Deny, ""},
		"no address, unix":       {auth.Request{Listener: "lab", ClientID: "lab-1", Username: "u", HasUsername: true}, auth.Deny, ""},
		"no user name":           {auth.Request{Addr: home, Listener: "lab", ClientID: "lab-1"}, auth.Deny, ""},
		"no listener is known":   {auth.Request{Addr: home, ClientID: "lab-1", Username: "u", HasUsername: true}, auth.Deny, ""},
		"the protocol is hidden": {auth.Request{Addr: home, Listener: "mqtts", ClientID: "x", HasPassword: true, Password: secret.New([]byte("p"))}, auth.Deny, ""},
	} {
		r := ask(t, a, &c.req)
		if r.Outcome != c.want || r.Outcome == auth.Ignore && r.Detail == "" || r.Principal.Identity != c.who || r.Principal.Username != c.who {
			t.Errorf("%s: %v %+v (%s)", what, r.Outcome, r.Principal, r.Detail)
		}
	}
}

// EMQX passes over a deny whose certificate is not there.
func TestADenyAboutWhatIsNotThereDenies(t *testing.T) {
	for _, c := range []struct {
		check Check
		req   auth.Request // of somebody whom the next check lets in
		next  string
	}{
		{Check{Match: []string{"cert_common_name == 'stolen'"}, Result: Deny}, auth.Request{Username: "u", HasUsername: true}, ByUsername},
		{Check{Match: []string{"cert_common_name != 'gate'"}, Result: Ignore}, auth.Request{Username: "u", HasUsername: true}, ByUsername},
		{Check{Match: []string{"username == 'nobody'"}, Result: Allow, Identity: ByUsername}, auth.Request{Certificate: auth.Certificate{CommonName: "gate"}}, ByCertCommonName},
	} {
		open := Check{Match: []string{"true"}, Result: Allow, Identity: c.next}
		for _, checks := range [][]Check{{c.check, open}, {open}} {
			a, err := New("info", checks)
			if err != nil {
				t.Fatal(err)
			}
			want := map[int]auth.Outcome{1: auth.Allow, 2: auth.Deny}[len(checks)]
			if r := ask(t, a, &c.req); r.Outcome != want {
				t.Errorf("%v: %v, want %v", checks, r.Outcome, want)
			}
		}
	}
}

func TestChecksThatAreRefused(t *testing.T) {
	yes := []string{"true"}
	for want, checks := range map[string][]Check{
		"has no checks":             nil,
		"at most 100":               make([]Check, ChecksMax+1),
		"checks[0].result":          {{Match: yes}},
		"identity: is missing":      {{Match: yes, Result: Allow}},
		"identity: belongs":         {{Match: yes, Result: Deny, Identity: ByUsername}},
		`identity: "clientid"`:      {{Match: yes, Result: Allow, Identity: "clientid"}},
		"checks[1].is_match: 0":     {{Match: yes, Result: Deny}, {Result: Deny}},
		"checks[0].is_match[1]: is": {{Match: []string{"true", "listener"}, Result: Deny}},
	} {
		if _, err := New("info", checks); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}
