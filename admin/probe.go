package admin

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/internal/clock"
)

// probeLife is how long a probe user lasts, whatever becomes of who asked for it.
const probeLife = 60 * time.Second

// Probes makes users for the probes of redoubt doctor: ordinary users with a
// random name, a generated secret and a minute to live, with no rights of their
// own or with one rule for one random topic. No caller chooses a name or a topic,
// so that this is not a way to add a user past the log or a right past the
// rules file.
//
// It also has certificates that were made for a probe denied for that time.
type Probes struct {
	store   *builtin.Store
	authz   *auth.Authorizer
	denier  Denier
	clock   clock.Clock
	log     *slog.Logger
	folder  Folder        // nil: nobody is told
	changed chan struct{} // wakes attend; holds one

	mu     sync.Mutex // guards what follows
	denied []denial
	topics map[string]string // of users who have a right
}

// NewProbes makes them in store and authz, and has certificates denied by denier.
// Server.Serve ends them in time.
func NewProbes(store *builtin.Store, authz *auth.Authorizer, denier Denier, clk clock.Clock, log *slog.Logger) *Probes {
	return &Probes{store: store, authz: authz, denier: denier, clock: clk, log: log, changed: make(chan struct{}, 1)}
}

// Folder is told of the users of probes, so that what the log would have of each of them is
// one line for all; *audit.Log is one. It has no part in what they may do.
type Folder interface {
	ProbeMade(now time.Time, user string)
	ProbeEnded(now time.Time, user string)
	// ProbeAsked tells what an administrator has done with one, and answers whether the line
	// for all will have it.
	ProbeAsked(what string, by audit.Caller, request string) bool
}

// countedAs are the operations on users of probes that are not a line each, where there is a
// Folder: nothing else is changed by them.
var countedAs = map[string]string{"addProbeUser": "made", "endProbeGrant": "rights_ended", "deleteProbeUser": "ended"}

// counted tells whether a request that was done is counted in the line of a run.
func (p *Probes) counted(operation string, by peer, request string) bool {
	what, counts := countedAs[operation]
	return counts && p != nil && p.folder != nil && p.folder.ProbeAsked(what, audit.Caller{UID: by.uid, PID: by.pid}, request)
}

