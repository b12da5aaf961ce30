package admin

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/redoubtmq/redoubt/auth/bans"
	"github.com/redoubtmq/redoubt/limit/top"
)

// Talkers says who does most of something lately; it must answer at once, also when loops
// are late: that is when it is asked.
type Talkers interface {
	Talkers(m top.Measure, by top.By, n int) top.List
}

// TopQuery says who is wanted.
type TopQuery struct {
	Measure string `query:"measure" enum:"messages,bytes,packets,out,out-bytes,connects,refused,logins,denied,throttled" doc:"Who has most of what; left out: a list of each. messages and bytes: published by the client. packets: of every kind, from it. out and out-bytes: messages to it. connects: connects of a client that were accepted. refused: connections that were refused before there was a whole CONNECT. logins: CONNECTs that were refused. denied: publishes and filters that the rules refused. throttled: messages and filters over a rate."`
	By      string `query:"by" enum:"client,user,network" doc:"Who is told apart: clients, by identity and client identifier; users; networks, a /24 or a /56 of IPv6. Left out: network for refused and logins, client for the others. What strangers do is counted by network only."`
	Limit   int    `query:"limit" minimum:"1" maximum:"100" default:"10" doc:"Most rows of a list."`
}

// TopReport is who does most.
type TopReport struct {
	WindowSeconds float64   `json:"window_seconds" doc:"For how long, up to now, is counted: half a minute to a minute, and less after a start."`
	Lists         []TopList `json:"lists" doc:"One, or one of each measure."`
}

// TopList is who has most of one measure.
type TopList struct {
	Measure   string   `json:"measure" enum:"messages,bytes,packets,out,out-bytes,connects,refused,logins,denied,throttled" doc:"What is counted."`
	By        string   `json:"by" enum:"client,user,network" doc:"Who is told apart."`
	Total     uint64   `json:"total" doc:"Of everybody: of what has come on the list by now, exactly; a packet does within a second, and within ten where tens of thousands do something."`
	PerSecond float64  `json:"per_second" doc:"That, each second."`
	Rows      []TopRow `json:"rows" doc:"The first has most for certain."`
}

// TopRow is one of those who have most. Very many names share a fixed number of places, so a
// figure has bounds; they are the same where there are few.
type TopRow struct {
	ClientID   string `json:"clientid,omitempty" doc:"Client identifier, of somebody who has proved who he is."`
	Username   string `json:"username,omitempty" doc:"The proven user name."`
	Identity   string `json:"identity,omitempty" doc:"The identity that was proven."`
	Mountpoint string `json:"mountpoint,omitempty" doc:"Of its topics."`
	NameCut    bool   `json:"name_cut,omitempty" doc:"A name is longer than 256 bytes, and not whole here."`
	Network    string `json:"network,omitempty" doc:"Of a list by network."`
	IPAddress  string `json:"ip_address,omitempty" doc:"The address most came from, if more than half came from one; absent on a unix socket."`
	FromIP     uint64 `json:"from_ip_address_at_least,omitempty" doc:"How much came from there within the window, at least."`
	Several    bool   `json:"several_addresses,omitempty" doc:"It came from others as well."`
	Listener   string `json:"listener" doc:"Where that address came in the last time."`
	TopFigures
	Ban *TopBan `json:"ban,omitempty" doc:"The body of POST /banned that would shut it out; absent where there is none, as for an address of this machine or of a proxy."`
}

// TopFigures are how much somebody has.
type TopFigures struct {
	AtLeast          uint64  `json:"at_least" doc:"Within the window, at least."`
	AtMost           uint64  `json:"at_most" doc:"And at most."`
	PerSecondAtLeast float64 `json:"per_second_at_least" doc:"Each second, at least."`
	PerSecond        float64 `json:"per_second" doc:"And at most."`
	ShareAtLeast     float64 `json:"share_at_least" doc:"Part of the total, from 0 to 1, at least."`
	Share            float64 `json:"share" doc:"And at most."`
}

// TopBan is whom a ban would hit.
type TopBan struct {
	As       string `json:"as" enum:"clientid,username,peerhost,peerhost_net" doc:"What is banned."`
	Who      string `json:"who" doc:"Its name."`
	Identity string `json:"identity,omitempty" doc:"Of a clientid: within this identity only."`
}

type topAnswer struct{ Body TopReport }

