package conn

import "context"

// Turned waits until every loop has taken something from its inbox that was put there
// after the call, and had to end the turn before for it: proof that all of them turn. A
// loop that stands still is waited for until ctx is done, whose error is the answer; after
// Shutdown there are none to wait for.
func (s *Server) Turned(ctx context.Context) error {
	answers := make(chan struct{}, len(s.loops)) // room for one that answers when nobody waits any more
	for _, l := range s.loops {
		l.inbox.post(event{kind: evCall, fn: func(*Loop) { answers <- struct{}{} }})
	}
	for range s.loops {
		select {
		case <-answers:
		case <-s.ended:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
