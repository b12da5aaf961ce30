package lookup

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/hash"
	"github.com/redoubtmq/redoubt/auth/template"
	"github.com/redoubtmq/redoubt/backend"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
	"github.com/redoubtmq/redoubt/mqtt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// desk is an authenticator over a table.
type desk struct {
	*Authenticator
	table *table
	clock *clock.Manual
}

func newDesk(t *testing.T, query string) *desk {
	t.Helper()
	q, err := SQL(query, template.Dollar)
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{table: &table{}, clock: clock.NewManual(noon)}
	pool := backend.NewPool(clock.System{}, backend.PoolOptions{Workers: 1, Queue: 10, Share: 10, Timeout: time.Minute})
	t.Cleanup(pool.Close)
	d.Authenticator = New(Options{Name: "db", Backend: d.table, Query: q, Hash: hash.Spec{Algorithm: hash.SHA256}, Hashers: pool,
		Cache: backend.CacheOptions{Entries: 10, Positive: time.Minute, Negative: 5 * time.Second}}, d.clock)
	return d
}

func (d *desk) login(user, password string) auth.Result {
	return d.ask(&auth.Request{ClientID: "c1", Username: user, HasUsername: user != "", HasPassword: true, Password: secret.FromString(password), Addr: netip.MustParseAddr("192.0.2.1")})
}

func (d *desk) ask(req *auth.Request) auth.Result {
	got := make(chan auth.Result, 1)
	d.Authenticate(req, func(r auth.Result) { got <- r })
	return <-got
}

func hashOf(password string) string {
	sum := sha256.Sum256([]byte("salt" + password))
	return hex.EncodeToString(sum[:])
}

const usersQuery = "SELECT password_hash, salt FROM u WHERE username = ${username}"

func TestOutcomes(t *testing.T) {
	d := newDesk(t, usersQuery)
	if r := d.login("ann", "right"); r.Outcome != auth.Ignore || r.Detail != "the query finds nobody" {
		t.Errorf("no row: %+v", r)
	}
	d.Forget()
	d.table.rows = []backend.Row{fields("password_hash", hashOf("right"), "salt", "salt")}
	if r := d.login("ann", "right"); r.Outcome != auth.Allow || r.Principal.Identity != "ann" || r.Principal.Claims.Superuser {
		t.Errorf("right: %+v", r)
	}
	if r := d.login("ann", "wrong"); r.Outcome != auth.Deny || r.Reason != mqtt.BadUserNameOrPassword {
		t.Errorf("wrong: %+v", r)
	}
	asked := len(d.table.asked)
	for _, r := range []auth.Result{d.login("ann", ""), d.ask(&auth.Request{ClientID: "c1", Username: "ann", HasUsername: true}), d.ask(&auth.Request{})} {
		if r.Outcome != auth.Deny {
			t.Errorf("without a password: %+v", r)
		}
	}
	if r := d.login("", "right"); r.Outcome != auth.Ignore || r.Detail != nothingAsked || len(d.table.asked) != asked {
		t.Errorf("without a user name: %+v", r)
	}
	d.Forget()
	for kind := backend.Down; kind <= backend.Closed; kind++ {
		d.table.err = backend.Failed(kind, "why")
		want := auth.Unavailable
		if kind == backend.Rejected {
			want = auth.Deny
		}
		if r := d.login("ann", "right"); r.Outcome != want || !strings.Contains(r.Detail, "why") {
			t.Errorf("%v: %+v", kind, r)
		}
	}
}

func TestRowsOfAccounts(t *testing.T) {
	good := []string{"password_hash", hashOf("right"), "salt", "salt"}
	d := newDesk(t, usersQuery)
	try := func(rows ...backend.Row) auth.Result {
		d.Forget()
		d.table.rows = rows
		return d.login("ann", "right")
	}
	for want, row := range map[string]backend.Row{
		`column "disabled", which has no meaning`: fields(append(good, "disabled", "0")...),
		`column "is_superuser" has "maybe"`:       fields(append(good, "is_superuser", "maybe")...),
		`two columns "salt"`:                      fields(append(good, "salt", "x")...),
		`password_hash is missing or empty`:       fields("password_hash", "NULL", "salt", "salt"),
		`column username is empty`:                fields(append(good, "username", "NULL")...),
		`column password_hash`:                    fields("password_hash", "no hash", "salt", "salt"),
		`"client_attrs_a b"`:                      fields(append(good, "client_attrs_a b", "x")...),
		`longer than 1024`:                        fields(append(good, "client_attrs_a", strings.Repeat("x", 1025))...),
	} {
		if r := try(row); r.Outcome != auth.Unavailable || !strings.Contains(r.Detail, want) {
			t.Errorf("%v: %+v, want %s", row, r, want)
		}
	}
	if r := try(fields(good...), fields(good...)); r.Outcome != auth.Deny || !strings.Contains(r.Detail, "more than one row") {
		t.Errorf("two rows: %+v", r)
	}
	r := try(fields(append(good, "is_superuser", "t", "client_attrs_site", "hall", "username", "Ann")...))
	if p := r.Principal; r.Outcome != auth.Allow || !p.Claims.Superuser || p.Claims.Attrs["site"] != "hall" || p.Username != "Ann" || p.Identity != "Ann" {
		t.Errorf("all columns: %+v", r)
	}
}

