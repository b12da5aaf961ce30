package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
)

func TestProbeUsers(t *testing.T) {
	r := newRig(t, nil)
	plain, err := r.client.AddProbe(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	granted, err := r.client.AddProbe(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(plain.UserID, "probe-") || plain.Topic != "" || plain.Password.Empty() || !plain.ExpiresAt.Equal(t0.Add(time.Minute)) ||
		granted.UserID == plain.UserID || !strings.HasPrefix(granted.Topic, "probe-") || granted.Password.Equal(plain.Password.Value) {
		t.Errorf("%+v, %+v", plain, granted)
	}
	may := func(user string) bool {
		return r.authz.Policy().Decide(&auth.Principal{Username: user}, auth.Access{Action: auth.Publish, Topic: []byte(granted.Topic + "/x")}).Allow
	}
	if may(plain.UserID) || !may(granted.UserID) {
		t.Errorf("rights: plain %v, granted %v", may(plain.UserID), may(granted.UserID))
	}
	if got := r.authz.Policy().DecideSubscribe(&auth.Principal{Username: granted.UserID}, "#", 0); got.Allow {
		t.Error("the grant reaches beyond its topic")
	}
	if !r.store.Known(plain.UserID) || r.store.Len() != 0 {
		t.Errorf("known %v, %d users in the file", r.store.Known(plain.UserID), r.store.Len())
	}
	if log := r.log.String(); strings.Contains(log, string(plain.Password.Reveal())) || strings.Contains(log, string(granted.Password.Reveal())) || !strings.Contains(log, granted.UserID) {
		t.Error("the log holds a secret, or not who was made")
	}
	if err := r.client.EndProbe(t.Context(), granted.UserID); err != nil || may(granted.UserID) || r.store.Known(granted.UserID) {
		t.Errorf("ended: %v, may %v", err, may(granted.UserID))
	}
	if err := r.client.EndProbe(t.Context(), granted.UserID); status(err) != http.StatusNotFound {
		t.Errorf("ended twice: %v", err)
	}
	for range 3 {
		if _, err := r.client.AddProbe(t.Context(), true); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.client.AddProbe(t.Context(), false); status(err) != http.StatusConflict {
		t.Errorf("a fifth one: %v", err)
	}
	if n := len(r.authz.Policy().Rules()); n != 4+3 {
		t.Errorf("%d rules", n)
	}
	if len(r.kept.users) > 0 {
		t.Errorf("probe users are kept: %d", len(r.kept.users))
	}
}

// A second user has the right of the first, and keeps it when that of the first is taken away;
// the first stays a user.
func TestProbeUsersWithOneRight(t *testing.T) {
	r := newRig(t, nil)
	first, err := r.client.AddProbe(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	second, err := r.client.AddProbeBeside(t.Context(), first.UserID)
	if err != nil {
		t.Fatal(err)
	}
	may := func(user string) bool {
		return r.authz.Policy().Decide(&auth.Principal{Username: user}, auth.Access{Action: auth.Publish, Topic: []byte(first.Topic + "/x")}).Allow
	}
	if second.Topic != first.Topic || second.UserID == first.UserID || !may(first.UserID) || !may(second.UserID) {
		t.Errorf("%+v, %+v", first, second)
	}
	if err := r.client.EndProbeGrant(t.Context(), first.UserID); err != nil || may(first.UserID) || !may(second.UserID) || !r.store.Known(first.UserID) {
		t.Errorf("%v, may %v and %v", err, may(first.UserID), may(second.UserID))
	}
	if r.fake.denier.grantsEnded != 1 {
		t.Error("sessions are not judged again")
	}
	if err := r.client.EndProbeGrant(t.Context(), first.UserID); status(err) != http.StatusNotFound {
		t.Errorf("taken away twice: %v", err)
	}
	for _, name := range []string{first.UserID, "ann", "probe-1"} { // no right, no probe user, nobody
		if _, err := r.client.AddProbeBeside(t.Context(), name); status(err) != http.StatusNotFound {
			t.Errorf("beside %s: %v", name, err)
		}
	}
	if err := r.client.EndProbe(t.Context(), second.UserID); err != nil || may(second.UserID) {
		t.Error(err)
	}
	if _, err := r.client.AddProbeBeside(t.Context(), second.UserID); status(err) != http.StatusNotFound {
		t.Errorf("beside one that has ended: %v", err)
	}
}

// The operations for probes end no user of the operator's and give nobody a right.
func TestProbesAreNotAWayAround(t *testing.T) {
	r := newRig(t, nil)
	if _, _, err := r.store.AddGenerated("ann"); err != nil {
		t.Fatal(err)
	}
	if err := r.client.EndProbe(t.Context(), "ann"); status(err) != http.StatusNotFound || !r.store.Known("ann") {
		t.Errorf("a user was ended: %v", err)
	}
	for _, body := range []string{`{"user_id":"ann"}`, `{"grant":true,"topic":"#"}`, `{"grant":"#"}`, `{"grant":true,"expires_in":100}`, `{"beside":true}`} {
		if resp, text := r.raw(http.MethodPost, "/api/v5/probe", body); resp.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s", body, resp.StatusCode, text)
		}
	}
	if n := len(r.authz.Policy().Rules()); n != 4 {
		t.Errorf("%d rules", n)
	}
}

// A probe user ends after its minute although nobody asks for it.
func TestProbeUsersEndByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, err := builtin.Open(newMemory(), clock.System{})
		if err != nil {
			t.Fatal(err)
		}
		authz := newPolicy(t)
		p := NewProbes(store, authz, &fakeDenier{}, clock.System{}, slog.New(slog.DiscardHandler))
		done := make(chan struct{})
		go func() { defer close(done); p.attend(t.Context()) }()
		cut := map[string]time.Time{}
		store.OnChange(func(names []string) {
			for _, n := range names {
				cut[n] = time.Now()
			}
		})
		begin := time.Now()
		first, err := p.Add(true)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		second, err := p.Add(true)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if a, b := cut[first.UserID].Sub(begin), cut[second.UserID].Sub(begin); a != time.Minute || b != 90*time.Second {
			t.Errorf("cut after %v and %v", a, b)
		}
		if n := len(authz.Policy().Rules()); n != 4 {
			t.Errorf("%d rules are left", n)
		}
	})
}

