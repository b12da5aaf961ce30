package test

import (
	"fmt"
	"testing"

	"github.com/redoubtmq/redoubt/auth/kerberos/kdctest"
	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

const ticketMethod = "GSSAPI-KERBEROS"

// ticketed runs the conversation of a client of GSSAPI, first in CONNECT or, of a connection
// that is open, in an AUTH that asks for re-authentication; first is its token. It answers
// the reason of the packet that ends it.
func ticketed(w *wire, k *kdctest.KDC, first []byte, again bool) mqtt.ReasonCode {
	w.t.Helper()
	if again {
		w.send((&mqtt.Auth{Reason: mqtt.ReAuthenticate, Method: ticketMethod, Data: first}).Append(nil, mqtt.V5, 0))
	} else {
		w.send((&mqtt.Connect{Version: mqtt.V5, ClientID: "ticketed", CleanStart: true, KeepAlive: 60, HasAuthMethod: true, AuthMethod: ticketMethod, AuthData: first, ReceiveMaximum: 10}).Append(nil, mqtt.V5, 0))
	}
	for steps := 0; ; {
		p, err := w.next()
		if err != nil {
			w.t.Fatal(err)
		}
		lim := mqtt.Limits{UserProperties: -1}
		switch p.Type {
		case mqtt.AUTH:
			var a mqtt.Auth
			if err := mqtt.DecodeAuthClient(p.Body, p.Header, mqtt.V5, lim, &a); err != nil {
				w.t.Fatal(err)
			}
			if a.Reason == mqtt.Success {
				return a.Reason
			}
			var next []byte
			if steps++; steps == 1 {
				k.Proven(a.Data)
			} else {
				next = k.Layer(a.Data, []byte{1, 0, 0, 0})
			}
			w.send((&mqtt.Auth{Reason: mqtt.ContinueAuthentication, Method: ticketMethod, Data: next}).Append(nil, mqtt.V5, 0))
		case mqtt.CONNACK:
			var ack mqtt.Connack
			if err := mqtt.DecodeConnack(p.Body, p.Header, mqtt.V5, lim, &ack); err != nil {
				w.t.Fatal(err)
			}
			return ack.Reason
		case mqtt.DISCONNECT:
			var d mqtt.Disconnect
			if err := mqtt.DecodeDisconnectClient(p.Body, p.Header, mqtt.V5, lim, &d); err != nil {
				w.t.Fatal(err)
			}
			return d.Reason
		}
	}
}

// TestClientsWithTickets: a client of somebody else's library with a ticket of somebody
// else's KDC comes in, and again on the open connection, and nobody else takes that over; a
// token that was shown lets nobody in, nor does one of another service.
func TestClientsWithTickets(t *testing.T) {
	t.Parallel()
	k := kdctest.Start(t, "aes256-cts-hmac-sha1-96")
	b := testkit.Start(t, testkit.Options{Config: fmt.Sprintf("authn: {chains: {default: [plant, builtin]}, kerberos: {plant: {principal: %s, keytab: %s, realms: [%s], bare_realm: %s}}}\n", kdctest.Servant, k.File("service"), kdctest.Realm, kdctest.Realm)})
	fresh := func(who string) []byte { return k.Token(who, kdctest.Servant, kdctest.Mutual) }
	first := fresh("alice")
	w := dial(t, b, trust(t, b), mqtt.V5)
	if rc := ticketed(w, k, first, false); rc != mqtt.Success {
		t.Fatalf("alice is told %v", rc)
	}
	if rc := ticketed(w, k, fresh("alice"), true); rc != mqtt.Success {
		t.Errorf("alice is told %v the second time", rc)
	}
	if rc := ticketed(w, k, fresh("bob"), true); rc != mqtt.NotAuthorized {
		t.Errorf("bob on the connection of alice is told %v", rc)
	}
	for what, c := range map[string]struct {
		token []byte
		want  mqtt.ReasonCode
	}{
		"a token that was shown": {first, mqtt.BadUserNameOrPassword},
		"another service":        {k.Token("alice", "mqtt/other.example@"+kdctest.Realm, kdctest.Mutual), mqtt.BadUserNameOrPassword},
		"a name of two parts":    {fresh("robot/arm"), mqtt.NotAuthorized},
		"rubbish":                {[]byte("`rubbish"), mqtt.BadUserNameOrPassword},
	} {
		if rc := ticketed(dial(t, b, trust(t, b), mqtt.V5), k, c.token, false); rc != c.want {
			t.Errorf("%s is told %v", what, rc)
		}
	}
}
