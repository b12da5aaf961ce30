package bench

// ids are the packet identifiers of one publisher: those that are free, and what
// was sent with the others. Their number is the publisher's window.
type ids struct {
	free []uint16
	sent []flight // by identifier, from 1
}

// flight is a message that is not acknowledged.
type flight struct {
	seq   uint32
	state flightState
	at    int64 // when it was to be sent, in the run's time
}

type flightState byte

const (
	notSent  flightState = iota
	unacked              // PUBACK or PUBREC is due
	released             // PUBCOMP is due
)

func newIDs(window int) ids {
	t := ids{free: make([]uint16, window), sent: make([]flight, window+1)}
	for i := range t.free {
		t.free[i] = uint16(window - i)
	}
	return t
}

// take is an identifier for seq; the caller has seen that one is free.
func (t *ids) take(seq uint32, at int64) uint16 {
	id := t.free[len(t.free)-1]
	t.free = t.free[:len(t.free)-1]
	t.sent[id] = flight{seq: seq, state: unacked, at: at}
	return id
}

// find is what was sent with id, nil if nothing was.
func (t *ids) find(id uint16) *flight {
	if int(id) >= len(t.sent) || t.sent[id].state == notSent {
		return nil
	}
	return &t.sent[id]
}

// done frees id.
func (t *ids) done(id uint16) {
	t.sent[id].state = notSent
	t.free = append(t.free, id)
}

// under is how many are under way.
func (t *ids) under() int { return len(t.sent) - 1 - len(t.free) }