// Only the name that was asked for is proved.
func TestWhoIsProved(t *testing.T) {
	d := newDesk(t, "SELECT password_hash, salt FROM u WHERE id = ${clientid} AND site = ${listener}")
	d.table.rows = []backend.Row{fields("password_hash", hashOf("right"), "salt", "salt")}
	if r := d.login("root", "right"); r.Outcome != auth.Allow || r.Principal.Identity != "c1" || r.Principal.Username != "" {
		t.Errorf("%+v", r)
	}
}

// A database may find the row of ann by a name that rules and bans do not know.
func TestNobodyIsAnotherByTheRowOfSomebody(t *testing.T) {
	row := []string{"password_hash", hashOf("right"), "salt", "salt"}
	for _, name := range []string{"ann ", " ann", "ann\t", "a\u200bnn", "ann\u202e", "\u0001ann"} {
		d := newDesk(t, usersQuery)
		d.table.rows = []backend.Row{fields(row...)}
		for range 2 { // the second time without a hash
			if r := d.login(name, "right"); r.Outcome != auth.Deny || r.Reason != mqtt.BadUserNameOrPassword || !strings.Contains(r.Detail, "column username") {
				t.Errorf("%q: %+v", name, r)
			}
		}
		d.Forget()
		d.table.rows = []backend.Row{fields(append(row, "username", "ann")...)}
		if r := d.login(name, "right"); r.Outcome != auth.Allow || r.Principal.Identity != "ann" {
			t.Errorf("%q, which the row calls ann: %+v", name, r)
		}
	}
}

// A bug in a check refuses one client; the worker goes on.
func TestABugLetsNobodyIn(t *testing.T) {
	d := newDesk(t, usersQuery)
	for range 3 {
		got := make(chan auth.Result, 1)
		d.hashing(&auth.Request{Addr: netip.MustParseAddr("192.0.2.1")}, func(r auth.Result) { got <- r }, func() auth.Result { panic("a bug") })
		if r := <-got; r.Outcome != auth.Unavailable || !strings.Contains(r.Detail, "BUG") {
			t.Errorf("%+v", r)
		}
	}
	d.table.rows = []backend.Row{fields("password_hash", hashOf("right"), "salt", "salt")}
	if r := d.login("ann", "right"); r.Outcome != auth.Allow {
		t.Errorf("after it: %+v", r)
	}
}

// What is remembered is the row, for a minute, and that a password fits its hash, and no
// other.
func TestWhatIsRemembered(t *testing.T) {
	d := newDesk(t, usersQuery)
	d.table.rows = []backend.Row{fields("password_hash", hashOf("right"), "salt", "salt")}
	outcome := func(password string) auth.Outcome { return d.login("ann", password).Outcome }
	if outcome("right") != auth.Allow || outcome("wrong") != auth.Deny || outcome("right") != auth.Allow || len(d.table.asked) != 1 {
		t.Errorf("asked %d times", len(d.table.asked))
	}
	d.table.rows = []backend.Row{fields("password_hash", hashOf("next"), "salt", "salt")}
	d.clock.Advance(time.Minute)
	if outcome("right") != auth.Deny || outcome("next") != auth.Allow || len(d.table.asked) != 2 {
		t.Error("another hash does not end what was verified")
	}
	d.table.rows = nil
	if outcome("next") != auth.Allow {
		t.Error("the row was not remembered")
	}
	d.Forget()
	if outcome("next") != auth.Ignore {
		t.Error("Forget leaves something")
	}
	for _, q := range d.table.asked {
		if !q.Secret.Empty() || strings.Contains(strings.Join(q.Args, " "), "next") {
			t.Error("a password went to the back end")
		}
	}
}
