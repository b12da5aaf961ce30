package listener

import (
	"math"
	"sync/atomic"
)

// pressed is what the door is told of the rest of the node.
type pressed struct {
	bits   atomic.Uint64 // of a float64, 0 to 1
	closed atomic.Bool
}

// Press tells the door how hard pressed the node is, 0 to 1, and whether nobody is to be
// let in at all. From a half on patience falls, and at 1 strangers have an eighth of
// their room: who comes then takes the place of one who has kept us waiting.
func (d *Door) Press(pressure float64, closed bool) {
	d.bits.Store(math.Float64bits(min(1, max(0, pressure))))
	d.closed.Store(closed)
}

func (p *pressed) ofNode() float64 { return math.Float64frombits(p.bits.Load()) }

func (p *pressed) shut() bool { return p.closed.Load() }

// crowdPart is what part of limits.unauthenticated_total strangers have while the node
// is overloaded: not none, because whoever has a session may come back to it.
const crowdPart = 8

func (d *Door) crowded() bool {
	return d.ofNode() >= 1 && d.strangers.InUse() >= max(1, d.strangers.Max()/crowdPart)
}
