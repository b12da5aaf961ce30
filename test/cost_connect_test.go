//go:build cost

package test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	xdg "github.com/xdg-go/scram"

	"github.com/redoubtmq/redoubt/auth/kerberos/kdctest"
	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// costLogins is how many logins of each kind are counted: fewer than Kerberos lets one client have.
const costLogins = 1000

// TestCostOfALogin prints what a connection over plain TCP with CONNECT and DISCONNECT costs
// the broker by who judges it, each kind at a broker of its own, beside one that asks nobody
// for a secret. `make cost` runs it; nothing is judged but that all are let in.
func TestCostOfALogin(t *testing.T) {
	file, token := issuerOf(t)
	svc := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"result": "allow"}`)
	}))
	defer svc.Close()
	ca := filepath.Join(testkit.TempDir(t), "ca.pem")
	testkit.WriteFile(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: svc.Certificate().Raw})))
	service := func(cache string) string {
		return fmt.Sprintf("backends:\n  s: {type: http, url: %q, tls: {ca: [%q]}}\nauthn:\n  chains: {default: [svc]}\n  http:\n    svc:\n      backend: s\n      query: 'POST /a {\"u\": \"${username}\", \"p\": \"${password}\"}'\n%s", svc.URL, ca, cache)
	}
	jwt := fmt.Sprintf("authn:\n  chains: {default: [t]}\n  jwt:\n    t: {algorithms: [ES256], public_keys: [%q], issuer: test}\n", file)
	one := token("one", time.Hour, nil)
	shared, sign := shareSecret(t)
	jwtShared := fmt.Sprintf("authn:\n  chains: {default: [t]}\n  jwt:\n    t: {algorithms: [HS256], secret: \"file:%s\", issuer: test}\n", shared)
	db := newFakeRedis(t, "first")
	dbPassword := filepath.Join(testkit.TempDir(t), "password")
	testkit.WriteFile(t, dbPassword, "first\n")
	lookup := func(cache string) string {
		return fmt.Sprintf("backends:\n  r: {type: redis, servers: [%q], password: \"file:%s\", tls: {mode: \"off\"}}\nauthn:\n  chains: {default: [db]}\n  lookup:\n    db:\n      backend: r\n      query: HMGET mqtt:user:${username} password_hash salt\n      hash: {algorithm: sha256}\n%s", db.Addr(), dbPassword, cache)
	}
	ann := func(c *mqtt.Connect, _ int) { c.Username, c.Password = "ann", []byte("ann's password") }
	dev := func(c *mqtt.Connect, _ int) { c.Username, c.Password = user, []byte(password) }
	scram := func(w *wire, i int) mqtt.ReasonCode {
		rc, _, _ := scramAs(w, mqtt.Connect{ClientID: fmt.Sprint("c", i), CleanStart: true}, xdg.SHA256, user, password, false)
		return rc
	}
	kdc := kdctest.Start(t, "aes256-cts-hmac-sha1-96")
	ticket := func(w *wire, _ int) mqtt.ReasonCode {
		return ticketed(w, kdc, kdc.Token("alice", kdctest.Servant, kdctest.Mutual), false)
	}
	devices := newDeviceCA(t, "everything")
	devices.server()
	devices.issue("pump-7")
	known, err := tls.LoadX509KeyPair(devices.path("pump-7.pem"), devices.path("pump-7.key"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(devices.cert)
	secure := func(certs ...tls.Certificate) *tls.Config {
		return &tls.Config{RootCAs: roots, ServerName: "localhost", Certificates: certs, MinVersion: tls.VersionTLS13}
	}
	listener := fmt.Sprintf("    tls:\n      certificates: [{cert: %s, key: \"file:%s\"}]\n", devices.path("server.pem"), devices.path("server.key"))
	mutual := "    authn: certificates\n" + listener + fmt.Sprintf("      client_cert: required\n      client_ca: [%s]\n", devices.path("ca.pem"))
	nobody := func(*mqtt.Connect, int) {}
	var base float64
	report := map[string]float64{}
	for _, kind := range []struct {
		name, config string
		as           func(c *mqtt.Connect, i int)
		talk         func(w *wire, i int) mqtt.ReasonCode // in place of one CONNECT
		tls          string                               // what the listener has of it; "": plain
		shows        *tls.Config
	}{
		{name: "conditions (cinfo)", config: "authn:\n  chains: {default: [lab]}\n  cinfo:\n    lab:\n      checks: [{is_match: [\"in_network(peerhost, '127.0.0.0/8')\"], result: allow, identity: username}]\n", as: dev},
		{name: "password, remembered", config: "", as: dev},
		{name: "JWT ES256, the same token", config: jwt, as: func(c *mqtt.Connect, _ int) { c.Username, c.Password = "pump-7", []byte(one) }},
		{name: "JWT ES256, another token each time", config: jwt, as: func(c *mqtt.Connect, i int) {
			c.Username, c.Password = "pump-7", []byte(token(fmt.Sprint("t", i), time.Hour, nil))
		}},
		{name: "JWT HS256, another token each time", config: jwtShared, as: func(c *mqtt.Connect, i int) {
			c.Username, c.Password = "pump-7", []byte(sign(fmt.Sprint("t", i)))
		}},
		{name: "Redis and a sha256, remembered", config: lookup(""), as: ann},
		{name: "Redis and a sha256, asked each time", config: lookup("      cache: {entries: 0}\n"), as: ann},
		{name: "HTTPS service, remembered", config: service(""), as: dev},
		{name: "HTTPS service, asked each time", config: service("      cache: {entries: 0}\n"), as: dev},
		{name: "SCRAM-SHA-256", config: "authn: {chains: {default: [scram, builtin]}}\n", talk: scram},
		{name: "Kerberos", config: fmt.Sprintf("authn: {chains: {default: [plant]}, kerberos: {plant: {principal: %s, keytab: %s, realms: [%s], bare_realm: %s}}}\n", kdctest.Servant, kdc.File("service"), kdctest.Realm, kdctest.Realm), talk: ticket},
		{name: "over TLS: password, remembered", tls: listener, shows: secure(), as: dev},
		{name: "over TLS: X.509", config: "authn: {chains: {default: [builtin], certificates: [x509]}}\n", tls: mutual, shows: secure(known), as: nobody},
	} {
		t.Run(kind.name, func(t *testing.T) {
			port := testkit.FreePort(t)
			o := testkit.Options{Config: kind.config + "limits: {connect_rate_per_prefix: {\"/24\": 100000}, handshake_rate_per_prefix: {\"/24\": 100000}, handshake_cpu: 100, client_connect_rate: {connects: 0}}\n"}
			if kind.tls == "" {
				o.ListenerTCP = port
			} else {
				o.Listeners = fmt.Sprintf("  secured:\n    protocol: mqtts\n    bind: [\"127.0.0.1:%d\"]\n%s", port, kind.tls)
			}
			b := start(t, o)
			if r := b.Redoubt(password+"\n", "user", "passwd", user, "--password-stdin", "--scram"); r.Code != 0 {
				t.Fatal(r.Text())
			}
			d := door{name: "mqtt", port: port, tls: kind.shows}
			login := func(i int) {
				conn, err := d.dial(nil)
				if err != nil {
					t.Fatal(err)
				}
				w := &wire{t: t, conn: conn, in: newReader(conn), v: mqtt.V5}
				var code mqtt.ReasonCode
				if kind.talk != nil {
					code = kind.talk(w, i)
				} else {
					w.send(connectOf(mqtt.V5, fmt.Sprint("c", i), func(c *mqtt.Connect) { kind.as(c, i) }))
					code = mqtt.ReasonCode(w.want(mqtt.CONNACK).Body[1])
				}
				if code != mqtt.Success {
					t.Fatalf("%s: CONNACK %v\n%s", kind.name, code, b.Log())
				}
				w.send([]byte{0xE0, 0})
				_ = conn.Close()
			}
			for i := range 20 {
				login(i)
			}
			before := processorTime(t, b.Pid())
			for i := range costLogins {
				login(20 + i)
			}
			each := float64((processorTime(t, b.Pid())-before)/time.Microsecond) / costLogins
			if base == 0 {
				base = each
			}
			report[kind.name] = each / base
			t.Logf("%-36s %6.0f µs of processor time a login, x%.2f", kind.name, each, each/base)
			b.Stop()
		})
	}
	text, _ := json.Marshal(report)
	t.Logf("%s", text)
}

// shareSecret makes a secret for HS256, and what signs with it.
func shareSecret(t *testing.T) (file string, sign func(jti string) string) {
	t.Helper()
	const secret = "a secret of thirty-two bytes, or so"
	file = filepath.Join(testkit.TempDir(t), "secret")
	testkit.WriteFile(t, file, secret+"\n")
	part := base64.RawURLEncoding.EncodeToString
	return file, func(jti string) string {
		now := time.Now()
		claims, err := json.Marshal(map[string]any{"sub": "pump-7", "iss": "test", "jti": jti, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()})
		if err != nil {
			t.Fatal(err)
		}
		text := part([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + part(claims)
		mac := hmac.New(sha256.New, []byte(secret))
		_, _ = mac.Write([]byte(text)) // never fails
		return text + "." + part(mac.Sum(nil))
	}
}
