package x509

import (
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/mqtt"
)

var print = strings.Repeat("0123456789abcdef", 4)

func ask(c auth.Certificate) (r auth.Result) {
	auth.NewChain(Authenticator{}).Authenticate(&auth.Request{ClientID: "c", Username: "root", HasUsername: true, Certificate: c}, func(got auth.Result) { r = got })
	return r
}

func TestWhoACertificateSaysItIs(t *testing.T) {
	r := ask(auth.Certificate{Name: "dev-1", Fingerprint: print})
	want := auth.Principal{Identity: "dev-1", Username: "dev-1", ClientID: "c", Method: "x509", Proof: 0x0123456789abcdef}
	if r.Outcome != auth.Allow || r.Principal != want {
		t.Errorf("%+v", r)
	}
}

// A117: what no user could be called no certificate can say.
func TestNamesThatRulesWouldReadOtherwise(t *testing.T) {
	for _, name := range []string{"", "+", "#", "a/b", "$SYS", "a\x00b", "a\nb", "\xff\xfe", " a", "a\u202eb", strings.Repeat("x", 300)} {
		if r := ask(auth.Certificate{Name: name, Fingerprint: print}); r.Outcome != auth.Deny || r.Reason != mqtt.NotAuthorized {
			t.Errorf("%q: %+v", name, r)
		}
	}
}

func TestNoCertificateIsNotItsBusiness(t *testing.T) {
	if r := ask(auth.Certificate{}); r.Outcome != auth.Deny || !strings.Contains(r.Detail, "no authenticator") {
		t.Errorf("%+v", r)
	}
	Authenticator{}.Authenticate(&auth.Request{Username: "root", HasUsername: true}, func(r auth.Result) {
		if r.Outcome != auth.Ignore || r.Detail != "the client has shown no certificate" {
			t.Errorf("what an operator is told: %+v", r)
		}
	})
}
