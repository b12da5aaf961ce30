package admin

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// Logins tries whether a client would be let in.
type Logins interface {
	// TryLogin asks the chain of the request's listener and calls done exactly once, perhaps
	// before it returns. certificates are PEM, empty: none is shown. A LoginTrial without
	// steps has not come as far as the chain. An error says what is wrong with the question.
	TryLogin(req *auth.Request, certificates string, done func(LoginTrial)) error
}

// LoginTrial is what came of it.
type LoginTrial struct {
	Result auth.Result
	Steps  []auth.Step
	// Door is what refuses before the chain or after it: a certificate, a ban; empty: nothing.
	Door string
}

// LoginQuery says as whom to try a login.
type LoginQuery struct {
	Listener    string    `json:"listener" minLength:"1" maxLength:"256" doc:"Name of the listener whose chain is asked."`
	Username    *string   `json:"username,omitempty" maxLength:"65535" doc:"User name; left out: none is sent."`
	Password    *password `json:"password,omitempty" doc:"Password; left out: none is sent. It is kept nowhere."`
	ClientID    string    `json:"clientid,omitempty" maxLength:"65535" doc:"Client identifier."`
	IPAddress   string    `json:"ip_address,omitempty" maxLength:"64" doc:"Address the client would come from; left out: 127.0.0.1."`
	Port        int       `json:"port,omitempty" minimum:"0" maximum:"65535" doc:"Port there."`
	Version     int       `json:"proto_ver,omitempty" enum:"3,4,5" doc:"Protocol level; left out: 5."`
	Certificate string    `json:"certificate,omitempty" maxLength:"65536" doc:"Certificate of the client, PEM, with those between it and its CA. It is judged as the listener judges it, but for the proof of its key."`
}

// LoginReport is what would have become of it.
type LoginReport struct {
	Result     string            `json:"result" enum:"allow,deny,unavailable" doc:"unavailable: refused, because somebody who must be asked cannot tell."`
	Reason     int               `json:"reason_code" doc:"Reason code of MQTT 5.0 of the CONNACK; 0: success."`
	Detail     string            `json:"detail,omitempty" doc:"Why, for the operator; a client is told less."`
	Method     string            `json:"authenticator,omitempty" doc:"Who has let it in."`
	Identity   string            `json:"identity,omitempty" doc:"The identity that was proven."`
	Username   string            `json:"username,omitempty" doc:"The user name that was proven."`
	Superuser  bool              `json:"superuser" doc:"It may do everything but what starts with $."`
	Attributes map[string]string `json:"client_attrs,omitempty" doc:"Client attributes."`
	Until      *time.Time        `json:"expires_at,omitempty" doc:"When the credential ends; absent: it does not."`
	Micros     int64             `json:"microseconds" doc:"How long it took."`
	Steps      []LoginStep       `json:"steps" doc:"What each authenticator of the chain has said, in their order, and then each source of rules in a back end."`
}

// LoginStep is one of the chain.
type LoginStep struct {
	Name   string `json:"name" doc:"Name of the authenticator, or of the source of rules; listener, ban: what refuses besides."`
	State  string `json:"state" enum:"not_asked,skipped,ignored,allowed,denied,unavailable,rules" doc:"skipped: its condition does not hold; ignored: it is not about this client; rules: it has answered with rules."`
	Reason int    `json:"reason_code,omitempty" doc:"Reason code of MQTT 5.0, where it refuses."`
	Detail string `json:"detail,omitempty" doc:"Why, for the operator."`
	Rules  int    `json:"rules,omitempty" doc:"How many rules a source has for the client."`
	Cached bool   `json:"cached" doc:"Something remembered has spared a question or a hash."`
	Micros int64  `json:"microseconds" doc:"How long it took, waiting included."`
}

const (
	// loginsMax bounds the trials under way at once, over all administrators: each waits in
	// the same queues as clients who connect.
	loginsMax = 4
	// loginWithin is how long the answer is waited for.
	loginWithin = 30 * time.Second
)

// logins are the trials under way, by administrator: each has one at a time.
type logins struct {
	mu   sync.Mutex // guards busy
	busy map[int]bool
}

// begin takes the place of an administrator, by user id; ok is false if it is taken, or all are.
func (l *logins) begin(uid int) (end func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy[uid] || len(l.busy) >= loginsMax {
		return nil, false
	}
	l.busy[uid] = true
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.busy, uid)
	}, true
}

type (
	tryLogin    struct{ Body LoginQuery }
	loginAnswer struct{ Body LoginReport }
)

func registerLogins(api huma.API, o *Options) {
	l := &logins{busy: map[int]bool{}}
	register(api, endpoint{
		method: http.MethodPost, path: prefix + "/authentication/test", id: "testAuthentication", role: administrator, scope: scopeUsers, tag: "Authentication",
		summary: "Try whether a client would be let in, and what each authenticator says; nobody is", errors: []int{http.StatusTooManyRequests},
	}, func(ctx context.Context, in *tryLogin) (*loginAnswer, error) { return l.try(ctx, o, &in.Body) })
}

