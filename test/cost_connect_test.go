//go:build cost

package test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// costLogins is how many logins of each kind are counted.
const costLogins = 1500

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
	dev := func(c *mqtt.Connect, _ int) { c.Username, c.Password = user, []byte(password) }
	var base float64
	report := map[string]float64{}
	for _, kind := range []struct {
		name, config string
		as           func(c *mqtt.Connect, i int)
	}{
		{"conditions (cinfo)", "authn:\n  chains: {default: [lab]}\n  cinfo:\n    lab:\n      checks: [{is_match: [\"in_network(peerhost, '127.0.0.0/8')\"], result: allow, identity: username}]\n", dev},
		{"password, remembered", "", dev},
		{"JWT ES256, the same token", jwt, func(c *mqtt.Connect, _ int) { c.Username, c.Password = "pump-7", []byte(one) }},
		{"JWT ES256, another token each time", jwt, func(c *mqtt.Connect, i int) {
			c.Username, c.Password = "pump-7", []byte(token(fmt.Sprint("t", i), time.Hour, nil))
		}},
		{"HTTPS service, remembered", service(""), dev},
		{"HTTPS service, asked each time", service("      cache: {entries: 0}\n"), dev},
	} {
		port := testkit.FreePort(t)
		b := start(t, testkit.Options{ListenerTCP: port, Config: kind.config + "limits: {connect_rate_per_prefix: {\"/24\": 100000}}\n"})
		d := door{name: "mqtt", port: port}
		login := func(i int) {
			conn, err := d.dial(nil)
			if err != nil {
				t.Fatal(err)
			}
			w := &wire{t: t, conn: conn, in: newReader(conn), v: mqtt.V5}
			w.send(connectOf(mqtt.V5, fmt.Sprint("c", i), func(c *mqtt.Connect) { kind.as(c, i) }))
			if code := w.want(mqtt.CONNACK).Body[1]; code != 0 {
				t.Fatalf("%s: CONNACK %#x\n%s", kind.name, code, b.Log())
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
	}
	text, _ := json.Marshal(report)
	t.Logf("%s", text)
}
