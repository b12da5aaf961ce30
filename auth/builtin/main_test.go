package builtin

import (
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// canary is the password of every user of these tests that has a chosen one. It
// must not turn up in anything that is shown.
const canary = "canary-5up3r-53cr37"

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// desk is a store with an authenticator on it, and a clock that stands still.
type desk struct {
	*testing.T
	*Store
	auth  *Authenticator
	clock *clock.Manual
}

func newDesk(t *testing.T, opt Options) *desk {
	t.Helper()
	clk := clock.NewManual(start)
	s, err := Open(t.TempDir(), clk)
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(s, clk, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return &desk{t, s, a, clk}
}

// add makes a user with the canary.
func (d *desk) add(name string) {
	d.Helper()
	if _, err := d.Add(name, secret.FromString(canary)); err != nil {
		d.Fatal(err)
	}
}

// addGenerated makes a user with a generated secret and answers it.
func (d *desk) addGenerated(name string) string {
	d.Helper()
	_, v, err := d.AddGenerated(name)
	if err != nil {
		d.Fatal(err)
	}
	return string(v.Reveal())
}

func request(user, password string) *auth.Request {
	return &auth.Request{
		ClientID: "c1", Username: user, Listener: "mqtts",
		HasUsername: user != "", HasPassword: true,
		Password: secret.FromString(password), Addr: netip.MustParseAddr("192.0.2.1"), Version: 5,
	}
}

// login waits for the answer and also tells whether it came at once.
func (d *desk) login(req *auth.Request) (res auth.Result, inline bool) {
	d.Helper()
	got := make(chan auth.Result, 2)
	d.auth.Authenticate(req, func(r auth.Result) { got <- r })
	select {
	case res = <-got:
		inline = true
	default:
		res = <-got
	}
	if len(got) != 0 {
		d.Fatal("done was called twice")
	}
	return res, inline
}

func (d *desk) enters(user, password string) bool {
	d.Helper()
	r, _ := d.login(request(user, password))
	return r.Outcome == auth.Allow
}
