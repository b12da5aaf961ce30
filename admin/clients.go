package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/conn"
	"github.com/redoubtmq/redoubt/topic"
)

// Clients are the sessions of a broker and their connections; *conn.Server is one.
// Its lists come in pages, and each page is made in steps that no loop notices.
type Clients interface {
	Clients(ctx context.Context, at *conn.Place, want *broker.Selection, limit int) (rows []conn.ClientInfo, done bool, err error)
	Subscriptions(ctx context.Context, at *conn.Place, want *broker.SubscriptionSelection, limit int) (rows []broker.SubscriptionInfo, done bool, err error)
	EndSession(ctx context.Context, loop int, ref broker.Ref) (ended bool, err error)
}

// SessionQuery selects sessions; an empty field means any.
type SessionQuery struct {
	ClientID  string `query:"clientid" doc:"Exactly this client identifier."`
	Like      string `query:"like_clientid" doc:"The client identifier holds this text."`
	Match     string `query:"match_clientid" doc:"The whole client identifier fits; * stands for any characters."`
	Username  string `query:"username" doc:"The proven user name."`
	Listener  string `query:"listener" doc:"Name of the listener."`
	IPAddress string `query:"ip_address" doc:"Address of the client, or a network such as 192.0.2.0/24."`
	Whose
}

// Whose says to whom a session belongs, beside its client identifier: to exactly
// this identity, with exactly this mountpoint. A parameter that is left out means
// any, and one that is empty does not.
type Whose struct {
	Identity   string `query:"identity" doc:"The identity that was proven; left out: any."`
	Mountpoint string `query:"mountpoint" doc:"The mountpoint of its topics; left out: any."`

	HasIdentity, HasMountpoint bool
}

// Resolve implements huma.Resolver.
func (w *Whose) Resolve(ctx huma.Context) []error {
	u := ctx.URL()
	q := u.Query()
	w.HasIdentity, w.HasMountpoint = q.Has("identity"), q.Has("mountpoint")
	return nil
}

func (w *Whose) apply(s *broker.Selection) {
	if w.HasIdentity {
		s.Identity = &w.Identity
	}
	if w.HasMountpoint {
		s.Mountpoint = &w.Mountpoint
	}
}

// SubscriptionQuery selects subscriptions; an empty field means any.
type SubscriptionQuery struct {
	SessionQuery
	Topic      string `query:"topic" doc:"Exactly this topic filter."`
	MatchTopic string `query:"match_topic" doc:"A topic name that the filter matches: who gets what is published there?"`
	State      string `query:"conn_state" enum:"connected,disconnected,any" default:"any" doc:"Of whom."`
}

// ClientPage is a page of sessions.
type ClientPage struct {
	Data []ClientInfo `json:"data" doc:"In no order. What is there from the first page to the last comes exactly once."`
	Meta PageMeta     `json:"meta"`
}

// SubscriptionPage is a page of subscriptions.
type SubscriptionPage struct {
	Data []SubscriptionInfo `json:"data" doc:"In no order. What is there from the first page to the last is never missing."`
	Meta PageMeta           `json:"meta"`
}

type (
	listClients struct {
		PageQuery
		SessionQuery
		State string `query:"conn_state" enum:"connected,disconnected,any" default:"connected" doc:"Which clients."`
	}
	listSessions struct {
		PageQuery
		SessionQuery
		State string `query:"conn_state" enum:"connected,disconnected,any" default:"any" doc:"Sessions of which clients."`
	}
	listSubscriptions struct {
		PageQuery
		SubscriptionQuery
	}
	oneClient struct {
		ClientID string `path:"clientid" doc:"Client identifier."`
		Whose
	}
	clientPageAnswer       struct{ Body ClientPage }
	subscriptionPageAnswer struct{ Body SubscriptionPage }
	clientAnswer           struct{ Body ClientInfo }
)

// clientRoom is the operations on clients and what they need.
type clientRoom struct {
	Clients
	cursors *cursors
	log     *slog.Logger
}

