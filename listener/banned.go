package listener

import (
	"net/netip"
	"time"
)

// Banned refuses a connection whose address is banned, before it costs a handshake.
const Banned Refusal = "banned"

// Bar has Admit ask banned of every address first. It is called before anybody is let in;
// banned is called from many goroutines and must not block.
func (d *Door) Bar(banned func(now time.Time, a netip.Addr) bool) { d.banned = banned }
