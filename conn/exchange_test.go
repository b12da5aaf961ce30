package conn

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/rules"
	"github.com/redoubtmq/redoubt/mqtt"
)

// challenge is a mechanism of two steps: the client says a name, is asked for the
// password, and proves the server by what comes with success.
type challenge struct{}

func (challenge) Name() string   { return "challenge" }
func (challenge) Method() string { return "CHALLENGE" }

func (challenge) Authenticate(_ *auth.Request, done func(auth.Result)) {
	done(auth.Result{Outcome: auth.Ignore})
}

func (challenge) Begin(*auth.Request) auth.Exchange { return new(challenged) }

type challenged struct {
	user string
	n    int
}

func (c *challenged) Step(data []byte, done func(auth.Result)) {
	c.n++
	switch {
	case c.n == 1 && len(data) > 0:
		c.user = string(data)
		go done(auth.Result{Outcome: auth.Continue, Data: []byte("password of " + c.user)})
	case c.n == 2 && string(data) == "pw-"+c.user:
		go done(auth.Result{Outcome: auth.Allow, Data: []byte("it is me"), Principal: auth.Principal{Identity: c.user, Username: c.user}})
	default:
		done(auth.Result{Outcome: auth.Deny, Reason: mqtt.BadUserNameOrPassword, Detail: "wrong proof"})
	}
}

// begin sends a CONNECT with an Authentication Method.
func (r *rig) begin(id, method, data string, change ...func(*mqtt.Connect)) *client {
	r.t.Helper()
	c := r.dial(mqtt.V5, id)
	p := &mqtt.Connect{
		Version: mqtt.V5, CleanStart: true, KeepAlive: 60, ClientID: id, ReceiveMaximum: 65535, RequestProblemInformation: true,
		HasAuthMethod: true, AuthMethod: method,
	}
	if data != "" {
		p.AuthData = []byte(data)
	}
	for _, f := range change {
		f(p)
	}
	c.send(p.Append(nil, mqtt.V5, 0))
	return c
}

func (c *client) auth(reason mqtt.ReasonCode, method, data string) {
	c.r.t.Helper()
	a := mqtt.Auth{Reason: reason, Method: method, Data: []byte(data)}
	c.send(a.Append(nil, mqtt.V5, 0))
}

// asked expects an AUTH.
func (c *client) asked(reason mqtt.ReasonCode, data string) {
	c.r.t.Helper()
	p := c.expect(mqtt.AUTH)
	var a mqtt.Auth
	if err := mqtt.DecodeAuthClient(p.body, p.h, mqtt.V5, mqtt.Limits{}, &a); err != nil {
		c.r.t.Fatal(err)
	}
	if a.Reason != reason || a.Method != "CHALLENGE" || string(a.Data) != data { // [MQTT-4.12.0-5]
		c.r.t.Fatalf("AUTH %v %q %q", a.Reason, a.Method, a.Data)
	}
}

// connack expects one.
func (c *client) connack(reason mqtt.ReasonCode) mqtt.Connack {
	c.r.t.Helper()
	p := c.expect(mqtt.CONNACK)
	var a mqtt.Connack
	if err := mqtt.DecodeConnack(p.body, p.h, mqtt.V5, mqtt.Limits{UserProperties: -1}, &a); err != nil {
		c.r.t.Fatal(err)
	}
	if a.Reason != reason {
		c.r.t.Fatalf("CONNACK %v, want %v\n%s", a.Reason, reason, c.r.log)
	}
	return a
}

// proven connects as user with the mechanism.
func (r *rig) proven(id, user string) *client {
	r.t.Helper()
	c := r.begin(id, "CHALLENGE", user)
	c.asked(mqtt.ContinueAuthentication, "password of "+user)
	c.auth(mqtt.ContinueAuthentication, "CHALLENGE", "pw-"+user)
	if a := c.connack(mqtt.Success); a.AuthMethod != "CHALLENGE" || string(a.AuthData) != "it is me" {
		r.t.Fatalf("CONNACK %+v", a)
	}
	return c
}

// Covers: MQTT-4.12.0-1 (5.0), MQTT-4.12.0-2 (5.0), MQTT-4.12.0-3 (5.0), MQTT-4.12.0-4 (5.0), MQTT-4.12.0-5 (5.0), MQTT-3.1.2-30 (5.0), MQTT-3.15.1-1 (5.0), MQTT-3.15.2-1 (5.0)
func TestEnhancedAuthentication(t *testing.T) {
	play(t, func(r *rig) {
		c := r.proven("one", "alice")
		if rc := c.subscribe("own/alice/#", 1); rc != 1 {
			t.Errorf("who it proved to be may subscribe: %v", rc)
		}
		if rc := c.subscribe("own/bob/#", 1); rc != mqtt.NotAuthorized {
			t.Errorf("and no other: %v", rc)
		}

		bad := r.begin("two", "CHALLENGE", "alice")
		bad.asked(mqtt.ContinueAuthentication, "password of alice")
		bad.auth(mqtt.ContinueAuthentication, "CHALLENGE", "pw-bob")
		bad.connack(mqtt.BadUserNameOrPassword)
		bad.closed(noPacket)

		none := r.begin("three", "NOSUCH", "x")
		none.connack(mqtt.BadAuthenticationMethod)
		none.closed(noPacket)

		for what, do := range map[string]func(*client){
			"a PUBLISH meanwhile": func(c *client) { c.publish("open/x", "too early", 0, 0) },
			"another method":      func(c *client) { c.auth(mqtt.ContinueAuthentication, "OTHER", "x") },
			"re-authentication":   func(c *client) { c.auth(mqtt.ReAuthenticate, "CHALLENGE", "x") },
			"reserved flags":      func(c *client) { c.send([]byte{0xF1, 0}) },
			"another CONNECT":     func(c *client) { c.send([]byte{0x10, 0}) },
		} {
			c := r.begin("four", "CHALLENGE", "alice")
			c.asked(mqtt.ContinueAuthentication, "password of alice")
			do(c)
			want := mqtt.ProtocolError
			if what == "reserved flags" {
				want = mqtt.MalformedPacket
			}
			if a := c.expect(mqtt.CONNACK); mqtt.ReasonCode(a.body[1]) != want { // no DISCONNECT before success [MQTT-3.14.0-1]
				t.Errorf("%s: CONNACK % x", what, a.body)
			}
			c.closed(noPacket)
		}

		gone := r.begin("five", "CHALLENGE", "alice")
		gone.asked(mqtt.ContinueAuthentication, "password of alice")
		gone.send([]byte{0xE0, 0})
		gone.closed(noPacket)
	})
}

