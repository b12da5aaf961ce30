package conn

import (
	"context"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/session"
)

// Survey is who keeps memory, in bytes.
type Survey struct {
	Sessions    int64            // without their subscriptions
	Router      int64            // subscriptions, where they are found by
	Connections int64            // strangers included
	Listeners   map[string]int64 // connections, and sessions by where their clients came in last
}

// surveySome is how many connections a loop looks at before it does something else.
const surveySome = 4096

// Survey looks at every session and connection, in steps that no loop notices: what a
// step has found is one step older than the next.
func (s *Server) Survey(ctx context.Context) (*Survey, error) {
	out := &Survey{Listeners: make(map[string]int64)}
	for _, l := range s.loops {
		for at, done := (broker.Place{}), false; !done; {
			from := at // by value: see page
			p, err := ask(ctx, s, l, func(l *Loop) (p surveyed) {
				p.place, p.listeners = from, make(map[string]int64)
				p.done = l.home.Survey(&p.place, broker.StepEffort, func(listener string, h session.Held) {
					p.router += h.Subscriptions
					p.bytes += h.Sum() - h.Subscriptions
					p.listeners[listener] += h.Sum()
				})
				return p
			})
			if err != nil {
				return nil, err
			}
			out.Sessions += p.bytes
			out.Router += p.router
			out.add(p.listeners)
			at, done = p.place, p.done
		}
		for at, done := 0, false; !done; at += surveySome {
			p, err := ask(ctx, s, l, func(l *Loop) (p surveyed) {
				p.listeners = make(map[string]int64)
				for i := at; i < min(at+surveySome, len(l.conns)); i++ {
					if c := l.conns[i]; c != nil {
						n := l.held(c)
						p.bytes += n
						p.listeners[c.listener.Name] += n
					}
				}
				p.done = at+surveySome >= len(l.conns)
				return p
			})
			if err != nil {
				return nil, err
			}
			out.Connections += p.bytes
			out.add(p.listeners)
			done = p.done
		}
	}
	return out, nil
}

func (s *Survey) add(listeners map[string]int64) {
	for name, n := range listeners {
		s.Listeners[name] += n
	}
}

// surveyed is one step.
type surveyed struct {
	bytes, router int64
	listeners     map[string]int64
	place         broker.Place
	done          bool
}
