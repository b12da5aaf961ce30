package session

// Pressure is what may not wait for clients because the node is short of memory. It
// holds for all sessions that share an Account.
type Pressure int32

// The pressures; each includes those before it.
const (
	NoPressure Pressure = iota
	// NoQoS0: a QoS 0 message is sent now, or dropped.
	NoQoS0
	// NoQueues: nor does a queue that is in memory only grow beyond QueueLeast.
	NoQueues
)

// QueueLeast is how much may wait for each session whatever the pressure, in bytes: a
// client that takes what it gets has less waiting for a round trip, and only who lags
// has more.
const QueueLeast = 16 << 10

// Press puts a pressure in force.
func (a *Account) Press(p Pressure) { a.pressure.Store(int32(p)) }

func (a *Account) pressed() Pressure {
	if a == nil {
		return NoPressure
	}
	return Pressure(a.pressure.Load())
}

// unaffordable tells whether a message is not to be queued. What is of the log always is:
// it was promised, and its queue is short. So is what a group has counted on.
func (s *Session) unaffordable(d *Delivery) bool {
	switch p := s.lim.Account.pressed(); {
	case p == NoPressure:
		return false
	case d.QoS == 0:
		return true
	case p < NoQueues || d.Seq != 0 || s.out.kept != nil || d.Group != (Group{}):
		return false
	}
	return s.out.queue.bytes+int64(d.Frame.Size()) > QueueLeast
}

// DropQoS0 gives up what waits at QoS 0.
func (s *Session) DropQoS0() (dropped int) {
	for q := &s.out.queue; q.q0.len() > 0; dropped++ {
		s.take(&q.q0).Frame.Release()
	}
	if dropped > 0 {
		s.drops().Overload += uint64(dropped)
	}
	return dropped
}

// Congested tells whether the socket takes no more for now.
func (s *Session) Congested() bool { return s.conn.online && s.conn.congested }
