package jwt

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/redoubtmq/redoubt/auth"
)

// issuer is a JWKS endpoint on loopback.
type issuer struct {
	*httptest.Server
	asked atomic.Int64

	mu   sync.Mutex // guards everything below
	body string
	code int
}

func newIssuer(t *testing.T, keys ...any) *issuer {
	i := &issuer{code: http.StatusOK}
	i.serve(keys...)
	i.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.asked.Add(1)
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.code/100 == 3 {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(i.code)
		_, _ = io.WriteString(w, i.body)
	}))
	i.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	i.StartTLS()
	t.Cleanup(i.Close)
	return i
}

// serve replaces the keys; each is a jose.JSONWebKey or raw JSON.
func (i *issuer) serve(keys ...any) {
	list := []json.RawMessage{}
	for _, k := range keys {
		if text, is := k.(string); is {
			list = append(list, json.RawMessage(text))
			continue
		}
		list = append(list, json.RawMessage(jsonOf(k)))
	}
	i.answer(http.StatusOK, jsonOf(map[string]any{"keys": list}))
}

func (i *issuer) answer(code int, body string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.code, i.body = code, body
}

func (i *issuer) ca() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.Certificate().Raw})
}

func (i *issuer) options() Options {
	return Options{Name: "tokens", Algorithms: []string{"ES256", "RS256"}, CacheFor: time.Minute, Keys: Keys{Set: &Set{
		URL: i.URL + "/keys", Refresh: time.Hour, MaxAge: 24 * time.Hour, Timeout: 5 * time.Second, CA: i.ca()}}}
}

func jwk(id string, public any) jose.JSONWebKey {
	return jose.JSONWebKey{Key: public, KeyID: id, Use: "sig"}
}

// refresh asks now, as the goroutine does.
func (d *desk) refresh() { d.remote.refresh(d.Context()) }

// Keys come and go with the set; a set that cannot be had leaves those there are until
// max_age, and then nobody is let in (A122).
func TestKeySetRotatesAndGoesAway(t *testing.T) {
	iss := newIssuer(t, jwk("a", ecKey.Public()))
	d := newDesk(t, iss.options())
	far := with(map[string]any{"exp": start.Add(100 * time.Hour).Unix()})
	a, b := sign(t, "ES256", ecKey, far, "kid", "a"), sign(t, "ES256", otherEC, far, "kid", "b")
	nameless := sign(t, "ES256", otherEC, far)
	d.wants("before anything was asked for it waits", a, auth.Allow, "")
	d.wants("with another kid", sign(t, "ES256", ecKey, far, "kid", "b"), auth.Deny, "(kid) that is not there")
	d.wants("by a key that is not there", nameless, auth.Deny, "signature that is not good")

	iss.serve(jwk("a", ecKey.Public()), jwk("b", otherEC.Public()))
	d.clock.Advance(EarlyEvery)
	d.wants("a new key is had at once", b, auth.Allow, "")
	d.wants("without kid all are tried", nameless, auth.Allow, "")
	d.wants("the key of kid only", sign(t, "ES256", otherEC, far, "kid", "a"), auth.Deny, "signature that is not good")
	d.wants("the old one is still there", a, auth.Allow, "")

	iss.serve(jwk("b", otherEC.Public()))
	d.refresh()
	d.wants("a key that has gone, and its verified tokens", a, auth.Deny, "(kid) that is not there")

	for _, outage := range []struct {
		code int
		body string
	}{{503, ""}, {200, "<html>"}, {200, `{"error":"x"}`}, {302, ""}, {200, strings.Repeat(" ", SetBytesMax+1)}, {200, `{"keys":[` + strings.Repeat(`{},`, KeysMax) + `{}]}`}} {
		iss.answer(outage.code, outage.body)
		d.refresh()
		d.wants(fmt.Sprint(outage.code, " ", outage.body[:min(10, len(outage.body))]), b, auth.Allow, "")
	}
	iss.Close()
	d.clock.Advance(24*time.Hour - EarlyEvery)
	d.refresh()
	d.wants("the server is away", b, auth.Allow, "")
	d.clock.Advance(EarlyEvery + time.Second)
	d.wants("for too long", b, auth.Unavailable, "jwks.max_age")
}

// However many tokens name keys that are not there, the server is asked once in EarlyEvery.
func TestTokensDoNotMakeRequests(t *testing.T) {
	iss := newIssuer(t, jwk("a", ecKey.Public()))
	d := newDesk(t, iss.options())
	d.wants("good", sign(t, "ES256", ecKey, good(), "kid", "a"), auth.Allow, "")
	d.clock.Advance(EarlyEvery)
	before := iss.asked.Load()
	for i := range 50 {
		d.wants("an unknown key", sign(t, "ES256", otherEC, good(), "kid", fmt.Sprint("x", i)), auth.Deny, "(kid) that is not there")
	}
	if n := iss.asked.Load() - before; n != 1 {
		t.Errorf("50 tokens made %d requests", n)
	}
	d.clock.Advance(EarlyEvery)
	d.wants("later", sign(t, "ES256", otherEC, good(), "kid", "x"), auth.Deny, "")
	if n := iss.asked.Load() - before; n != 2 {
		t.Errorf("later: %d requests", n)
	}
}

