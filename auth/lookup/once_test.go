package lookup

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/hash"
	"github.com/redoubtmq/redoubt/auth/template"
	"github.com/redoubtmq/redoubt/backend"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// hashOnly is a driver with one row for everybody.
type hashOnly struct{}

func (hashOnly) Ask(context.Context, backend.Question) ([]backend.Row, error) {
	return []backend.Row{fields("password_hash", hashOf("right"), "salt", "salt")}, nil
}
func (hashOnly) Ping(context.Context) error { return nil }
func (hashOnly) Close()                     {}

// A bug in what is done with an answer neither leaves the client without one nor gives it two.
func TestABugAfterAnAnswerIsNoSecondAnswer(t *testing.T) {
	caught := make(chan any, 10)
	tell := func(fault any) { caught <- fault }
	b := backend.New("db", hashOnly{}, clock.System{}, backend.Options{Workers: 1, Timeout: time.Minute, Caught: tell})
	hashers := backend.NewPool(clock.System{}, backend.PoolOptions{Workers: 1, Queue: 10, Share: 10, Timeout: time.Minute, Caught: tell})
	q, err := SQL(usersQuery, template.Dollar)
	if err != nil {
		t.Fatal(err)
	}
	opt := Options{Name: "db", Backend: b, Query: q, Hash: hash.Spec{Algorithm: hash.SHA256}, Hashers: hashers}
	answers := make(chan auth.Outcome, 10)
	req := &auth.Request{ClientID: "c1", Username: "ann", HasUsername: true, HasPassword: true, Password: secret.FromString("right"), Addr: netip.MustParseAddr("192.0.2.1")}
	New(opt, clock.System{}).Authenticate(req, func(r auth.Result) {
		answers <- r.Outcome
		panic("BUG: of who was told")
	})
	<-caught
	opt.Hashers = nil // a bug before there is an answer
	New(opt, clock.System{}).Authenticate(req, func(r auth.Result) { answers <- r.Outcome })
	<-caught
	NewSource(SourceOptions{Name: "db", Backend: b, Query: q}, clock.System{}).Load(&auth.Principal{Username: "ann"}, func(auth.Own, error) {
		answers <- auth.Ignore
		panic("BUG: of who was told")
	})
	<-caught
	b.Drain()
	hashers.Drain()
	hashers.Close()
	close(answers)
	var got []auth.Outcome
	for o := range answers {
		got = append(got, o)
	}
	if len(got) != 3 || got[0] != auth.Allow || got[1] != auth.Unavailable || got[2] != auth.Ignore {
		t.Error(got)
	}
}
