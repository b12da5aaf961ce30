package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	xdg "github.com/xdg-go/scram"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// scramOver runs a conversation of somebody else's client in AUTH packets, first in CONNECT
// or, of a connection that is open, in an AUTH that asks for re-authentication. It answers
// the reason of the packet that ends it, and whether the broker has proved itself.
func scramOver(w *wire, hash xdg.HashGeneratorFcn, name, word string, again bool) (reason mqtt.ReasonCode, proved, present bool) {
	w.t.Helper()
	return scramAs(w, mqtt.Connect{ClientID: "scram", SessionExpiry: 100}, hash, name, word, again)
}

// scramAs is scramOver for who has another client identifier, or another session.
func scramAs(w *wire, c mqtt.Connect, hash xdg.HashGeneratorFcn, name, word string, again bool) (reason mqtt.ReasonCode, proved, present bool) {
	w.t.Helper()
	method := "SCRAM-SHA-256"
	if len(hash().Sum(nil)) == 64 {
		method = "SCRAM-SHA-512"
	}
	prover, err := hash.NewClient(name, word, "")
	if err != nil {
		w.t.Fatal(err)
	}
	conv := prover.NewConversation()
	say := func(challenge string) []byte {
		s, err := conv.Step(challenge)
		if err != nil {
			w.t.Fatal(err)
		}
		return []byte(s)
	}
	if again {
		w.send((&mqtt.Auth{Reason: mqtt.ReAuthenticate, Method: method, Data: say("")}).Append(nil, mqtt.V5, 0))
	} else {
		c.Version, c.KeepAlive, c.ReceiveMaximum = mqtt.V5, 60, 10
		c.HasAuthMethod, c.AuthMethod, c.AuthData = true, method, say("")
		w.send(c.Append(nil, mqtt.V5, 0))
	}
	for {
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
				_, err := conv.Step(string(a.Data))
				return a.Reason, err == nil && conv.Valid(), false
			}
			w.send((&mqtt.Auth{Reason: mqtt.ContinueAuthentication, Method: method, Data: say(string(a.Data))}).Append(nil, mqtt.V5, 0))
		case mqtt.CONNACK:
			var ack mqtt.Connack
			if err := mqtt.DecodeConnack(p.Body, p.Header, mqtt.V5, lim, &ack); err != nil {
				w.t.Fatal(err)
			}
			_, err := conv.Step(string(ack.AuthData))
			return ack.Reason, err == nil && conv.Valid(), ack.SessionPresent
		case mqtt.DISCONNECT:
			var d mqtt.Disconnect
			if err := mqtt.DecodeDisconnectClient(p.Body, p.Header, mqtt.V5, lim, &d); err != nil {
				w.t.Fatal(err)
			}
			return d.Reason, false, false
		}
	}
}

// TestUsersOfAnotherBrokerMoveIn: a password file of Mosquitto is imported; a login makes
// its hash ours and SCRAM keys, which a kill leaves; then SCRAM lets the user in, and again
// on the open connection, and lets nobody else take it over.
func TestUsersOfAnotherBrokerMoveIn(t *testing.T) {
	t.Parallel()
	const conf = "authn: {chains: {default: [scram, builtin]}, scram: {iterations: 4096}}\n"
	b := testkit.Start(t, testkit.Options{Config: conf})
	file := filepath.Join(b.DataDir, "passwd")
	const word = "correct horse"
	text := "alice:$7$101$INLsvw2RzxAAO+r1$CALMNr32klu53gkDwb71APFwwS77z//c43zpdT5i7EShnYewMkWatwcuWd/30bP52QHlnRni08Qm/HqI19T/Pg==\n" +
		"bob:$6$4b35sZ7Wrv99eNVj$BTs/4iR8sw4mRDYLnoqTb6cZJbJSxrIyNNDoT7OQzbAOrj+Y82u+oOyjqPrkg2MjyNyvxpXCGEdzl86z5V5XTw==\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := b.Redoubt("", "user", "import", file, "--scram"); r.Code != 0 || !strings.Contains(r.Stdout, "2 created") {
		t.Fatal(r.Text())
	}
	for name, want := range map[string]mqtt.ReasonCode{"alice": mqtt.Success, "bob": mqtt.Success} {
		if rc := login(t, b, name, word+"x"); rc != mqtt.BadUserNameOrPassword {
			t.Errorf("%s with a wrong password is told %v", name, rc)
		}
		if rc := login(t, b, name, word); rc != want {
			t.Errorf("%s is told %v", name, rc)
		}
	}
	ours := func() bool {
		r := b.Redoubt("", "user", "list")
		return r.Code == 0 && strings.Count(r.Stdout, "argon2id") == 2 && strings.Count(r.Stdout, "SCRAM-SHA-512") == 2 && !strings.Contains(r.Stdout, "imported")
	}
	for end := time.Now().Add(patience); !ours(); {
		if time.Now().After(end) {
			t.Fatal(b.Redoubt("", "user", "list").Text())
		}
	}
	b.Signal(killed)
	b.Wait(patience)
	b = testkit.Start(t, testkit.Options{DataDir: b.DataDir, Config: conf})
	if !ours() {
		t.Error("a kill took what a login made")
	}
	for _, c := range []struct {
		name, word string
		want       mqtt.ReasonCode
	}{{"alice", word, mqtt.Success}, {"alice", word + "x", mqtt.BadUserNameOrPassword}, {"nobody", word, mqtt.BadUserNameOrPassword}} {
		w := dial(t, b, trust(t, b), mqtt.V5)
		if rc, proved, _ := scramOver(w, xdg.SHA256, c.name, c.word, false); rc != c.want || proved != (rc == mqtt.Success) {
			t.Errorf("SCRAM of %s is told %v, the broker has proved itself: %v", c.name, rc, proved)
		}
	}
	w := dial(t, b, trust(t, b), mqtt.V5)
	rc, proved, present := scramOver(w, xdg.SHA512, "alice", word, false)
	if rc != mqtt.Success || !proved || !present { // the session is alice's, whatever she proved it with
		t.Errorf("SHA-512: %v %v, session present: %v", rc, proved, present)
	}
	w.subscribe("devices/alice/#", 1)
	if rc, proved, _ := scramOver(w, xdg.SHA512, "alice", word, true); rc != mqtt.Success || !proved {
		t.Errorf("again: %v %v", rc, proved)
	}
	w.wantAlive()
	if rc, _, _ := scramOver(w, xdg.SHA512, "bob", word, true); rc != mqtt.NotAuthorized {
		t.Errorf("as somebody else: %v", rc)
	}
	w.wantClosed()
}
