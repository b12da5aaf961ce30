// Package pahogo runs the two Go clients of Eclipse Paho against a broker that
// offers every feature they expose: paho.mqtt.golang for 3.1 and 3.1.1, paho.golang
// for 5.0. It is a module of its own, so that neither is a dependency of the broker.
//
// It is a test binary without tests: `go test -c`, run with -settings JSON (see
// ../paho_features.py), prints one JSON line per case. test/features_test.go builds
// it and reads the lines.
package pahogo

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// wait is a limit for hanging, not a pause.
const wait = 20 * time.Second

// settings are what the test that runs this passes.
var settings struct {
	Host, Path, CA, Name string
	Port, Tenant, Small  int
	User, Password       string
	OtherName            string `json:"other"`
	OtherPassword        string `json:"other_password"`
}

// trust is what clients check the broker's certificate against.
var trust *tls.Config

func TestMain(_ *testing.M) {
	text := flag.String("settings", "", "JSON")
	flag.Parse()
	if err := json.Unmarshal([]byte(*text), &settings); err != nil {
		panic(err)
	}
	ca, err := os.ReadFile(settings.CA)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	trust = &tls.Config{RootCAs: pool, ServerName: settings.Host}
	for _, c := range cases() {
		if settings.Path != "" && (strings.HasPrefix(c.name, "v5/") || strings.HasSuffix(c.name, "/mountpoint") || strings.HasSuffix(c.name, "/will")) {
			continue // paho.golang is handed a connection; there is no mountpoint there; a WebSocket cannot be cut from here
		}
		line := map[string]any{"case": c.name, "ok": true, "detail": ""}
		if err := try(c.run); err != "" {
			line["ok"], line["detail"] = false, err
		}
		out, _ := json.Marshal(line)
		fmt.Println(string(out))
	}
	os.Exit(0) // a case that failed may have left a connection
}

// oneCase is one line of the report.
type oneCase struct {
	name string
	run  func()
}

func cases() (out []oneCase) {
	for _, c := range onlyV5 {
		out = append(out, oneCase{"v5/" + c.name, c.run})
	}
	for _, v := range []struct {
		name string
		open opener
	}{{"v31", three(3)}, {"v311", three(4)}, {"v5", openFive}} {
		for _, c := range every {
			out = append(out, oneCase{v.name + "/" + c.name, func() { c.run(v.name, v.open) }})
		}
	}
	return out
}

// failed is how a case ends that did not go well.
type failed string

func try(run func()) (why string) {
	defer func() {
		if f, ok := recover().(failed); ok {
			why = string(f)
		}
	}()
	run()
	return ""
}

func check(ok bool, format string, args ...any) {
	if !ok {
		panic(failed(fmt.Sprintf(format, args...)))
	}
}

func noError(err error, what string) { check(err == nil, "%s: %v", what, err) }

// message is what both libraries tell of one.
type message struct {
	topic, payload string
	qos            byte
	retain         bool
	rest           any // *paho.PublishProperties in 5.0
}

// client is what both libraries can do.
type client interface {
	present() bool // whether there was a session
	say(topic, payload string, qos byte, retain bool)
	ask(topic string, qos byte) int // code of SUBACK; -1: the connection ended
	inbox() chan message
	leave()
	cut() // without DISCONNECT
}

// how differs from the usual connection.
type how struct {
	port  int
	other bool // the other user
	keep  bool // the session
	will  string
}

type opener func(id string, h how) client

// get is the next message, which must be this one.
func get(c client, payload string) message {
	select {
	case m := <-c.inbox():
		check(m.payload == payload, "got %q, want %q", m.payload, payload)
		return m
	case <-time.After(wait):
		panic(failed("no message " + payload))
	}
}

// quiet: nothing but the marker comes.
func quiet(c client, topic, marker string) {
	c.say(topic, marker, 1, false)
	get(c, marker)
}

func topic(name string) string { return "devices/" + settings.User + "/" + settings.Name + "/" + name }