func TestLimitsAndProcess(t *testing.T) {
	r := newRig(t, nil)
	l, err := r.client.Limits(t.Context())
	if err != nil || l.PacketBytes != 1<<20 || l.Subscriptions != 100 {
		t.Errorf("%+v, %v", l, err)
	}
	pid, uid, err := r.client.Process(t.Context())
	if err != nil || pid != os.Getpid() || uid != os.Geteuid() {
		t.Errorf("pid %d, uid %d, %v", pid, uid, err)
	}
	if _, _, err := NewClient(r.socket + "x").Process(t.Context()); err == nil || !strings.Contains(err.Error(), "redoubt serve") {
		t.Errorf("nobody there: %v", err)
	}
}

// told is a Folder that has begun a run.
type told struct{ asked []string }

func (f *told) ProbeMade(time.Time, string)  {}
func (f *told) ProbeEnded(time.Time, string) {}
func (f *told) ProbeAsked(what string, by audit.Caller, request string) bool {
	if by.UID != os.Geteuid() || by.PID != os.Getpid() || request == "" {
		what = "nobody knows by whom"
	}
	f.asked = append(f.asked, what)
	return true
}

// What is done with users of probes is counted in one line, where somebody writes that, and is
// no line each. What is refused is, and what changes anything else; questions are not.
func TestProbesAreNoLineEach(t *testing.T) {
	f := new(told)
	r := newRig(t, func(s *Server) { s.probes.FoldInto(f) })
	u, err := r.client.AddProbe(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.client.Check(t.Context(), AccessQuery{Username: u.UserID, Action: "publish", Topic: "x"})
	_, bad := r.client.Check(t.Context(), AccessQuery{Username: u.UserID, Action: "dance", Topic: "x"})
	_, added := r.client.Add(t.Context(), "alice", secret.Value{})
	if err := errors.Join(err, added, r.client.EndProbeGrant(t.Context(), u.UserID), r.client.EndProbe(t.Context(), u.UserID)); err != nil || status(bad) != http.StatusUnprocessableEntity {
		t.Fatal(err, bad)
	}
	if err := r.client.EndProbe(t.Context(), u.UserID); status(err) != http.StatusNotFound {
		t.Errorf("ended twice: %v", err)
	}
	r.stop() // then all lines are written
	r.stopped <- <-r.stopped
	if got := strings.Join(f.asked, " "); got != "made rights_ended ended" {
		t.Errorf("counted: %s", got)
	}
	var lines []string
	for line := range strings.Lines(r.log.String()) {
		var l struct {
			Level, Msg, Path string
			Status           int
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if l.Level != "DEBUG" && l.Msg == "administration request" {
			lines = append(lines, fmt.Sprint(l.Status, " ", path.Base(path.Dir(l.Path)), "/", path.Base(l.Path)))
		}
	}
	if want := []string{"422 authorization/check", "201 builtin/users", "404 probe/" + u.UserID}; !slices.Equal(lines, want) {
		t.Errorf("lines of their own: %q, want %q", lines, want)
	}
}