func registerClients(api huma.API, o *Options, cur *cursors) {
	r := &clientRoom{o.Clients, cur, o.Log}
	const tag, clients, sessions = "Clients", prefix + "/clients", prefix + "/sessions"
	bad := []int{http.StatusBadRequest}
	one := []int{http.StatusNotFound, http.StatusConflict}
	register(api, endpoint{
		method: http.MethodGet, path: clients, id: "listClients", role: viewer, scope: scopeClients, tag: tag, errors: bad,
		summary: "Connected clients, or those that are asked for",
	}, func(ctx context.Context, in *listClients) (*clientPageAnswer, error) {
		return r.list(ctx, &in.PageQuery, &in.SessionQuery, in.State)
	})
	register(api, endpoint{
		method: http.MethodGet, path: sessions, id: "listSessions", role: viewer, scope: scopeClients, tag: tag, errors: bad,
		summary: "Sessions, of connected clients and of others",
	}, func(ctx context.Context, in *listSessions) (*clientPageAnswer, error) {
		return r.list(ctx, &in.PageQuery, &in.SessionQuery, in.State)
	})
	register(api, endpoint{
		method: http.MethodGet, path: prefix + "/subscriptions", id: "listSubscriptions", role: viewer, scope: scopeClients, tag: tag, errors: bad,
		summary: "Subscriptions",
	}, r.listSubscriptions)
	for _, p := range []struct{ path, get, end, what string }{
		{clients, "getClient", "kickClient", "client kicked"},
		{sessions, "getSession", "deleteSession", "session deleted"},
	} {
		register(api, endpoint{
			method: http.MethodGet, path: p.path + "/{clientid...}", id: p.get, role: viewer, scope: scopeClients, tag: tag, errors: one,
			summary: "One client and its session, connected or not",
		}, r.show)
		register(api, endpoint{
			method: http.MethodDelete, path: p.path + "/{clientid...}", id: p.end, role: administrator, scope: scopeClients, tag: tag,
			summary: "Disconnect the client if it is connected (0x98), publish its will, end its session", status: http.StatusNoContent, errors: one,
		}, func(ctx context.Context, in *oneClient) (*empty, error) { return nil, r.end(ctx, in, p.what) })
	}
}

func (r *clientRoom) list(ctx context.Context, p *PageQuery, q *SessionQuery, state string) (*clientPageAnswer, error) {
	at, err := r.cursors.decodePlace(cursorSessions, p.Cursor)
	if err != nil {
		return nil, err
	}
	want, err := q.selection(state)
	if err != nil {
		return nil, err
	}
	rows, done, err := r.Clients.Clients(ctx, &at, want, p.Limit)
	if err != nil {
		return nil, unavailable(err)
	}
	out := &clientPageAnswer{ClientPage{Data: make([]ClientInfo, len(rows)), Meta: PageMeta{Limit: p.Limit, Count: len(rows), HasNext: !done}}}
	for i := range rows {
		out.Body.Data[i] = clientInfo(&rows[i])
	}
	if !done {
		out.Body.Meta.Cursor = r.cursors.encodePlace(cursorSessions, at)
	}
	return out, nil
}

func (r *clientRoom) listSubscriptions(ctx context.Context, in *listSubscriptions) (*subscriptionPageAnswer, error) {
	at, err := r.cursors.decodePlace(cursorSubscriptions, in.Cursor)
	if err != nil {
		return nil, err
	}
	of, err := in.selection(in.State)
	if err != nil {
		return nil, err
	}
	if in.MatchTopic != "" {
		if err := topic.ValidName([]byte(in.MatchTopic)); err != nil {
			return nil, newProblem(http.StatusUnprocessableEntity, "match_topic is a topic name: "+err.Error())
		}
	}
	want := &broker.SubscriptionSelection{Sessions: *of, Filter: in.Topic, Match: []byte(in.MatchTopic)}
	rows, done, err := r.Clients.Subscriptions(ctx, &at, want, in.Limit)
	if err != nil {
		return nil, unavailable(err)
	}
	out := &subscriptionPageAnswer{SubscriptionPage{Data: make([]SubscriptionInfo, len(rows)), Meta: PageMeta{Limit: in.Limit, Count: len(rows), HasNext: !done}}}
	for i := range rows {
		out.Body.Data[i] = subscriptionInfo(&rows[i])
	}
	if !done {
		out.Body.Meta.Cursor = r.cursors.encodePlace(cursorSubscriptions, at)
	}
	return out, nil
}

