package conn

import "time"

// instant is a moment, in nanoseconds since the server began: eight bytes where a time.Time
// has twenty-four, and every connection keeps some. It goes on as the clock of the machine
// that nobody sets.
type instant int64

func (s *Server) instant(t time.Time) instant { return instant(t.Sub(s.epoch)) }

func (s *Server) time(i instant) time.Time { return s.epoch.Add(time.Duration(i)) }
