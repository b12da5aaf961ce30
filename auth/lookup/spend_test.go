package lookup

import (
	"testing"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/backend"
	"github.com/redoubtmq/redoubt/internal/secret"
	"github.com/redoubtmq/redoubt/mqtt"
)

// Whatever there is of a client in a table, a refusal costs one hash and says the same to the
// client; so does what is spent when another of the chain has refused him.
func TestARefusalCostsOneHash(t *testing.T) {
	d := newDesk(t, usersQuery)
	spent := func() uint64 { return d.hashed.Swap(0) }
	for name, rows := range map[string][]backend.Row{
		"no row":            nil,
		"another password":  {fields("password_hash", hashOf("right"), "salt", "salt")},
		"no hash":           {fields("password_hash", "no hash", "salt", "salt")},
		"a column too many": {fields("password_hash", hashOf("right"), "salt", "salt", "disabled", "0")},
		"two rows":          {fields("password_hash", hashOf("right"), "salt", "salt"), fields("password_hash", hashOf("right"), "salt", "salt")},
	} {
		for _, cached := range []bool{false, true} {
			if !cached {
				d.Forget()
			}
			d.table.rows = rows
			if r := d.login("ann", "wrong"); spent() != 1 || r.Outcome != auth.Ignore && r.Reason != mqtt.BadUserNameOrPassword {
				t.Errorf("%s, cached %v: %+v", name, cached, r)
			}
		}
		d.Forget()
		if r := d.spend("ann", "right"); r != nil || spent() != 1 {
			t.Errorf("%s: spent: %+v", name, r)
		}
	}
	if r := d.spend("ann", ""); r != nil || spent() != 0 {
		t.Errorf("without a password: %+v", r)
	}
	d.Forget()
	d.table.err = backend.Failed(backend.Down, "why")
	if r := d.spend("ann", "right"); r == nil || r.Outcome != auth.Unavailable || spent() != 0 {
		t.Errorf("a back end that is down: %+v", r)
	}
}

func (d *desk) spend(user, password string) *auth.Result {
	got := make(chan *auth.Result, 1)
	d.Spend(&auth.Request{ClientID: "c1", Username: user, HasUsername: true, HasPassword: true, Password: secret.FromString(password)}, func(r *auth.Result) { got <- r })
	return <-got
}
