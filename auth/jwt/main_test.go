package jwt

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/goleak"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const hmacSecret = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" // 64 bytes

// The keys of these tests; RSA takes a moment to make.
var (
	ecKey, _        = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ec384, _        = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	ec521, _        = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	otherEC, _      = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	rsaKey, _       = rsa.GenerateKey(rand.Reader, 2048)
	edPublic, ed, _ = ed25519.GenerateKey(rand.Reader)
)

func pemOf(t testing.TB, public any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// good are the claims of a token that is let in at start.
func good() map[string]any {
	return map[string]any{"sub": "pump-7", "exp": start.Add(time.Hour).Unix(), "iat": start.Unix(), "jti": "t-1"}
}

// with is good with some of it changed; nil takes a claim out.
func with(changes map[string]any) map[string]any {
	o := good()
	maps.Copy(o, changes)
	maps.DeleteFunc(o, func(_ string, v any) bool { return v == nil })
	return o
}

// sign makes a token as issuers do.
func sign(t testing.TB, alg string, k any, claims any, headers ...string) string {
	t.Helper()
	var o jose.SignerOptions
	for i := 0; i < len(headers); i += 2 {
		o.WithHeader(jose.HeaderKey(headers[i]), headers[i+1])
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: k}, &o)
	if err != nil {
		t.Fatal(err)
	}
	payload, is := claims.([]byte)
	if !is {
		if payload, err = json.Marshal(claims); err != nil {
			t.Fatal(err)
		}
	}
	jws, err := s.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// forge makes a token with any header, and the MAC of a secret.
func forge(header, payload, secret string) string {
	m := hmac.New(sha256.New, []byte(secret))
	text := b64(header) + "." + b64(payload)
	m.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

func jsonOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// byES verifies ES256.
func byES(t testing.TB) Options {
	return Options{Name: "tokens", Algorithms: []string{"ES256"}, Keys: Keys{Public: []File{{"es.pem", pemOf(t, ecKey.Public())}}}, Demands: Demands{Leeway: 5 * time.Second}, Gives: Gives{ACL: "acl"}}
}

// byHS verifies HS256.
func byHS() Options {
	return Options{Name: "tokens", Algorithms: []string{"HS256"}, Keys: Keys{Secret: secret.FromString(hmacSecret)}, Demands: Demands{Leeway: 5 * time.Second}, Gives: Gives{ACL: "acl"}}
}

// desk is an authenticator with a clock that stands still.
type desk struct {
	testing.TB
	*Authenticator
	clock *clock.Manual
}

func newDesk(t testing.TB, o Options) *desk {
	t.Helper()
	clk := clock.NewManual(start)
	o.Clock = clk
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return &desk{t, a, clk}
}

func request(token string) *auth.Request {
	return &auth.Request{ClientID: "c1", Listener: "mqtts", HasPassword: true, Password: secret.FromString(token), Addr: netip.MustParseAddr("192.0.2.1"), Version: 5}
}

// ask waits for the answer.
func (d *desk) ask(req *auth.Request) auth.Result {
	d.Helper()
	got := make(chan auth.Result, 2)
	d.Authenticate(req, func(r auth.Result) { got <- r })
	r := <-got
	if len(got) != 0 {
		d.Fatal("done was called twice")
	}
	return r
}

// wants asks, and says what of the answer is not as it should be. No answer shows a token.
func (d *desk) wants(name, token string, outcome auth.Outcome, detail string) auth.Result {
	d.Helper()
	return d.wantsOf(name, request(token), token, outcome, detail)
}

func (d *desk) wantsOf(name string, req *auth.Request, token string, outcome auth.Outcome, detail string) auth.Result {
	d.Helper()
	r := d.ask(req)
	if r.Outcome != outcome || !strings.Contains(r.Detail, detail) || outcome == auth.Ignore && !strings.Contains(r.Detail, "is no token") {
		d.Errorf("%s: %v %v %q, want %v %q", name, r.Outcome, r.Reason, r.Detail, outcome, detail)
	}
	for _, p := range strings.Split(token, ".") {
		if len(p) > 8 && strings.Contains(fmt.Sprintf("%+v", r), p) {
			d.Errorf("%s: the answer shows the token", name)
		}
	}
	return r
}
