package broker

import (
	"strings"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/topic"
	"github.com/redoubtmq/redoubt/topic/template"
)

// values are what the placeholders of an operator's templates stand for.
func values(by *auth.Principal) template.Values {
	return template.Values{ClientID: by.ClientID, Username: by.Username, Listener: by.Listener}
}

// topicName answers what a topic name of a client means here: $delayed/ taken off,
// rewritten, mounted; and the delay in seconds. All that judges or matches comes
// after it (A114). The name is valid until the next call.
func (h *Home) topicName(by *auth.Principal, name []byte) (delay uint32, real []byte, refused *mqtt.Error) {
	set := h.b.Settings()
	if delay, name, refused = set.delayed(name); refused != nil {
		return 0, nil, refused
	}
	if set.Rewrite != nil {
		to, changed, err := set.Rewrite.Publish(h.scratch.rewritten[:0], name, values(by))
		if err != nil {
			return 0, nil, &mqtt.Error{Reason: mqtt.TopicNameInvalid, Detail: "mqtt.rewrite: " + err.Error()}
		}
		if changed {
			h.scratch.rewritten, name = to, to
			if delay == 0 { // a rule may say that something is for later
				if delay, name, refused = set.delayed(name); refused != nil {
					return 0, nil, refused
				}
			}
		}
	}
	if mount := by.Mountpoint; mount != "" {
		if len(mount)+len(name) > mqtt.StringMax { // A026
			return 0, nil, &mqtt.Error{Reason: mqtt.TopicNameInvalid, Rule: "MQTT-4.7.3-3", Detail: "topic too long behind its mountpoint"}
		}
		h.scratch.mounted = append(append(h.scratch.mounted[:0], mount...), name...)
		name = h.scratch.mounted
	}
	if !set.topicFits(name) {
		return 0, nil, &mqtt.Error{Reason: mqtt.TopicNameInvalid, Detail: "topic over limits.topic_levels or limits.topic_bytes"}
	}
	return delay, name, nil
}

// wish is a topic filter of a client, taken apart.
type wish struct {
	share     string // name of the shared subscription; empty: none
	real      string // what is matched: rewritten, mounted
	exclusive bool
}

// filter takes apart a filter of r's client. Anything but Success is the answer in
// SUBACK. What wraps another filter is taken off before the filter is judged (A086).
func (h *Home) filter(r *resident, filter string, set *Settings) (w wish, rc mqtt.ReasonCode) {
	w.real = filter
	share, rest, shared, err := topic.ParseShare(filter)
	if err != nil {
		return w, mqtt.TopicFilterInvalid // [MQTT-4.8.2-1] [MQTT-4.8.2-2]
	}
	if shared {
		if !r.offer.SharedAvailable {
			return w, mqtt.SharedSubscriptionsNotSupported
		}
		w.share, w.real = share, rest
	} else if rest, ok, err := topic.ParseExclusive(filter); ok {
		if err != nil || !set.Exclusive {
			return w, mqtt.TopicFilterInvalid
		}
		w.real, w.exclusive = rest, true
	}
	if topic.ValidFilter(w.real) != nil {
		return w, mqtt.TopicFilterInvalid
	}
	if set.Rewrite != nil {
		if w.real, _, err = set.Rewrite.Subscribe(w.real, values(&r.by)); err != nil {
			return w, mqtt.TopicFilterInvalid
		}
	}
	w.real = r.by.Mountpoint + w.real
	if topic.ValidFilter(w.real) != nil || !set.topicFits([]byte(w.real)) {
		return w, mqtt.TopicFilterInvalid
	}
	return w, mqtt.Success
}

// judged is the filter as the rules see it: a rule may be about the group.
func (w *wish) judged() string {
	if w.share == "" {
		return w.real
	}
	return "$share/" + w.share + "/" + w.real
}

// underEvents tells whether a filter asks for what the broker says of its clients.
func underEvents(filter string) bool { return strings.HasPrefix(filter, "$events/") }