// What is no good key in a set is left out, and the others are used.
func TestKeysOfASetThatAreNotGood(t *testing.T) {
	weak, _ := rsa.GenerateKey(rand.Reader, 1024)
	point := jwk("off", ecKey.Public())
	off := strings.Replace(jsonOf(point), `"y":"`, `"y":"AA`, 1)
	private := jsonOf(jose.JSONWebKey{Key: otherEC, KeyID: "private"})
	secret := jsonOf(jose.JSONWebKey{Key: []byte(hmacSecret), KeyID: "secret"})
	encryption := jwk("enc", otherEC.Public())
	encryption.Use = "enc"
	other := jwk("es384", ecKey.Public())
	other.Algorithm = "ES384"
	twice := strings.Replace(jsonOf(jwk("twice", otherEC.Public())), `"kty"`, `"kid":"b","kty"`, 1)
	ops := strings.Replace(jsonOf(jwk("ops", otherEC.Public())), `"kty"`, `"key_ops":["sign"],"kty"`, 1)
	iss := newIssuer(t, jwk("a", ecKey.Public()), jwk("weak", weak.Public()), off, private, secret, encryption, other, twice, ops, `7`, `{"kty":"RSA","kid":"empty"}`, `{"kty":"future","kid":"f"}`, `{"kty":"EC","crv":"P-256","kid":"c"}`)
	var log bytes.Buffer
	o := iss.options()
	o.Algorithms = append(o.Algorithms, "ES384")
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	d := newDesk(t, o)
	d.wants("the good one", sign(t, "ES256", ecKey, good(), "kid", "a"), auth.Allow, "")
	for kid, k := range map[string]any{"off": ecKey, "private": otherEC, "enc": otherEC, "es384": ecKey, "twice": otherEC, "b": otherEC, "ops": otherEC} {
		d.wants(kid, sign(t, "ES256", k, good(), "kid", kid), auth.Deny, "(kid) that is not there")
	}
	d.wants("weak", forgeRSA(t, weak, "weak"), auth.Deny, "(kid) that is not there")
	d.wants("secret", forge(`{"alg":"HS256","kid":"secret"}`, jsonOf(good()), hmacSecret), auth.Deny, "by HS256")
	d.Close()
	for _, want := range []string{"1024 bits", "a private key", "it is a secret", "name twice", "key 3"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, log.String())
		}
	}
}

func forgeRSA(t *testing.T, k *rsa.PrivateKey, kid string) string {
	t.Helper()
	return sign(t, "RS256", k, good(), "kid", kid)
}

// A token without kid is not tried on every key.
func TestNotAllKeysAreTried(t *testing.T) {
	keys := make([]any, 0, triesMax+1)
	for i := range triesMax + 1 {
		keys = append(keys, jwk(fmt.Sprint("k", i), ecKey.Public()))
	}
	d := newDesk(t, newIssuer(t, keys...).options())
	d.wants("no kid", sign(t, "ES256", ecKey, good()), auth.Deny, "names no key (kid), and there are 5")
	d.wants("kid", sign(t, "ES256", ecKey, good(), "kid", "k4"), auth.Allow, "")
}

// A server whose certificate is not good brings no keys.
func TestTheServerOfASetIsVerified(t *testing.T) {
	iss := newIssuer(t, jwk("a", ecKey.Public()))
	token := sign(t, "ES256", ecKey, good(), "kid", "a")
	for name, change := range map[string]func(*Set){
		"unknown CA":   func(s *Set) { s.CA = nil },
		"another name": func(s *Set) { s.Server = "issuer.example" },
	} {
		o := iss.options()
		change(o.Keys.Set)
		d := newDesk(t, o)
		d.wants(name, token, auth.Unavailable, "could not be read")
	}
	o := iss.options()
	o.Keys.Set.CA = []byte("x")
	if _, err := New(o); err == nil || !strings.Contains(err.Error(), "jwks.ca") {
		t.Errorf("a CA that is none: %v", err)
	}
}

func FuzzSet(f *testing.F) {
	f.Add([]byte(jsonOf(map[string]any{"keys": []any{jwk("a", ecKey.Public()), jwk("b", rsaKey.Public()), jwk("c", edPublic)}})))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"","y":""},{"kty":"RSA","n":"AQ","e":"AQAB"},{"kty":"OKP","crv":"Ed25519","x":"AA"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, _, err := readSet(data, Algorithms)
		if err == nil && len(keys) > KeysMax {
			t.Fatalf("%d keys", len(keys))
		}
		for i := range keys {
			if _, secret := keys[i].value.([]byte); secret || checkPublic(keys[i].value) != nil {
				t.Fatalf("%T is taken", keys[i].value)
			}
		}
	})
}

// Who keeps alarms is told each time that a set cannot be had, until it can.
func TestKeySetOutageIsTold(t *testing.T) {
	iss := newIssuer(t, jwk("a", ecKey.Public()))
	o := iss.options()
	told := make(chan string, 16)
	o.Outage = func(_ time.Time, why string) { told <- why }
	d := newDesk(t, o)
	if why := <-told; why != "" {
		t.Error(why)
	}
	for range 2 {
		iss.answer(503, "")
		d.refresh()
		if why := <-told; !strings.Contains(why, "status 503") || !strings.Contains(why, "are used until") {
			t.Error(why)
		}
	}
	d.clock.Advance(25 * time.Hour)
	d.refresh()
	if why := <-told; !strings.Contains(why, "too old") {
		t.Error(why)
	}
	iss.serve(jwk("a", ecKey.Public()))
	d.refresh()
	if why := <-told; why != "" {
		t.Error(why)
	}
}
