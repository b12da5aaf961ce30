package builtin

import (
	"bytes"
	"maps"
	"net/netip"
	"slices"
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

// memory is a Keeper that forgets at the end of the test, and fails when told to.
type memory struct {
	users map[string][]byte
	steps []int // how many users each Put had, by step
	fail  error // of the next change
	after int   // steps that still work before fail
}

func newMemory() *memory { return &memory{users: map[string][]byte{}} }

func (m *memory) Users(fn func(name string, content []byte) error) error {
	for _, name := range slices.Sorted(maps.Keys(m.users)) {
		scratch := bytes.Clone(m.users[name])
		err := fn(name, scratch)
		clear(scratch) // who keeps it keeps nothing
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) step() error {
	if m.fail == nil {
		return nil
	}
	if m.after == 0 {
		return m.fail
	}
	m.after--
	return nil
}

func (m *memory) Put(users ...Kept) error {
	for step := range slices.Chunk(users, PutMax) {
		if err := m.step(); err != nil {
			return err
		}
		m.steps = append(m.steps, len(step))
		for _, u := range step {
			m.users[u.Name] = u.Content
		}
	}
	return nil
}

func (m *memory) Delete(name string) error {
	if err := m.step(); err != nil {
		return err
	}
	delete(m.users, name)
	return nil
}

// desk is a store with an authenticator on it, and a clock that stands still.
type desk struct {
	*testing.T
	*Store
	auth  *Authenticator
	clock *clock.Manual
	kept  *memory
}

func newDesk(t *testing.T, opt Options) *desk {
	t.Helper()
	clk := clock.NewManual(start)
	kept := newMemory()
	s, err := Open(kept, clk)
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(s, clk, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return &desk{t, s, a, clk, kept}
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
