package broker

import (
	"log/slog"
	"slices"
	"time"

	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/router"
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/store"
)

// A member may have only some of what its group is sent: a deny rule takes a part of its
// filter. So whoever chooses a member asks the rules first, and a message that nobody may
// have is dropped at once. Between the choice and the delivery the rules can change. What a
// member then may not have goes back to the group, and there the rules of now are asked: it
// does not come to that member again before they change once more.

// stand says who r is to whoever chooses members of groups: what the rules look at.
func (h *Home) stand(r *resident) {
	by, b := r.by, h.b
	r.member().SetJudge(func(name []byte) bool { return b.authz.Policy().DecideDelivery(&by, name).Perhaps() })
}

// noneMay tells that the rules give a message to no member of a group. Members at other
// nodes are not known here: where there are some, somebody may.
func (h *Home) noneMay(group router.Ref, f *mqtt.Frame) bool {
	if h.b.shared() {
		return false
	}
	_, barred := h.b.groups.Best(group, router.Choice{Name: f.Topic()}, router.Offline)
	return barred
}

// barred is noneMay, and counts the message as lost to that.
func (h *Home) barred(now time.Time, group router.Ref, f *mqtt.Frame) bool {
	if !h.noneMay(group, f) {
		return false
	}
	h.count.Inc(metrics.DeliveryDenied)
	share, real, _ := h.b.groups.Name(group)
	h.b.log.Event(now, slog.LevelInfo, "a rule denies a message to every member of a shared subscription", share+"/"+real,
		slog.String("share", share), slog.String("filter", real), slog.String("topic", string(f.Topic())))
	return true
}

// deniedShare is the share of a subscription by which m came to r, if the rules deny it and
// give it to somebody else; nil: there is none. sure tells that they are asked in any case.
func (h *Home) deniedShare(r *resident, m *logged, sure bool) *durableSub {
	if len(r.lines()) == 0 {
		return nil
	}
	for i := range r.log.subs {
		s := &r.log.subs[i]
		if s.group == (session.Group{}) || !s.joined || !m.names(s) { // what is not joined has nobody beside it yet
			continue
		}
		if !sure && s.opts&router.Check == 0 && m.frame.CreatedAt > r.doubt && !h.stale(r) || h.may(r, m.frame.Topic()) {
			return nil
		}
		h.suspect(r, s)
		if !h.noneMay(groupRef(s.group), m.frame) {
			return s
		}
	}
	return nil
}

// may tells whether the rules give r a message of that topic name.
func (h *Home) may(r *resident, name []byte) bool {
	return h.cache.DecideDelivery(h.b.authz.Policy(), r.subject, &r.by, name).Perhaps()
}

// suspect has whoever chooses r by that subscription ask the rules, also if r was not judged
// since they have changed: it would be chosen again.
func (h *Home) suspect(r *resident, s *durableSub) {
	if s.opts&router.Check != 0 && r.member().Judged() {
		return
	}
	if sub, there := r.s.Subscribed(s.filter); there {
		sub.Check = true
		r.s.Subscribe(sub)
		h.insert(r, &sub)
	}
}

// handBack gives back to its group what came to r by a share of a subscription and was not
// sent. What r has read ahead it reads again. from is where it begins again at the latest; 0:
// that follows from what it has read.
func (h *Home) handBack(now time.Time, r *resident, s *durableSub, from store.Seq) {
	h.recede(r)
	d := r.log
	if d.replan(); from != 0 && (d.lag.first == 0 || from < d.lag.first) {
		l := &d.passes().lag
		l.first, l.last, l.messages = from, max(l.last, from), max(1, l.messages)
	}
	if d.lag.first != 0 {
		d.pos = min(d.pos, d.lag.first-1)
	}
	first := r.least()
	h.part()
	h.save(now, r)
	h.giveBackOf(now, r, s, first)
}

// handOver gives back what r has read ahead by its groups, where the rules now deny some of it
// and give it to somebody else.
func (h *Home) handOver(now time.Time, r *resident) {
	if r.log == nil || len(r.lines()) == 0 || !r.s.Online() {
		return
	}
	var lost []session.Group
	r.s.Shared(func(f *mqtt.Frame, g session.Group) {
		if !slices.Contains(lost, g) && !h.may(r, f.Topic()) && !h.noneMay(groupRef(g), f) {
			lost = append(lost, g)
		}
	})
	for _, g := range lost {
		for i := range r.log.subs {
			if s := &r.log.subs[i]; s.group == g && s.joined && s.start != unknown {
				h.handBack(now, r, s, 0)
			}
		}
	}
}