// level is that of lines about single users.
func (p *Probes) level() slog.Level {
	if p.folder != nil {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// FoldInto has f told, and answers p.
func (p *Probes) FoldInto(f Folder) *Probes {
	p.folder = f
	return p
}

// ended says that one is no more.
func (p *Probes) ended(name string) {
	if p.folder != nil {
		p.folder.ProbeEnded(p.clock.Now(), name)
	}
}

// ProbeUser is a user made for a probe.
type ProbeUser struct {
	UserID    string     `json:"user_id" doc:"User name."`
	Password  *ShownOnce `json:"generated_password"`
	Topic     string     `json:"topic,omitempty" doc:"The topic the user may use, with everything below it; absent: it has no right of its own."`
	ExpiresAt time.Time  `json:"expires_at" doc:"When the user ends by itself."`
}

// Add makes one.
func (p *Probes) Add(grant bool) (ProbeUser, error) {
	if !grant {
		return p.add("")
	}
	return p.add("probe-" + randomName())
}

// AddBeside makes one with the same right as another probe user has.
func (p *Probes) AddBeside(name string) (ProbeUser, error) {
	p.mu.Lock()
	topic := p.topics[name]
	p.mu.Unlock()
	if topic == "" {
		return ProbeUser{}, fmt.Errorf("probe user %q with a right %w", name, builtin.ErrUnknown)
	}
	return p.add(topic)
}

func (p *Probes) add(topic string) (ProbeUser, error) {
	u := ProbeUser{UserID: "probe-" + randomName()}
	v, until, err := p.store.AddTemporary(u.UserID, probeLife)
	if err != nil {
		return ProbeUser{}, err
	}
	if p.folder != nil {
		p.folder.ProbeMade(p.clock.Now(), u.UserID)
	}
	u.Password, u.ExpiresAt = &ShownOnce{v}, until
	if topic != "" {
		u.Topic = topic
		if err := p.authz.Grant(u.UserID, u.Topic+"/#"); err != nil {
			_ = p.store.EndTemporary(u.UserID) // it was made a moment ago
			p.ended(u.UserID)
			return ProbeUser{}, err
		}
		p.mu.Lock()
		if p.topics == nil {
			p.topics = map[string]string{}
		}
		p.topics[u.UserID] = topic
		p.mu.Unlock()
	}
	p.wake()
	p.log.Log(context.Background(), p.level(), "probe user made", "user", u.UserID, "topic", u.Topic, "expires_at", until)
	return u, nil
}

func (p *Probes) wake() {
	select {
	case p.changed <- struct{}{}:
	default: // attend is woken already
	}
}

// End ends one before its time: what it has open is closed, then its right is
// taken back.
func (p *Probes) End(name string) error {
	if err := p.store.EndTemporary(name); err != nil {
		return err
	}
	p.revoke(name)
	p.ended(name)
	p.log.Log(context.Background(), p.level(), "probe user ended", "user", name)
	return nil
}

// EndGrant takes away the right of one, and leaves him and what he has open: the rules have
// to see to that.
func (p *Probes) EndGrant(name string) error {
	if !p.revoke(name) {
		return fmt.Errorf("probe user %q with a right %w", name, builtin.ErrUnknown)
	}
	p.denier.GrantEnded()
	p.log.Log(context.Background(), p.level(), "probe user has no right any more", "user", name)
	return nil
}

func (p *Probes) revoke(name string) (had bool) {
	p.mu.Lock()
	delete(p.topics, name)
	p.mu.Unlock()
	return p.authz.Revoke(name)
}

// attend ends those whose time has come, until ctx is done.
func (p *Probes) attend(ctx context.Context) {
	for {
		names, next := p.store.ExpireTemporary()
		for _, name := range names {
			p.revoke(name)
			p.ended(name)
			p.log.Info("probe user expired", "user", name)
		}
		if end := p.expireDenials(ctx); !end.IsZero() && (next.IsZero() || end.Before(next)) {
			next = end
		}
		var due <-chan time.Time
		var timer *time.Timer
		if !next.IsZero() {
			timer = time.NewTimer(next.Sub(p.clock.Now()))
			due = timer.C
		}
		select {
		case <-ctx.Done():
		case <-p.changed:
		case <-due:
		}
		if timer != nil {
			timer.Stop()
		}
		if ctx.Err() != nil {
			return
		}
	}
}

func randomName() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the program instead
	return hex.EncodeToString(b[:])
}

type (
	addProbe struct {
		Body struct {
			Grant  bool   `json:"grant,omitempty" doc:"Whether the user gets the right to one random topic."`
			Beside string `json:"beside,omitempty" maxLength:"256" doc:"A probe user who has such a right: the user gets the same; left out: none."`
		}
	}
	deleteProbe struct {
		UserID string `path:"user_id" minLength:"1" maxLength:"256" doc:"User name."`
	}
	probeAnswer struct{ Body ProbeUser }
)

func registerProbes(api huma.API, p *Probes) {
	const tag, path = "Probes", prefix + "/probe"
	register(api, endpoint{
		method: http.MethodPost, path: path, id: "addProbeUser", role: administrator, scope: scopeUsers, tag: tag,
		summary: "Make an ordinary user for a probe, which ends by itself after a minute", status: http.StatusCreated,
		errors: []int{http.StatusConflict, http.StatusNotFound},
	}, func(_ context.Context, in *addProbe) (*probeAnswer, error) {
		make := func() (ProbeUser, error) { return p.Add(in.Body.Grant) }
		if in.Body.Beside != "" {
			make = func() (ProbeUser, error) { return p.AddBeside(in.Body.Beside) }
		}
		u, err := make()
		if errors.Is(err, builtin.ErrTooMany) {
			return nil, newProblem(http.StatusConflict, err.Error())
		}
		if err != nil {
			return nil, refusal(err)
		}
		return &probeAnswer{u}, nil
	})
	registerDenials(api, p, tag, path)
	register(api, endpoint{
		method: http.MethodDelete, path: path + "/{user_id}/grant", id: "endProbeGrant", role: administrator, scope: scopeUsers, tag: tag,
		summary: "Take away the right of a probe user, and leave what it has open to the rules", status: http.StatusNoContent, errors: []int{http.StatusNotFound},
	}, func(_ context.Context, in *deleteProbe) (*empty, error) {
		return nil, refusal(p.EndGrant(in.UserID))
	})
	register(api, endpoint{
		method: http.MethodDelete, path: path + "/{user_id}", id: "deleteProbeUser", role: administrator, scope: scopeUsers, tag: tag,
		summary: "End a probe user and close what it has open", status: http.StatusNoContent, errors: []int{http.StatusNotFound},
	}, func(_ context.Context, in *deleteProbe) (*empty, error) {
		return nil, refusal(p.End(in.UserID))
	})
}

// AddProbe is POST /probe.
func (c *Client) AddProbe(ctx context.Context, grant bool) (ProbeUser, error) {
	return call[ProbeUser](ctx, c, http.MethodPost, "/probe", map[string]bool{"grant": grant})
}

// AddProbeBeside is POST /probe for the right of another probe user.
func (c *Client) AddProbeBeside(ctx context.Context, name string) (ProbeUser, error) {
	return call[ProbeUser](ctx, c, http.MethodPost, "/probe", map[string]string{"beside": name})
}

// EndProbeGrant is DELETE /probe/{user_id}/grant.
func (c *Client) EndProbeGrant(ctx context.Context, name string) error {
	_, err := call[struct{}](ctx, c, http.MethodDelete, "/probe/"+segment(name)+"/grant", nil)
	return err
}

// EndProbe is DELETE /probe/{user_id}.
func (c *Client) EndProbe(ctx context.Context, name string) error {
	_, err := call[struct{}](ctx, c, http.MethodDelete, "/probe/"+segment(name), nil)
	return err
}
