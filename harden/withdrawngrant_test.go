package harden

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/config"
)

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
