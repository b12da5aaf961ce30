package harden

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/secret"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/topic"
)

// The flaws of a broker whose rights are taken away.
const (
	keepsAllow, keepsReading, keepsWriting    flaw = "keepsAllow", "keepsReading", "keepsWriting"
	keepsAWhile, keepsEverySecond, losesAfter flaw = "keepsAWhile", "keepsEverySecond", "losesAfter"
)

// takenAway is what a fake keeps of rights that were; its mu guards it.
type takenAway struct {
	withdrawn   map[string]string // topics by user
	withdrawnAt time.Time
	kept        int // messages to such users
}

// AddProbeBeside implements Broker.
func (f *fake) AddProbeBeside(_ context.Context, name string) (ProbeUser, error) {
	u := ProbeUser{Name: "probe-" + randomText(), Secret: secret.FromString(canary + randomText())}
	f.mu.Lock()
	defer f.mu.Unlock()
	if u.Topic = f.users[name].Topic; u.Topic == "" || slices.Contains(f.flaws, cannotDeny) {
		return ProbeUser{}, errors.New("there is no such user")
	}
	f.users[u.Name] = u
	f.made = append(f.made, u)
	return u, nil
}

// EndGrant implements Broker.
func (f *fake) EndGrant(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	u := f.users[name]
	f.withdrawn = map[string]string{name: u.Topic}
	f.withdrawnAt = time.Now()
	u.Topic = ""
	f.users[name] = u
	if slices.Contains(f.flaws, losesAfter) {
		f.flaws = append(f.flaws, loses)
	}
	return nil
}

// still tells whether a user may go on with what he had, as the flaws have it.
func (f *fake) still(user, name string, delivery bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	had := f.withdrawn[user]
	if had == "" {
		return false
	}
	if delivery {
		f.kept++
	}
	since := time.Since(f.withdrawnAt)
	has := func(x flaw) bool { return slices.Contains(f.flaws, x) }
	if !has(keepsAllow) && !(has(keepsReading) && delivery) && !(has(keepsWriting) && !delivery) && !(has(keepsAWhile) && since < 300*time.Millisecond) && !(has(keepsEverySecond) && delivery && f.kept%2 == 0) {
		return false
	}
	return name == had || strings.HasPrefix(name, had+"/")
}

// route delivers to every subscription that matches.
func (f *fake) route(_, name string) {
	f.mu.Lock()
	var to, withdrawn []*fakeConn
	for c := range f.conns {
		if f.withdrawn[c.user] != "" && !slices.Contains(f.flaws, leaksRefused) {
			withdrawn = append(withdrawn, c)
			continue
		}
		for filter := range c.subs {
			if topic.Match(filter, []byte(name)) {
				to = append(to, c)
				break
			}
		}
	}
	f.mu.Unlock()
	for _, c := range withdrawn { // judged when it is delivered
		if f.still(c.user, name, true) {
			to = append(to, c)
		}
	}
	for _, c := range to {
		c.deliver(name)
	}
}

func (c *fakeConn) deliver(name string) {
	c.write((&mqtt.Publish{Topic: []byte(name), QoS: 2, PacketID: 7}).Append(nil, c.v))
}

// grantless is a broker whose grants cannot be taken away.
type grantless struct{ *fake }

func (grantless) EndGrant(context.Context, string) error { return errors.New("no such operation") }

// What a client has open is judged anew when its right is taken away: who goes on with an
// old answer is found, for what is read and for what is written, and how long it took is said.
func TestRightsThatAreTakenAway(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		flaws flaws
		state State
		want  string
	}{
		"good":                        {nil, Pass, "nothing was delivered from the first message on; looked at until"},
		"MQTT 3.1.1 only":             {flaws{only4}, Pass, "connection closed"},
		"QoS 0 to 1, no wildcards":    {flaws{qos1, noWildcards}, Pass, "nothing was delivered"},
		"needs a while":               {flaws{keepsAWhile}, Pass, "the last that was delivered was published"},
		"keeps an old answer":         {flaws{keepsAllow}, Fail, "delivered what was published 2."},
		"judges subscriptions alone":  {flaws{keepsReading}, Fail, "delivered what was published 2."},
		"judges deliveries alone":     {flaws{keepsWriting}, Fail, "PUBACK 0x00"},
		"one of two loops knows it":   {flaws{keepsEverySecond}, Fail, "delivered what was published 2."},
		"delivers nothing afterwards": {flaws{losesAfter}, Unknown, "kept the right publishes and gets it (positive control)"},
		"delivers nothing at all":     {flaws{loses}, Unknown, "both get what either publishes (positive control)"},
		"lets nobody in":              {flaws{nobody}, Unknown, "neither user got in anywhere"},
		"makes no second user":        {flaws{cannotDeny}, Unknown, "no second user"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fixture("P4.2", "a right that is taken away: "+name, c.state)
			f := newFake(t, c.flaws)
			addr := f.listen("to", "mqtt", "127.0.0.1:0")
			e := &Env{Clock: f.env().Clock, Config: &config.Config{}, Broker: f, Step: time.Second}
			one, err := f.AddProbe(t.Context(), true)
			if err != nil {
				t.Fatal(err)
			}
			r := e.judgeWithdrawn(t.Context(), []*endpoint{{name: "to", addr: spot{AddrPort: addr}}}, &one)
			if r.State != c.state || !strings.Contains(observed(&r), c.want) {
				t.Errorf("%s, want %s and %q in\n%s", r.State, c.state, c.want, observed(&r))
			}
			if len(f.users) != 1 {
				t.Errorf("%d users are left", len(f.users))
			}
		})
	}
	t.Run("cannot take it away", func(t *testing.T) {
		t.Parallel()
		f := newFake(t, nil)
		addr := f.listen("to", "mqtt", "127.0.0.1:0")
		e := &Env{Clock: f.env().Clock, Config: &config.Config{}, Broker: grantless{f}, Step: time.Second}
		one, err := f.AddProbe(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		if r := e.judgeWithdrawn(t.Context(), []*endpoint{{name: "to", addr: spot{AddrPort: addr}}}, &one); r.State != Unknown || !strings.Contains(observed(&r), "no such operation") {
			t.Errorf("%s\n%s", r.State, observed(&r))
		}
	})
}
