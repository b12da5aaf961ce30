package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// issuerOf makes a key, the file of its public half, and signs ES256 with it by hand.
func issuerOf(t *testing.T) (file string, token func(jti string, lasts time.Duration, change map[string]any) string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(testkit.TempDir(t), "issuer.pem")
	testkit.WriteFile(t, file, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	return file, func(jti string, lasts time.Duration, change map[string]any) string {
		now := time.Now()
		claims := map[string]any{"sub": "pump-7", "iss": "test", "jti": jti, "iat": now.Unix(), "exp": now.Add(lasts).Unix()}
		maps.Copy(claims, change)
		payload, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload)
		sum := sha256.Sum256([]byte(text))
		r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		sig := make([]byte, 64)
		r.FillBytes(sig[:32])
		s.FillBytes(sig[32:])
		return text + "." + base64.RawURLEncoding.EncodeToString(sig)
	}
}

// TestTokens (A121, P4.1): clients come in by tokens on every listener, are closed when those
// expire or are revoked, and stay when they renew them. A revocation outlives a kill.
func TestTokens(t *testing.T) {
	t.Parallel()
	file, token := issuerOf(t)
	conf := fmt.Sprintf("authn:\n  chains: {default: [tokens, builtin]}\n  jwt:\n    tokens: {algorithms: [ES256], public_keys: [%q], issuer: test, leeway: 0s}\n", file)
	b := newBanned(t, start(t, testkit.Options{WebSocket: true, Config: conf}))
	long := token("long", time.Hour, nil)
	with := func(token string) func(*mqtt.Connect) {
		return func(c *mqtt.Connect) {
			if c.Password = []byte(token); c.Version == mqtt.V5 {
				c.Username, c.HasUsername = "", false
			} else { // which has no password without one [MQTT-3.1.2-22 of 3.1.1]
				c.Username = "pump-7"
			}
		}
	}
	byAUTH := func(token string) func(*mqtt.Connect) {
		return func(c *mqtt.Connect) {
			c.HasUsername, c.Username, c.HasPassword, c.Password = false, "", false, nil
			c.AuthMethod, c.HasAuthMethod, c.AuthData = "JWT", true, []byte(token)
		}
	}
	if r := pub(t, b.b, "311", "devices/pump-7/a", "x", "-u", "pump-7", "-P", long, "-q", "1"); r.Code != 0 {
		t.Fatalf("mosquitto_pub with a token: exit code %d\n%s\n%s", r.Code, r.Text(), b.b.Log())
	}
	if r := pub(t, b.b, "5", "devices/pump-7/a", "x", "-u", other, "-P", long, "-q", "1"); r.Code == 0 {
		t.Error("a token lets somebody in under another user's name")
	}
	b.told("somebody with a password", b.doors[0], mqtt.V5, here, "c", 0)

	for _, d := range b.doors {
		b.told("a forged token", d, mqtt.V5, here, "c", wrongPassword, with(long[:len(long)-4]+"AAAA"))
		b.told("no algorithm", d, mqtt.V5, here, "c", wrongPassword, with("eyJhbGciOiJub25lIn0."+strings.Split(long, ".")[1]+".AAAA"))
		b.told("very many dots", d, mqtt.V5, here, "c", wrongPassword, with("eyJ"+strings.Repeat(".", 12_000)))
		b.told("of another issuer", d, mqtt.V5, here, "c", 0x87, with(token("x", time.Hour, map[string]any{"iss": "else"})))
		b.told("an expired one in AUTH", d, mqtt.V5, here, "c", wrongPassword, byAUTH(token("x", -time.Hour, map[string]any{"iat": time.Now().Unix() - 7200})))
	}
	short := token("short", 5*time.Second, nil)
	var ends []*wire
	for i, d := range b.doors {
		for _, v := range []mqtt.Version{mqtt.V5, mqtt.V311} {
			w, code := b.come(d, v, here, fmt.Sprint("short-", i, v), with(short))
			if code != 0 {
				t.Fatalf("%s: %#x\n%s", d.name, code, b.b.Log())
			}
			ends = append(ends, w)
		}
	}
	renewed, code := b.come(b.doors[0], mqtt.V5, here, "renewed", byAUTH(short))
	if code != 0 {
		t.Fatalf("by AUTH: %#x\n%s", code, b.b.Log())
	}
	renewed.send((&mqtt.Auth{Reason: mqtt.ReAuthenticate, Method: "JWT", Data: []byte(token("second", time.Hour, nil))}).Append(nil, mqtt.V5, 0))
	renewed.want(mqtt.AUTH)
	for _, w := range ends {
		if w.v == mqtt.V5 {
			w.wantDisconnect(mqtt.NotAuthorized)
		} else {
			w.wantClosed()
		}
	}
	b.stays("who has renewed his token", renewed)

	bad, _ := b.come(b.doors[1], mqtt.V5, here, "bad", with(long))
	began := time.Now()
	if out := must(t, b.b, "token", "revoke", "long", "--for", "2h", "--reason", "stolen"); !strings.HasPrefix(out, "token long is revoked until ") {
		t.Errorf("said %q", out)
	}
	b.out("a client with a revoked token", bad, began)
	b.stays("one with another token", renewed)
	if out := must(t, b.b, "ban", "list", "-o", "json"); strings.Contains(out, "long") {
		t.Errorf("ban list has it: %s", out)
	}
	if s := pageOf(t, b.b); s["redoubt_credentials_expired_total"] != 4 || s["redoubt_credentials_revoked_total"] != 1 || s["redoubt_tokens_revoked"] != 1 || s[`redoubt_connections_closed_total{reason="credential_expired"}`] != 4 {
		t.Errorf("counted: %v", s)
	}
	log := b.b.Log()
	for _, part := range append(strings.Split(long, "."), strings.Split(short, ".")...)[1:] {
		if part != strings.Split(long, ".")[0] && strings.Contains(log, part) {
			t.Error("the log has a token")
		}
	}

	b.b.Signal(killed)
	b.b.Wait(patience)
	b = newBanned(t, testkit.Start(t, testkit.Options{DataDir: b.b.DataDir, WebSocket: true, Config: conf}))
	b.told("a revoked token after a kill", b.doors[0], mqtt.V5, here, "c", wrongPassword, with(long))
	if out := must(t, b.b, "token", "list"); !strings.Contains(out, "jti") || !strings.Contains(out, "stolen") {
		t.Errorf("listed: %s", out)
	}
	must(t, b.b, "token", "restore", "long")
	live, code := b.come(b.doors[0], mqtt.V5, here, "c", with(long))
	if code != 0 {
		t.Errorf("restored: %#x", code)
	}
	began = time.Now()
	must(t, b.b, "token", "revoke", "--subject", "pump-7")
	b.out("a client whose tokens are all revoked", live, began)
	b.told("an older token", b.doors[0], mqtt.V5, here, "c", wrongPassword, with(token("older", time.Hour, map[string]any{"iat": time.Now().Unix() - 5})))
	refused(t, b.b, "there is no such revocation", "token", "restore", "long")
}
