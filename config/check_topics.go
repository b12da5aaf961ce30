package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/redoubtmq/redoubt/topic"
	rewriting "github.com/redoubtmq/redoubt/topic/rewrite"
	"github.com/redoubtmq/redoubt/topic/template"
)

// narrow gives a listener what mqtt offers, as far as the listener's own section
// does not say. What that says is left as it is: checkOffers judges it.
func (l *loader) narrow(key string, o, all *Offer) {
	if !l.origins[key+".max_qos"].written() {
		o.MaxQoS = all.MaxQoS
	}
	for name, b := range o.switches() {
		if !l.origins[key+"."+name].written() {
			*b = *all.switches()[name]
		}
	}
}

// switches are the parts that are offered or not.
func (o *Offer) switches() map[string]*bool {
	return map[string]*bool{"retain": &o.Retain, "wildcard_subscriptions": &o.WildcardSubscriptions, "shared_subscriptions": &o.SharedSubscriptions}
}

// checkOffers refuses a listener that offers more than the broker does: two keys
// would say different things, and the wider one would be a surprise.
func (l *loader) checkOffers(c *Config) {
	for _, name := range sorted(c.Listeners) {
		ln, key := c.Listeners[name], "listeners."+name+".mqtt."
		if q := ln.MQTT.MaxQoS; q > c.MQTT.MaxQoS && !l.problems.about(key+"max_qos") && !l.problems.about("mqtt.max_qos") {
			l.wrong(key+"max_qos", fmt.Sprint(q), "is more than mqtt.max_qos (%d). A listener may offer less and never more. Lower it, or raise mqtt.max_qos.", c.MQTT.MaxQoS)
		}
		for _, part := range sorted(ln.MQTT.switches()) {
			if *ln.MQTT.switches()[part] && !*c.MQTT.switches()[part] && !l.problems.about(key+part) && !l.problems.about("mqtt."+part) {
				l.wrong(key+part, "true", "is more than mqtt.%s, which is false. A listener may offer less and never more. Remove it, or turn mqtt.%s on.", part, part)
			}
		}
	}
}

func (l *loader) checkMountpoints(c *Config) {
	for _, name := range sorted(c.Listeners) {
		mount, key := c.Listeners[name].Mountpoint, "listeners."+name+".mountpoint"
		if mount == "" || l.problems.about(key) {
			continue
		}
		if _, err := template.ParseMountpoint(mount); err != nil {
			l.wrong(key, quote(mount), "%v.", err)
			continue
		}
		if n := topic.Levels(mount) - 1; n >= c.Limits.TopicLevels && !l.problems.about("limits.topic_levels") {
			l.wrong(key, quote(mount), "has %d levels, and limits.topic_levels leaves none of its %d for a topic. Shorten the one or raise the other.", n, c.Limits.TopicLevels)
		} else if Size(len(mount)) >= c.Limits.TopicBytes && !l.problems.about("limits.topic_bytes") {
			l.wrong(key, quote(mount), "has %d bytes, and limits.topic_bytes leaves none of its %v for a topic. Shorten the one or raise the other.", len(mount), c.Limits.TopicBytes)
		}
	}
}

// RewriteRules are the rules of Rewrite in the words of package rewrite.
func (m *MQTT) RewriteRules() []rewriting.Rule {
	rules := make([]rewriting.Rule, 0, len(m.Rewrite))
	for _, r := range m.Rewrite {
		rules = append(rules, rewriting.Rule{Action: rewriting.Action(r.Action), Source: r.Source, RE: r.RE, Dest: r.Dest})
	}
	return rules
}

func (l *loader) checkRewrite(c *Config) {
	if l.problems.about("mqtt.rewrite") {
		return
	}
	for i := range c.MQTT.Rewrite { // one by one, so that all problems are reported
		one := MQTT{Rewrite: c.MQTT.Rewrite[i : i+1]}
		_, err := rewriting.Compile(one.RewriteRules())
		var re *rewriting.RuleError
		if !errors.As(err, &re) {
			continue
		}
		value := map[string]string{"action": one.Rewrite[0].Action, "source": one.Rewrite[0].Source, "re": one.Rewrite[0].RE, "dest": one.Rewrite[0].Dest}[re.Key]
		l.wrong(fmt.Sprintf("mqtt.rewrite[%d].%s", i, re.Key), quote(value), "%s.", re.Reason)
	}
}

// checkAutoSubscribe refuses what a client could not have asked for either.
func (l *loader) checkAutoSubscribe(c *Config) {
	if l.problems.about("mqtt.auto_subscribe") {
		return
	}
	first := map[string]int{}
	for i := range c.MQTT.AutoSubscribe {
		a, key := &c.MQTT.AutoSubscribe[i], fmt.Sprintf("mqtt.auto_subscribe[%d]", i)
		if _, err := template.Parse(a.Topic); err != nil {
			l.wrong(key+".topic", quote(a.Topic), "%v.", err)
			continue
		}
		if _, err := template.ParseFilter(a.Topic); err != nil {
			l.wrong(key+".topic", quote(a.Topic), "is no topic filter: %v.", err)
			continue
		}
		if j, there := first[a.Topic]; there {
			l.wrong(key+".topic", quote(a.Topic), "is in the list twice; the first is mqtt.auto_subscribe[%d]. Keep one.", j)
			continue
		}
		first[a.Topic] = i
		shared := strings.HasPrefix(a.Topic, "$share/")
		exclusive := strings.HasPrefix(a.Topic, "$exclusive/")
		switch off := "is not possible while %s is false. Turn that on, or remove this."; {
		case shared && !c.MQTT.SharedSubscriptions:
			l.wrong(key+".topic", quote(a.Topic), off, "mqtt.shared_subscriptions")
		case exclusive && !c.MQTT.ExclusiveSubscriptions:
			l.wrong(key+".topic", quote(a.Topic), off, "mqtt.exclusive_subscriptions")
		case topic.HasWildcard(a.Topic) && !c.MQTT.WildcardSubscriptions:
			l.wrong(key+".topic", quote(a.Topic), off, "mqtt.wildcard_subscriptions")
		case shared && a.NoLocal:
			l.wrong(key+".no_local", "true", "is a protocol error on a shared subscription [MQTT-3.8.3-4]. Remove it.")
		case a.QoS > c.MQTT.MaxQoS:
			l.wrong(key+".qos", fmt.Sprint(a.QoS), "is more than mqtt.max_qos (%d). Lower it.", c.MQTT.MaxQoS)
		case len(c.MQTT.AutoSubscribe) > c.Limits.Subscriptions:
			l.wrong("mqtt.auto_subscribe", "", "has %d entries, and limits.subscriptions is %d. Lower the one or raise the other.", len(c.MQTT.AutoSubscribe), c.Limits.Subscriptions)
			return
		}
	}
}
