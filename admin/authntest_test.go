package admin

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/internal/secret"
	"github.com/redoubtmq/redoubt/mqtt"
)

// fakeLogins answers when it is told to.
type fakeLogins struct {
	mu   sync.Mutex // guards all below
	req  auth.Request
	hold chan func(LoginTrial) // nil: it answers at once
	say  LoginTrial
}

func (f *fakeLogins) TryLogin(req *auth.Request, certificates string, done func(LoginTrial)) error {
	f.mu.Lock()
	f.req = *req
	hold, say := f.hold, f.say
	f.mu.Unlock()
	switch {
	case certificates != "":
		return errors.New("there is no certificate in PEM in what was given")
	case hold != nil:
		hold <- done
	default:
		done(say)
	}
	return nil
}

// A trial says what each has said, tells nobody the password, is in the log with who made
// it, and an administrator has one at a time, however slow the answer is.
func TestTryLogin(t *testing.T) {
	r := newRig(t, nil)
	user, password := "pump-1", secret.FromString("marker-of-a-password")
	r.logins.say = LoginTrial{Result: auth.Result{Outcome: auth.Deny, Reason: mqtt.BadUserNameOrPassword, Detail: "wrong password"}, Steps: []auth.Step{
		{Name: "tokens", State: auth.Skipped}, {Name: "db", State: auth.Denied, Detail: "wrong password", Cached: true, Took: 3 * time.Millisecond, Result: auth.Result{Reason: mqtt.BadUserNameOrPassword}}, {Name: "builtin"},
	}}
	q := &LoginQuery{Listener: "mqtts", Username: &user, ClientID: "c1", IPAddress: "::ffff:192.0.2.9", Version: 4}
	got, err := r.client.TestLogin(t.Context(), q, &password)
	if err != nil || got.Result != "deny" || got.Reason != 0x86 || len(got.Steps) != 3 || got.Steps[0].State != "skipped" || got.Steps[2].State != "not_asked" {
		t.Fatalf("%+v, %v", got, err)
	}
	if s := got.Steps[1]; s.State != "denied" || !s.Cached || s.Micros != 3000 || s.Reason != 0x86 || s.Detail != "wrong password" {
		t.Errorf("%+v", s)
	}
	if req := r.logins.req; string(req.Password.Reveal()) != "marker-of-a-password" || !req.HasPassword || req.Username != user || req.Addr.String() != "192.0.2.9" || req.Version != 4 || req.Known {
		t.Errorf("%+v", &req)
	}
	log := r.log.String()
	if strings.Contains(log, "marker") || !strings.Contains(log, "login tried by an operator") || !strings.Contains(log, "peer_uid") {
		t.Errorf("the log\n%s", log)
	}
	if _, err := r.client.TestLogin(t.Context(), &LoginQuery{Listener: "mqtts"}, nil); err != nil || r.logins.req.HasPassword || r.logins.req.HasUsername {
		t.Errorf("without credentials: %+v, %v", &r.logins.req, err)
	}
	for name, bad := range map[string]*LoginQuery{"address": {Listener: "l", IPAddress: "here"}, "certificate": {Listener: "l", Certificate: "x"}, "no listener": {}, "version": {Listener: "l", Version: 6}} {
		if _, err := r.client.TestLogin(t.Context(), bad, nil); status(err) != http.StatusUnprocessableEntity {
			t.Errorf("%s: %v", name, err)
		}
	}

	r.logins.mu.Lock()
	r.logins.hold = make(chan func(LoginTrial), 1)
	r.logins.mu.Unlock()
	first := make(chan error, 1)
	go func() { _, err := r.client.TestLogin(t.Context(), q, &password); first <- err }()
	done := <-r.logins.hold
	if _, err := r.client.TestLogin(t.Context(), q, &password); status(err) != http.StatusTooManyRequests {
		t.Errorf("a second one at the same time: %v", err)
	}
	done(r.logins.say)
	if err := <-first; err != nil {
		t.Error(err)
	}
	go func() { (<-r.logins.hold)(r.logins.say) }()
	if _, err := r.client.TestLogin(t.Context(), q, &password); err != nil {
		t.Errorf("the place is not free again: %v", err)
	}
}
