package conn

import (
	"context"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/broker"
)

// sessionAt names a session of the server.
type sessionAt struct {
	loop int
	ref  broker.Ref
}

// Online calls fn for each who is connected, with a copy. The loops are asked for a step at
// a time and do their own work between two (A179). It ends early with ctx, or when the
// server has ended.
func (s *Server) Online(ctx context.Context, fn func(id any, by *auth.Principal)) {
	type one struct {
		ref broker.Ref
		by  auth.Principal
	}
	for _, l := range s.loops {
		for at, done := (broker.Place{}), false; !done; {
			from := at // by value: see page
			p, err := ask(ctx, s, l, func(l *Loop) (p portion[one]) {
				p.at = from
				p.done = l.home.WalkOnline(&p.at, broker.StepEffort, func(ref broker.Ref, by *auth.Principal) {
					p.rows = append(p.rows, one{ref, *by})
				})
				return p
			})
			if err != nil {
				return
			}
			for i := range p.rows {
				fn(sessionAt{l.id, p.rows[i].ref}, &p.rows[i].by)
			}
			at, done = p.at, p.done
		}
	}
}

// Give is broker.Home.GiveClaims for whom Online has named, on its loop. It does not wait.
func (s *Server) Give(id any, old, next *auth.Claims) {
	at := id.(sessionAt)
	s.loops[at.loop].inbox.post(event{kind: evCall, fn: func(l *Loop) { l.home.GiveClaims(l.now, at.ref, old, next) }})
}