// request is what a CONNECT would present.
func (q *LoginQuery) request() (*auth.Request, error) {
	req := &auth.Request{ClientID: q.ClientID, Listener: q.Listener, Port: uint16(q.Port), Version: 5} //nolint:gosec // checked by the schema
	if q.Version != 0 {
		req.Version = byte(q.Version)
	}
	if q.Username != nil {
		req.HasUsername, req.Username = true, *q.Username
	}
	if q.Password != nil {
		req.HasPassword, req.Password = true, q.Password.Value
	}
	req.Addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if q.IPAddress != "" {
		a, err := netip.ParseAddr(q.IPAddress)
		if err != nil {
			return nil, newProblem(http.StatusUnprocessableEntity, "ip_address is not an address such as 192.0.2.1 or 2001:db8::1")
		}
		req.Addr = a.Unmap()
	}
	return req, nil
}

// try waits for the answer. The place is free again when there is one, and not before: who
// hangs up does not get a second place at a back end that is slow.
func (l *logins) try(ctx context.Context, o *Options, q *LoginQuery) (*loginAnswer, error) {
	req, err := q.request()
	if err != nil {
		return nil, err
	}
	end, ok := l.begin(peerUID(ctx))
	if !ok {
		return nil, newProblem(http.StatusTooManyRequests, "a login is being tried already; each administrator has one at a time")
	}
	defer func() {
		if p := recover(); p != nil { // a bug of ours must not keep the place
			end()
			panic(p)
		}
	}()
	began := o.Clock.Now()
	answers := make(chan LoginTrial, 1)
	err = o.Logins.TryLogin(req, q.Certificate, func(t LoginTrial) {
		end()
		answers <- t
	})
	if err != nil {
		end()
		return nil, newProblem(http.StatusUnprocessableEntity, err.Error())
	}
	ctx, cancel := context.WithTimeout(ctx, loginWithin)
	defer cancel()
	select {
	case <-ctx.Done():
		o.Log.LogAttrs(ctx, loudly(o), "login tried by an operator", append(actor(ctx), q.attrs(req.Addr, "no answer")...)...)
		return nil, newProblem(http.StatusServiceUnavailable, "there is no answer yet; a client would be waiting, too")
	case t := <-answers:
		out := loginReport(&t, o.Clock.Now().Sub(began))
		o.Log.LogAttrs(ctx, loudly(o), "login tried by an operator", append(actor(ctx), q.attrs(req.Addr, out.Result)...)...)
		return &loginAnswer{out}, nil
	}
}

// attrs are what the log has of a trial: never the password.
func (q *LoginQuery) attrs(from netip.Addr, result string) []slog.Attr {
	user := ""
	if q.Username != nil {
		user = clipped(auth.ShownName(*q.Username))
	}
	return []slog.Attr{slog.String("listener", q.Listener), slog.String("user", user), slog.String("client_id", clipped(q.ClientID)), slog.String("address", addrText(from)), slog.String("result", result)}
}

func loginReport(t *LoginTrial, took time.Duration) LoginReport {
	out := LoginReport{Result: "deny", Reason: int(t.Result.Reason), Detail: t.Result.Detail, Micros: took.Microseconds(), Steps: []LoginStep{}}
	switch t.Result.Outcome {
	case auth.Allow:
		out.Result = "allow"
		by := &t.Result.Principal
		out.Method, out.Identity, out.Username = by.Method, by.Identity, by.Username
		if c := by.Claims; c != nil {
			out.Superuser, out.Attributes = c.Superuser, c.Attrs
			if !c.Until.IsZero() {
				out.Until = &c.Until
			}
		}
	case auth.Unavailable:
		out.Result = "unavailable"
	}
	for i := range t.Steps {
		s := &t.Steps[i]
		step := LoginStep{Name: s.Name, State: s.State.String(), Detail: s.Detail, Rules: s.Rules, Cached: s.Cached, Micros: s.Took.Microseconds()}
		if s.State == auth.Denied || s.State == auth.NotAvailable {
			step.Reason = int(s.Result.Reason)
		}
		out.Steps = append(out.Steps, step)
	}
	if t.Door != "" {
		out.Steps = append(out.Steps, LoginStep{Name: "listener", State: "denied", Detail: t.Door, Reason: int(t.Result.Reason)})
	}
	return out
}

// TestLogin is POST /authentication/test. The password is revealed into the body and nowhere else.
func (c *Client) TestLogin(ctx context.Context, q *LoginQuery, with *secret.Value) (LoginReport, error) {
	body := struct {
		LoginQuery
		Password *string `json:"password,omitempty"`
	}{LoginQuery: *q}
	if with != nil {
		text := string(with.Reveal())
		body.Password = &text
	}
	return call[LoginReport](ctx, c, http.MethodPost, "/authentication/test", body)
}
