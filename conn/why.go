package conn

import (
	"context"

	"github.com/redoubtmq/redoubt/broker"
)

// Why is broker.Home.Why, on that session's home.
func (s *Server) Why(ctx context.Context, loop int, ref broker.Ref, q broker.Question) (a broker.Answer, there bool, err error) {
	if loop < 0 || loop >= len(s.loops) {
		return a, false, nil
	}
	type answer struct {
		broker.Answer
		there bool
	}
	out, err := ask(ctx, s, s.loops[loop], func(l *Loop) (out answer) {
		out.Answer, out.there = l.home.Why(l.now, ref, &q)
		return out
	})
	return out.Answer, out.there, err
}
