package test

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// This file says what a load came to.

// complaints are what is wrong with clients beside their messages. They are asked when
// all have ended.
func (l *load) complaints() (lines []string) {
	var without []string
	times := 0
	for _, s := range l.senders {
		if len(s.refused) > 0 {
			lines = append(lines, fmt.Sprintf("%s: %d refused, the first %s", s.id, len(s.refused), s.refused[0]))
		}
		if !s.settled {
			lines = append(lines, fmt.Sprintf("%s: %d messages are not settled", s.id, len(s.flights)))
		}
		lines = append(lines, s.complaints(len(l.outages))...)
	}
	for _, r := range l.receivers {
		if len(r.damaged) > 0 {
			lines = append(lines, fmt.Sprintf("%s: %d times what nobody sent, the first %s", r.id, len(r.damaged), r.damaged[0]))
		}
		lines = append(lines, r.complaints(len(l.outages))...)
	}
	for _, c := range l.links() {
		if times += c.lost; c.lost > 0 {
			without = append(without, c.id)
		}
	}
	if times > 0 {
		lines = append(lines, fmt.Sprintf("sessions were gone %d times, of %d clients such as %s", times, len(without), strings.Join(without[:min(len(without), 4)], ", ")))
	}
	return lines
}

// links are all clients.
func (l *load) links() (all []*link) {
	for _, s := range l.senders {
		all = append(all, &s.link)
	}
	for _, r := range l.receivers {
		all = append(all, &r.link)
	}
	return all
}

func (l *link) complaints(kills int) (lines []string) {
	if l.losses > kills+l.disturbed || len(l.told) > 0 {
		lines = append(lines, fmt.Sprintf("%s: lost its connection %d times in %d kills and %d cuts, and was told %q", l.id, l.losses, kills, l.disturbed, l.told))
	}
	if l.gone != nil {
		lines = append(lines, l.gone.Error())
	}
	return lines
}

// history is what everybody has written down.
func (l *load) history() *history {
	h := &history{outages: l.outages, complain: l.complaints()}
	for _, s := range l.senders {
		h.sent = append(h.sent, account{id: s.id, acked: s.at, again: s.again})
	}
	for _, r := range l.receivers {
		h.heard = append(h.heard, hearing{id: r.id, qos: int(r.qos), window: receiverWindow, losses: r.disturbed, from: r.from, got: r.got, behind: !r.drained()})
	}
	return h
}

// told is how many lines of a verdict are printed.
const told = 20

// tally is a line of the table.
type tally struct {
	Row                  string
	Messages             int
	Kills, Flushes       int     // under load; and while a file was flushed
	Stillborn, Cuts      int     // kills of a broker that was starting; sockets of clients
	Factor, PerSecond    float64 // of the messages wanted; while the broker was up
	Lost, Behind         int     // never came; had not come when nobody waited any longer
	Reordered            int
	Duplicated           int // deliveries of what had been delivered
	Again, Allowed       int // of those, without a publisher's doing; and at most
	WorstPercent         int // of its allowance that one subscriber used
	RecoveryP50Ms, MaxMs int64
}

// judge prints the table and fails the test for everything that is wrong.
func (l *load) judge() tally {
	l.t.Helper()
	v := l.history().judge()
	starts := slices.Clone(l.starts)
	slices.Sort(starts)
	f := tally{Row: l.row, Messages: v.acked, Kills: len(l.starts), Stillborn: len(l.outages) - len(l.starts), Cuts: l.disturbed, Flushes: l.flushed, Factor: float64(v.acked) / float64(l.messages),
		PerSecond: float64(v.acked) / l.served.Seconds(), Lost: v.lost, Behind: v.behind, Reordered: v.reordered, Duplicated: v.duplicated, Again: v.again, Allowed: v.allowed, WorstPercent: v.worst}
	if n := len(starts); n > 0 {
		f.RecoveryP50Ms, f.MaxMs = starts[n/2].Milliseconds(), starts[n-1].Milliseconds()
	}
	l.t.Logf("\n%s\n%s", tallyHead, f)
	switch {
	case v.acked < l.least:
		l.t.Errorf("INVALID: %d messages were acknowledged, at least %d must be", v.acked, l.least)
	case f.Kills < l.kills || l.cuts > 0 && f.Cuts == 0:
		l.t.Errorf("INVALID: %d kills of %d, %d cuts", f.Kills, l.kills, f.Cuts)
	case f.PerSecond < l.rate:
		l.t.Errorf("INVALID: %.0f messages a second while the broker was up, at least %.0f must be", f.PerSecond, l.rate)
	case f.Flushes < l.flushes:
		l.t.Errorf("INVALID: %d kills hit a flush, at least %d must", f.Flushes, l.flushes)
	}
	if l.recovery > 0 && len(starts) > 0 && starts[len(starts)-1] > l.recovery {
		l.t.Errorf("%s: a start took %v, at most %v is promised", l.row, starts[len(starts)-1], l.recovery)
	}
	if len(v.text) > 0 {
		if more := len(v.text) - told; more > 0 {
			v.text = append(v.text[:told], fmt.Sprintf("and %d more lines", more))
		}
		l.t.Errorf("%s: lost %d, behind %d, reordered %d, more often than allowed %d, strange %d\n%s\nkills (down, up): %v", l.row, v.lost, v.behind, v.reordered, v.excess, v.strange,
			strings.Join(v.text, "\n"), l.outages)
	}
	return f
}

var tallyHead = fmt.Sprintf("%-20s %9s %7s %9s %6s %8s %8s %6s %6s %7s %9s %11s %9s %10s %5s %12s %8s", "proof", "messages", "factor", "per s", "kills", "in flush", "in start", "cuts", "lost", "behind", "reordered", "duplicated", "by broker", "of at most", "worst", "recovery p50", "max")

func (f tally) String() string {
	return fmt.Sprintf("%-20s %9d %7.2f %9.0f %6d %8d %8d %6d %6d %7d %9d %11d %9d %10d %4d%% %10dms %6dms", f.Row, f.Messages, f.Factor, f.PerSecond, f.Kills, f.Flushes, f.Stillborn, f.Cuts, f.Lost, f.Behind, f.Reordered, f.Duplicated, f.Again, f.Allowed, f.WorstPercent, f.RecoveryP50Ms, f.MaxMs)
}

func (o outage) String() string {
	return fmt.Sprintf("%v-%v", o.down, time.Duration(o.up-1)*time.Millisecond)
}
