package admin

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/rules"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/mqtt"
)

// Whys answers for the client of a session, connected or not; *conn.Server is one.
type Whys interface {
	Why(ctx context.Context, loop int, ref broker.Ref, q broker.Question) (a broker.Answer, there bool, err error)
}

// WhyQuery asks what the broker would say to a client if it did something now.
type WhyQuery struct {
	ClientID   string `json:"clientid" minLength:"1" maxLength:"65535" doc:"Client identifier of a session."`
	Identity   string `json:"identity,omitempty" maxLength:"65535" doc:"Whose session, where several identities have one of that client identifier."`
	Mountpoint string `json:"mountpoint,omitempty" maxLength:"65535" doc:"Likewise, its mountpoint."`
	Action     string `json:"action" enum:"publish,subscribe" doc:"What it would do."`
	Topic      string `json:"topic" minLength:"1" maxLength:"65535" doc:"Topic name as the client writes it; for subscribe a topic filter."`
	QoS        int    `json:"qos,omitempty" minimum:"0" maximum:"2" doc:"Quality of service."`
	Retain     bool   `json:"retain,omitempty" doc:"Retain flag, for publish."`
}

// WhyAnswer is that, and what decided.
type WhyAnswer struct {
	Result   string        `json:"result" enum:"allow,deny" doc:"What the client would be told."`
	Partly   bool          `json:"partly" doc:"The subscription is allowed, and a deny rule inside it is enforced at each delivery."`
	Client   WhyClient     `json:"client"`
	Judged   string        `json:"judged,omitempty" doc:"The topic that the rules are asked about: rewritten and mounted."`
	Limit    string        `json:"limit,omitempty" doc:"What refuses before the rules are asked."`
	Reason   int           `json:"reason_code" doc:"Reason code of MQTT 5.0 that the client would get; 0: success."`
	Rule     *RuleInfo     `json:"rule,omitempty" doc:"The rule that decided; absent if none was asked."`
	Note     string        `json:"note,omitempty" doc:"What the rule alone does not tell."`
	Refusals []RefusalInfo `json:"refusals" doc:"What this client was refused lately, the last first."`
}

// Allow tells whether the answer is allow.
func (a *WhyAnswer) Allow() bool { return a.Result == "allow" }

// WhyClient is for whom it was judged.
type WhyClient struct {
	ClientID  string `json:"clientid"`
	Username  string `json:"username" doc:"The proven user name."`
	Identity  string `json:"identity" doc:"The identity that was proven."`
	IPAddress string `json:"ip_address" doc:"Address, as of its last connection."`
	Listener  string `json:"listener"`
	Method    string `json:"authenticator" doc:"The authenticator that let it in."`
	Connected bool   `json:"connected"`
}

// RefusalInfo is something that was refused, and why.
type RefusalInfo struct {
	Ref       string    `json:"ref" doc:"The reference that a version 5 client is told, and the line of the log has."`
	Event     string    `json:"event" doc:"Such as: publish denied, subscribe denied, delivery denied, CONNECT refused."`
	First     time.Time `json:"first_at"`
	Last      time.Time `json:"last_at"`
	Times     int       `json:"times" doc:"How often, from the first to the last time."`
	Username  string    `json:"username" doc:"As proven; of a refused CONNECT, as claimed."`
	Identity  string    `json:"identity,omitempty" doc:"As proven; absent where nothing was."`
	ClientID  string    `json:"clientid"`
	IPAddress string    `json:"ip_address"`
	Listener  string    `json:"listener"`
	Topic     string    `json:"topic,omitempty"`
	QoS       int       `json:"qos"`
	Retain    bool      `json:"retain"`
	Reason    int       `json:"reason_code" doc:"Of MQTT 5.0."`
	By        string    `json:"authenticator,omitempty" doc:"The authenticator, or source of rules, that refused a CONNECT; absent where it was none, as at the end of a chain."`
	Rule      string    `json:"rule,omitempty" doc:"The rule on one line."`
	Place     string    `json:"rule_place,omitempty" doc:"Where the rule is: file and line, or the source in authz.order, or default for the last rule of every policy; and its name or number."`
	File      string    `json:"file,omitempty"`
	Line      int       `json:"line,omitempty"`
	Why       string    `json:"why" doc:"In words, for the operator."`
}

// RefusalList is what was refused lately.
type RefusalList struct {
	Data []RefusalInfo `json:"data" doc:"The last first. Kept in memory: eight of each of the last 1,024 clients who have proved who they are, also where that was refused at CONNECT, and eight of each of the last 1,024 networks (/24, /56) of strangers."`
}