// A client without a method is not asked, and may not begin on its own.
//
// Covers: MQTT-4.12.0-6 (5.0), MQTT-4.12.0-7 (5.0)
func TestAuthWithoutAMethod(t *testing.T) {
	play(t, func(r *rig) {
		c, ack := r.tryConnect(mqtt.V5, "alice/x")
		if ack.AuthMethod != "" {
			t.Errorf("CONNACK names the method %q", ack.AuthMethod)
		}
		c.auth(mqtt.ReAuthenticate, "CHALLENGE", "alice")
		c.closed(mqtt.ProtocolError)
	})
}

// Covers: MQTT-4.12.1-1 (5.0), MQTT-4.12.1-2 (5.0)
func TestReauthentication(t *testing.T) {
	play(t, func(r *rig) {
		c := r.proven("one", "alice")
		c.subscribe("open/#", 0)
		c.auth(mqtt.ReAuthenticate, "CHALLENGE", "alice")
		c.asked(mqtt.ContinueAuthentication, "password of alice")
		c.publish("open/x", "meanwhile", 0, 0) // other packets go on
		c.gets("open/x", "meanwhile")
		policy, err := rules.Parse("rules.yaml", []byte(strings.Replace(policyText, `"open/#", `, "", 1)))
		if err != nil {
			t.Fatal(err)
		}
		r.authz.Swap(policy) // nobody has told the homes yet: re-authentication judges by itself
		c.auth(mqtt.ContinueAuthentication, "CHALLENGE", "pw-alice")
		c.asked(mqtt.Success, "it is me")
		r.authz.Swap(policy)
		if n := r.broker.Sessions(); n != 1 {
			t.Fatalf("%d sessions", n)
		}

		for what, step := range map[string][2]string{"a wrong proof": {"alice", "pw-bob"}, "somebody else": {"bob", "pw-bob"}} {
			c := r.proven("two", "alice")
			c.auth(mqtt.ReAuthenticate, "CHALLENGE", step[0])
			c.asked(mqtt.ContinueAuthentication, "password of "+step[0])
			c.auth(mqtt.ContinueAuthentication, "CHALLENGE", step[1])
			c.closed(mqtt.NotAuthorized)
			by := map[string]string{"a wrong proof": "challenge", "somebody else": ""}[what] // it has not refused that one
			kept := r.broker.Log().Recent().List(audit.Wanted{Username: "alice", ClientID: "two"}, 10)
			if !slices.ContainsFunc(kept, func(f audit.Refusal) bool {
				return f.Event == "re-authentication refused, closed" && f.Identity == "alice" && f.By == by && f.Why != ""
			}) {
				t.Errorf("%s: what is kept of it: %+v", what, kept)
			}
		}

		// Clients without an identifier of their own have one place for all.
		before := len(r.broker.Log().Recent().List(audit.Wanted{Username: "alice"}, 1000))
		for range 20 {
			c := r.proven("", "alice")
			c.auth(mqtt.ReAuthenticate, "CHALLENGE", "alice")
			c.asked(mqtt.ContinueAuthentication, "password of alice")
			c.auth(mqtt.ContinueAuthentication, "CHALLENGE", "pw-bob")
			c.closed(mqtt.NotAuthorized)
		}
		if n := len(r.broker.Log().Recent().List(audit.Wanted{Username: "alice"}, 1000)) - before; n != 1 {
			t.Errorf("%d more are kept", n)
		}

		nobody := r.begin("four", "NONE", "alice")
		nobody.connack(mqtt.BadAuthenticationMethod)
		if kept := r.broker.Log().Recent().List(audit.Wanted{ClientID: "four"}, 10); len(kept) != 1 || kept[0].Reason != mqtt.BadAuthenticationMethod || kept[0].Identity != "" {
			t.Errorf("what is kept of a method that there is not: %+v", kept)
		}

		other := r.proven("three", "alice")
		other.auth(mqtt.ReAuthenticate, "OTHER", "alice")
		other.closed(mqtt.ProtocolError)
	})
}

// The deadline from accept to CONNECT is over the whole exchange.
func TestEnhancedAuthenticationHasNoTimeOfItsOwn(t *testing.T) {
	play(t, func(r *rig) {
		c := r.begin("one", "CHALLENGE", "alice")
		c.asked(mqtt.ContinueAuthentication, "password of alice")
		r.pass(11 * time.Second)
		c.closed(noPacket)
	})
}

// An AUTH that the client could not take is not sent [MQTT-3.1.2-24].
func TestAuthOverTheClientsMaximum(t *testing.T) {
	play(t, func(r *rig) {
		c := r.begin("one", "CHALLENGE", strings.Repeat("a", 100), func(p *mqtt.Connect) { p.MaximumPacketSize = 60 })
		c.connack(mqtt.PacketTooLarge)
		c.closed(noPacket)
	})
}
