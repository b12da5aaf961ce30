package broker

import "time"

// SysTopic is one line of what the broker says of itself under $SYS/broker/.
type SysTopic struct {
	Name  string // whole topic name
	Value string
}

// publishSys publishes the broker's figures, retained, so that whoever the rules
// let subscribe sees the last ones at once. One home does it for all.
func (h *Home) publishSys(now time.Time) {
	every := h.b.Settings().SysInterval
	if h.id != 0 || every == 0 || h.b.sys == nil || now.Before(h.work.sysAt) {
		return
	}
	h.work.sysAt = now.Add(every)
	for _, t := range h.b.sys(now) {
		h.announce(now, t.Name, []byte(t.Value), true)
	}
}

// nextSys is when publishSys next has something to do; zero: never.
func (h *Home) nextSys() time.Time {
	if h.id != 0 || h.b.sys == nil || h.b.Settings().SysInterval == 0 {
		return time.Time{}
	}
	return h.work.sysAt
}