// RefusalQuery selects refusals; an empty field means any.
type RefusalQuery struct {
	Ref       string `query:"ref" maxLength:"16" doc:"The reference that the client was told."`
	Username  string `query:"username" maxLength:"65535" doc:"The user name, proven or claimed."`
	ClientID  string `query:"clientid" maxLength:"65535" doc:"Client identifier."`
	IPAddress string `query:"ip_address" maxLength:"64" doc:"Address of the client."`
	Limit     int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"Entries at most."`
}

type (
	askWhy         struct{ Body WhyQuery }
	whyAnswered    struct{ Body WhyAnswer }
	refusalsAnswer struct{ Body RefusalList }
)

// registerWhy adds the operations that explain.
func registerWhy(api huma.API, o *Options) {
	const tag, path = "Authorization", prefix + "/authorization"
	clients := &clientRoom{Clients: o.Clients}
	register(api, endpoint{
		method: http.MethodGet, path: path + "/refusals", id: "listRefusals", role: viewer, scope: scopeAuthorization, tag: tag,
		summary: "What was refused lately, to whom and why", errors: []int{http.StatusUnprocessableEntity},
	}, func(_ context.Context, in *RefusalQuery) (*refusalsAnswer, error) {
		w, err := in.wanted()
		if err != nil {
			return nil, err
		}
		return &refusalsAnswer{RefusalList{Data: refusalInfos(o.Refusals.List(w, in.Limit))}}, nil
	})
	register(api, endpoint{
		method: http.MethodPost, path: path + "/why", id: "whyAccess", role: viewer, scope: scopeAuthorization, tag: tag,
		summary: "What the broker would say to the client of a session, and what decides", errors: []int{http.StatusNotFound, http.StatusConflict},
	}, func(ctx context.Context, in *askWhy) (*whyAnswered, error) { return clients.why(ctx, o, &in.Body) })
}

func (q *RefusalQuery) wanted() (w audit.Wanted, err error) {
	w = audit.Wanted{Username: q.Username, ClientID: q.ClientID}
	if q.Ref != "" {
		if w.Ref, err = audit.ParseRef(q.Ref); err != nil {
			return w, newProblem(http.StatusUnprocessableEntity, err.Error())
		}
	}
	if q.IPAddress != "" {
		if w.Address, err = netip.ParseAddr(q.IPAddress); err != nil {
			return w, newProblem(http.StatusUnprocessableEntity, "ip_address is not an address such as 192.0.2.1 or 2001:db8::1")
		}
	}
	return w, nil
}

// why finds the one session and asks its home.
func (r *clientRoom) why(ctx context.Context, o *Options, q *WhyQuery) (*whyAnswered, error) {
	c, err := r.find(ctx, &oneClient{ClientID: q.ClientID, Whose: Whose{
		Identity: q.Identity, HasIdentity: q.Identity != "", Mountpoint: q.Mountpoint, HasMountpoint: q.Mountpoint != "",
	}})
	if err != nil {
		return nil, err
	}
	ask := broker.Question{Action: auth.Publish, Topic: q.Topic, QoS: mqtt.QoS(q.QoS), Retain: q.Retain} //nolint:gosec // 0 to 2
	if q.Action == "subscribe" {
		ask.Action, ask.Retain = auth.Subscribe, false
	}
	a, there, err := o.Whys.Why(ctx, c.Loop, c.Ref, ask)
	if err != nil {
		return nil, unavailable(err)
	}
	if !there {
		return nil, noSession()
	}
	out := &WhyAnswer{
		Result: "deny", Partly: a.Decision.Check, Judged: a.Judged, Limit: a.Limit, Reason: int(a.Refused),
		Client:   whyClient(&a.By, c.Online),
		Refusals: refusalInfos(o.Refusals.List(audit.Wanted{ClientID: a.By.ClientID, Username: a.By.Identity}, 8)),
	}
	if a.Decision.Rule != nil {
		info := ruleInfo(a.Decision.Rule)
		out.Rule = &info
		out.Note = rules.Explain(o.Policy.Policy(), rules.Query{By: a.By, Verb: rules.Verb(q.Action), Topic: a.Judged, QoS: ask.QoS, Retain: ask.Retain}).Note
	}
	switch {
	case a.Allowed():
		out.Result = "allow"
	case a.Refused == mqtt.Success:
		out.Reason = int(mqtt.NotAuthorized)
	}
	return &whyAnswered{*out}, nil
}

func whyClient(by *auth.Principal, online bool) WhyClient {
	return WhyClient{
		ClientID: by.ClientID, Username: by.Username, Identity: by.Identity, IPAddress: addrText(by.Addr),
		Listener: by.Listener, Method: by.Method, Connected: online,
	}
}

// addrText is empty where there is no address: on a unix socket.
func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func refusalInfos(list []audit.Refusal) []RefusalInfo {
	out := make([]RefusalInfo, 0, len(list))
	for i := range list {
		r := &list[i]
		out = append(out, RefusalInfo{
			Ref: r.Ref.String(), Event: r.Event, First: r.First.UTC(), Last: r.Last.UTC(), Times: r.Times, Username: r.Username, Identity: r.Identity,
			ClientID: r.ClientID, IPAddress: addrText(r.Address), Listener: r.Listener, Topic: r.Topic, QoS: int(r.QoS), Retain: r.Retain,
			Reason: int(r.Reason), By: r.By, Rule: r.Rule, Place: placeOf(r.Where, r.RuleID), File: r.File, Line: r.Line, Why: r.Why,
		})
	}
	return out
}