func registerTop(api huma.API, o *Options) {
	register(api, endpoint{
		method: http.MethodGet, path: prefix + "/top", id: "getTop", role: viewer, scope: scopeClients, tag: "Clients",
		summary: "Who sends, gets, connects and is refused most, in the last half minute to minute",
	}, func(_ context.Context, in *TopQuery) (*topAnswer, error) {
		r := &topAnswer{TopReport{Lists: []TopList{}}}
		var own []bans.Own
		if o.Bans != nil {
			own = o.Bans.OwnAddresses()
		}
		for i := range top.Measures {
			m := top.Measure(i) //nolint:gosec // ten
			if in.Measure != "" && in.Measure != m.String() {
				continue
			}
			by, known := TopBy(m, in.By)
			if known {
				l := o.Talkers.Talkers(m, by, in.Limit)
				r.Body.WindowSeconds = l.Window.Seconds()
				r.Body.Lists = append(r.Body.Lists, topList(&l, own))
			} else if in.Measure != "" {
				return nil, newProblem(http.StatusUnprocessableEntity, "by is network for measure refused: nobody has proved a name before there was a CONNECT")
			}
		}
		return r, nil
	})
}

// TopBy is how a measure is counted where name is asked for; empty: where nothing is. known
// is false if it cannot be.
func TopBy(m top.Measure, name string) (by top.By, known bool) {
	for i := range top.Bys {
		if by := top.By(i); name == by.String() { //nolint:gosec // three
			return by, by.Knows(m)
		}
	}
	if m == top.Refused || m == top.Logins {
		return top.ByNetwork, name == ""
	}
	return top.ByClient, name == ""
}

func topList(l *top.List, own []bans.Own) TopList {
	seconds, total := l.Window.Seconds(), max(1, float64(l.Total))
	out := TopList{Measure: l.Measure.String(), By: l.By.String(), Total: l.Total, PerSecond: float64(l.Total) / seconds, Rows: make([]TopRow, 0, len(l.Rows))}
	for i := range l.Rows {
		r := &l.Rows[i]
		most := min(r.AtMost, l.Total) // it cannot be more than all
		row := TopRow{
			ClientID: r.ClientID, Username: r.Username, Identity: r.Identity, Mountpoint: r.Mountpoint, NameCut: r.Cut, FromIP: r.FromAddr, Several: r.Several, Listener: r.Listener, Ban: banOf(l.By, r, own),
			TopFigures: TopFigures{AtLeast: r.AtLeast, AtMost: most, PerSecondAtLeast: float64(r.AtLeast) / seconds, PerSecond: float64(most) / seconds,
				ShareAtLeast: float64(r.AtLeast) / total, Share: float64(most) / total},
		}
		if r.Network.IsValid() {
			row.Network = r.Network.String()
		}
		if r.Addr.IsValid() {
			row.IPAddress = r.Addr.String()
		}
		out.Rows = append(out.Rows, row)
	}
	return out
}

// OneAddress tells whether what a row is about is one address's, or half of it and more.
func (r *TopRow) OneAddress() bool { return oneAddress(r.Several, r.FromIP, r.AtLeast) }

func oneAddress(several bool, from, all uint64) bool { return !several || from >= all-all/2 }

// banOf is the ban that would hit a row and as few others as there can be; nil: there is none,
// or it would hit this machine or everybody behind a proxy.
func banOf(by top.By, r *top.Row, own []bans.Own) *TopBan {
	b := bans.Ban{}
	switch {
	case r.Cut:
		return nil
	case by == top.ByClient && r.Identity != "":
		b = bans.Ban{As: bans.ClientID, Who: r.ClientID, Identity: r.Identity}
	case by == top.ByUser:
		b = bans.Ban{As: bans.Username, Who: r.Username}
	case by != top.ByNetwork || !r.Network.IsValid():
		return nil
	case oneAddress(r.Several, r.FromAddr, r.AtLeast):
		b = bans.Ban{As: bans.Peerhost, Who: r.Addr.String()}
	default:
		b = bans.Ban{As: bans.PeerhostNet, Who: r.Network.String()}
	}
	if b.Check() != nil || b.Broad() != "" || b.Reaches(own) != "" {
		return nil
	}
	return &TopBan{As: b.As.String(), Who: b.Who, Identity: b.Identity}
}

// Top is GET /top.
func (c *Client) Top(ctx context.Context, q *TopQuery) (TopReport, error) {
	v := url.Values{"limit": {strconv.Itoa(q.Limit)}}
	if q.Measure != "" {
		v.Set("measure", q.Measure)
	}
	if q.By != "" {
		v.Set("by", q.By)
	}
	return call[TopReport](ctx, c, http.MethodGet, "/top?"+v.Encode(), nil)
}