func (r *clientRoom) show(ctx context.Context, in *oneClient) (*clientAnswer, error) {
	c, err := r.find(ctx, in)
	if err != nil {
		return nil, err
	}
	return &clientAnswer{clientInfo(c)}, nil
}

// end writes down who ends whose session, and ends it.
func (r *clientRoom) end(ctx context.Context, in *oneClient, what string) error {
	c, err := r.find(ctx, in)
	if err != nil {
		return err
	}
	r.log.LogAttrs(ctx, slog.LevelInfo, what+" by an operator", append(actor(ctx),
		slog.String("user", c.By.Username), slog.String("identity", c.Key.Identity), slog.String("client_id", clipped(c.Key.ClientID)),
		slog.Bool("connected", c.Online), slog.String("address", c.By.Addr.String()))...)
	ended, err := r.EndSession(ctx, c.Loop, c.Ref)
	if err != nil {
		return unavailable(err)
	}
	if !ended {
		return noSession()
	}
	return nil
}

// namedMax is how many identities an answer names.
const namedMax = 8

// find looks for the one session of a client identifier. Whose it is must be clear
// before anything is shown or done.
func (r *clientRoom) find(ctx context.Context, in *oneClient) (*conn.ClientInfo, error) {
	want := &broker.Selection{ClientID: in.ClientID}
	in.apply(want)
	var found []conn.ClientInfo
	for at, done := (conn.Place{}), false; !done && len(found) <= namedMax; {
		var rows []conn.ClientInfo
		var err error
		if rows, done, err = r.Clients.Clients(ctx, &at, want, namedMax+1); err != nil {
			return nil, unavailable(err)
		}
		found = append(found, rows...)
	}
	switch len(found) {
	case 0:
		return nil, noSession()
	case 1:
		return &found[0], nil
	}
	return nil, newProblem(http.StatusConflict, severalSessions(found))
}

// severalSessions names those that a client identifier alone does not tell apart.
func severalSessions(found []conn.ClientInfo) string {
	var names []string
	for _, c := range found[:min(len(found), namedMax)] {
		name := fmt.Sprintf("%q", clipped(c.Key.Identity))
		if c.Key.Mountpoint != "" {
			name += fmt.Sprintf(" with mountpoint %q", clipped(c.Key.Mountpoint))
		}
		names = append(names, name)
	}
	slices.Sort(names)
	more := ""
	if len(found) > namedMax {
		more = " and others"
	}
	return "several sessions have this client identifier, those of " + strings.Join(names, ", ") + more + "; say whose with identity, and mountpoint if need be"
}

func noSession() error {
	return newProblem(http.StatusNotFound, "there is no session of this client identifier and identity")
}

// selection reads the query.
func (q *SessionQuery) selection(state string) (*broker.Selection, error) {
	w := &broker.Selection{ClientID: q.ClientID, Like: q.Like, Username: q.Username, Listener: q.Listener}
	q.apply(w)
	if q.Match != "" {
		w.Match = broker.NewPattern(q.Match)
	}
	switch state {
	case "connected":
		w.Presence = broker.Connected
	case "disconnected":
		w.Presence = broker.Disconnected
	}
	if q.IPAddress == "" {
		return w, nil
	}
	if a, err := netip.ParseAddr(q.IPAddress); err == nil {
		a = a.Unmap()
		w.Network = netip.PrefixFrom(a, a.BitLen())
	} else if w.Network, err = netip.ParsePrefix(q.IPAddress); err != nil {
		return nil, newProblem(http.StatusUnprocessableEntity, "ip_address is an address such as 192.0.2.1 or 2001:db8::1, or a network such as 192.0.2.0/24")
	}
	return w, nil
}

// unavailable is an answer for a broker that could not be asked.
func unavailable(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return newProblem(http.StatusServiceUnavailable, "the broker is too busy to answer in time")
	}
	return newProblem(http.StatusServiceUnavailable, err.Error())
}

// actor says who calls, for a line in the log.
func actor(ctx context.Context) []slog.Attr {
	who, known := ctx.Value(peerKey{}).(peer)
	if !known {
		who = peer{uid: -1, pid: -1}
	}
	return []slog.Attr{slog.Int("peer_uid", who.uid), slog.Int("peer_pid", who.pid), slog.String("request_id", requestID(ctx))}
}

// clipped is what of a name goes into a line or an answer.
func clipped(s string) string {
	const most = 256
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
