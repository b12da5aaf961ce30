package auth

import (
	"bytes"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/topic"
)

// Decide judges one access: the first rule that matches decides. It allocates
// nothing for Publish. Topic aliases are resolved, mount points applied and the
// syntax of the topic is checked before (A114).
func (p *Policy) Decide(by *Principal, a Access) Decision {
	if a.Action == Subscribe {
		return p.DecideSubscribe(by, string(a.Topic), a.QoS)
	}
	if p == nil || by == nil || a.Action != Publish || !isName(a.Topic) {
		return Decision{Rule: last}
	}
	s := subjectOf(by)
	at, w := stemsOf(a.Topic), p.walk(Publish, by)
	for r := w.next(&s, &at); r != nil; r = w.next(&s, &at) {
		if !r.takesQoS(a.QoS) || !r.takesRetain(a.Retain) || !r.concerns(&s) {
			continue
		}
		if r.allow {
			if r.names(&s, a.Topic, true) && r.holds(&s) {
				return s.decide(Decision{Allow: true, Rule: r})
			}
		} else if (r.unreadable(&s) || r.names(&s, a.Topic, false)) && r.holds(&s) {
			return s.decide(Decision{Rule: r})
		}
	}
	return s.decide(Decision{Rule: last})
}

// decide says how sure the answer is.
func (s *subject) decide(d Decision) Decision {
	d.Unsure = s.unsure
	return d
}

// isName keeps what is not a topic name from being judged as one.
func isName(t []byte) bool {
	return len(t) > 0 && bytes.IndexByte(t, '+') < 0 && bytes.IndexByte(t, '#') < 0
}

// names tells whether one of the rule's topics is this topic name.
func (r *Rule) names(s *subject, name []byte, hide bool) bool {
	for i := range r.topics {
		t := &r.topics[i]
		if t.eq {
			if t.equals(s, name) {
				return true
			}
		} else if t.matches(s, name, hide) {
			return true
		}
	}
	return false
}

// DecideSubscribe judges a topic filter, $share included: a shared subscription
// needs the right to the filter inside it (A085, A086), and a deny rule may name
// the group. The filter is allowed if one allow rule covers all of it before a
// deny rule does; a deny that covers only a part sets Check (A107, A109).
func (p *Policy) DecideSubscribe(by *Principal, filter string, qos mqtt.QoS) Decision {
	if p == nil || by == nil || topic.ValidFilter(filter) != nil {
		return Decision{Rule: last}
	}
	_, inner, shared, err := topic.ParseShare(filter)
	if err != nil {
		return Decision{Rule: last}
	}
	whole, wanted := []byte(nil), []byte(filter)
	if shared {
		whole, wanted = wanted, []byte(inner)
	}
	s := subjectOf(by)
	s.unsure = s.perhapsSuper()
	check := false
	at, w := stemsOf(wanted), p.walk(Subscribe, by)
	for r := w.next(&s, &at); r != nil; r = w.next(&s, &at) {
		if !r.takesQoS(qos) || !r.concerns(&s) {
			continue
		}
		if r.allow {
			if r.covers(&s, wanted) && r.holds(&s) {
				return s.decide(Decision{Allow: true, Rule: r, Check: check})
			}
			continue
		}
		denied, partly := r.denies(&s, wanted, whole)
		denied = denied || r.unreadable(&s)
		switch {
		case !denied && !partly || !r.holds(&s):
		case denied:
			return s.decide(Decision{Rule: r})
		default:
			check = true
		}
	}
	return s.decide(Decision{Rule: last})
}

// covers tells whether one topic of an allow rule grants the whole filter.
func (r *Rule) covers(s *subject, filter []byte) bool {
	for i := range r.topics {
		t := &r.topics[i]
		if t.eq {
			if t.equals(s, filter) {
				return true
			}
		} else if t.covers(s, filter, true) {
			return true
		}
	}
	return false
}

// denies tells whether a deny rule takes the whole filter, or a part of it. whole
// is the filter with its $share, nil without one. A delivery does not know
// through which group it came, so a deny on a group takes everything it touches.
func (r *Rule) denies(s *subject, filter, whole []byte) (all, partly bool) {
	for i := range r.topics {
		t := &r.topics[i]
		switch {
		case t.share && whole == nil:
		case t.share && t.eq:
			all = t.equals(s, whole)
		case t.share:
			all = t.overlaps(s, whole, false)
		case t.eq:
			all = t.equals(s, filter)
		default:
			all = t.covers(s, filter, false)
			partly = partly || t.overlaps(s, filter, false)
		}
		if all {
			return true, false
		}
	}
	return false, partly
}

// DecideDelivery tells whether by may read a message on this topic name now, as a
// subscriber. It allocates nothing. It judges what a subscription could not: so
// the requested QoS is not asked, an allowed `eq` filter lets its messages
// through, and a denied one, which is about the subscription's text, is passed
// over. A deny rule with a QoS qualifier denies here whatever the QoS.
func (p *Policy) DecideDelivery(by *Principal, name []byte) Decision {
	if p == nil || by == nil || !isName(name) {
		return Decision{Rule: last}
	}
	s := subjectOf(by)
	s.unsure = s.perhapsSuper()
	at, w := stemsOf(name), p.walk(Subscribe, by)
	for r := w.next(&s, &at); r != nil; r = w.next(&s, &at) {
		if !r.concerns(&s) {
			continue
		}
		if r.allow {
			if r.delivers(&s, name, true) && r.holds(&s) {
				return s.decide(Decision{Allow: true, Rule: r})
			}
		} else if (r.unreadable(&s) || r.delivers(&s, name, false)) && r.holds(&s) {
			return s.decide(Decision{Rule: r})
		}
	}
	return s.decide(Decision{Rule: last})
}

func (r *Rule) delivers(s *subject, name []byte, allow bool) bool {
	for i := range r.topics {
		t := &r.topics[i]
		if !allow && (t.eq || t.share) {
			continue
		}
		if t.matches(s, name, allow) {
			return true
		}
	}
	return false
}
