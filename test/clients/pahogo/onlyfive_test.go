package pahogo

import (
	"slices"
	"strings"

	"github.com/eclipse/paho.golang/paho"
)

var onlyV5 = []oneCase{
	{"session_expiry", func() {
		expiry := func(seconds uint32) func(*paho.Connect, *paho.ClientConfig) {
			return func(c *paho.Connect, _ *paho.ClientConfig) { c.Properties.SessionExpiryInterval = &seconds }
		}
		newFive("se", how{keep: true}, expiry(100)).cut()
		b := newFive("se", how{keep: true}, expiry(0xffffffff))
		check(b.present(), "the session is gone")
		check(*b.ack.Properties.SessionExpiryInterval == 7*24*3600, "CONNACK says %d", *b.ack.Properties.SessionExpiryInterval)
		_ = b.Disconnect(&paho.Disconnect{Properties: &paho.DisconnectProperties{SessionExpiryInterval: of(uint32(0))}})
		c := newFive("se", how{keep: true}, nil)
		check(!c.present(), "the session outlived DISCONNECT with Session Expiry 0")
		c.leave()
	}},
	{"will_delay", willDelay},
	{"alias_in", func() {
		a := newFive("ai", how{}, nil)
		check(*a.ack.Properties.TopicAliasMaximum == 32, "Topic Alias Maximum %d", *a.ack.Properties.TopicAliasMaximum)
		a.ask(topic("ai"), 1)
		a.with(topic("ai"), "1", paho.PublishProperties{TopicAlias: of(uint16(32))})
		a.with("", "2", paho.PublishProperties{TopicAlias: of(uint16(32))})
		check(get(a, "1").topic == topic("ai") && get(a, "2").topic == topic("ai"), "under another topic")
		a.leave()
	}},
	// The library shows what came: the topic, and then its alias alone.
	{"alias_out", func() {
		a := newFive("ao", how{}, func(c *paho.Connect, _ *paho.ClientConfig) { c.Properties.TopicAliasMaximum = of(uint16(5)) })
		a.ask(topic("ao"), 1)
		var came []message
		for _, text := range []string{"1", "2"} {
			a.say(topic("ao"), text, 1, false)
			came = append(came, get(a, text))
		}
		first, second := came[0].rest.(*paho.PublishProperties).TopicAlias, came[1].rest.(*paho.PublishProperties).TopicAlias
		check(came[0].topic == topic("ao") && came[1].topic == "", "topics %q, %q", came[0].topic, came[1].topic)
		check(first != nil && second != nil && *first == *second && *first <= 5, "aliases %v, %v", first, second)
		a.leave()
	}},
	{"receive_maximum", receiveMaximum},
	{"maximum_packet", func() {
		a := newFive("mp", how{}, func(c *paho.Connect, _ *paho.ClientConfig) { c.Properties.MaximumPacketSize = of(uint32(200)) })
		check(*a.ack.Properties.MaximumPacketSize == 65536, "Maximum Packet Size %d", *a.ack.Properties.MaximumPacketSize)
		a.ask(topic("mp"), 1)
		a.say(topic("mp"), strings.Repeat("x", 200), 1, false)
		quiet(a, topic("mp"), "marker")
		ctx, cancel := limit()
		defer cancel()
		_, _ = a.Publish(ctx, &paho.Publish{Topic: topic("mp"), Payload: make([]byte, 70000), QoS: 0})
		d := a.goodbye()
		check(d.ReasonCode == 0x95 && d.Properties.ReasonString != "", "DISCONNECT %#x %q", d.ReasonCode, d.Properties.ReasonString)
	}},
	{"subscription_identifiers", func() {
		a := newFive("si", how{}, nil)
		a.askFor(paho.SubscribeOptions{Topic: topic("si/1"), QoS: 1}, 1)
		a.askFor(paho.SubscribeOptions{Topic: topic("si/2"), QoS: 1}, 268435455)
		for name, want := range map[string]int{"si/1": 1, "si/2": 268435455} {
			a.say(topic(name), "x", 1, false)
			have := a.properties("x").SubscriptionIdentifier
			check(have != nil && *have == want, "%v, want %d", have, want)
		}
		a.leave()
	}},
	{"no_local", func() {
		a, b := newFive("nl-a", how{}, nil), newFive("nl-b", how{}, nil)
		a.askFor(paho.SubscribeOptions{Topic: topic("nl"), QoS: 1, NoLocal: true}, 0)
		a.say(topic("nl"), "own", 1, false)
		b.say(topic("nl"), "other's", 1, false)
		get(a, "other's")
		a.leave()
		b.leave()
	}},
	{"retain_options", func() {
		a := newFive("ro", how{}, nil)
		a.say(topic("ro"), "kept", 1, true)
		a.askFor(paho.SubscribeOptions{Topic: topic("ro"), QoS: 1, RetainHandling: 2, RetainAsPublished: true}, 0)
		a.say(topic("ro"), "live", 1, true)
		check(get(a, "live").retain, "the flag was taken away")
		a.askFor(paho.SubscribeOptions{Topic: topic("ro"), QoS: 1, RetainHandling: 1}, 0)
		quiet(a, topic("ro"), "marker")
		a.ask(topic("ro"), 1)
		check(get(a, "live").retain, "a retained message without the flag")
		a.say(topic("ro"), "plain", 1, true)
		check(!get(a, "plain").retain, "the flag of a live message was kept")
		a.say(topic("ro"), "", 1, true)
		a.leave()
	}},
	{"message_expiry", func() {
		a := newFive("me", how{keep: true}, nil)
		a.ask(topic("me"), 1)
		a.cut()
		b := newFive("me-b", how{}, nil)
		b.with(topic("me"), "short", paho.PublishProperties{MessageExpiry: of(uint32(1))})
		b.with(topic("me"), "long", paho.PublishProperties{MessageExpiry: of(uint32(100))})
		b.ask(topic("me/later"), 1)
		b.say("$delayed/2/"+topic("me/later"), "two seconds later", 1, false)
		get(b, "two seconds later")
		c := newFive("me", how{keep: true}, nil)
		left := *c.properties("long").MessageExpiry
		check(left >= 60 && left <= 99, "%d s are left", left)
		quiet(c, topic("me"), "marker")
		c.leave()
		b.leave()
	}},
	{"request_response", func() {
		a := newFive("rr-a", how{}, func(c *paho.Connect, _ *paho.ClientConfig) { c.Properties.RequestResponseInfo = true })
		b := newFive("rr-b", how{}, nil)
		check(a.ack.Properties.ResponseInfo == "replies/" && b.ack.Properties.ResponseInfo == "", "Response Information %q, %q", a.ack.Properties.ResponseInfo, b.ack.Properties.ResponseInfo)
		back := a.ack.Properties.ResponseInfo + settings.Name
		a.ask(back, 1)
		b.ask(topic("rr"), 1)
		a.with(topic("rr"), "question", paho.PublishProperties{ResponseTopic: back, CorrelationData: []byte{0, 1}})
		q := b.properties("question")
		b.with(q.ResponseTopic, "answer", paho.PublishProperties{CorrelationData: q.CorrelationData})
		check(string(a.properties("answer").CorrelationData) == "\x00\x01", "other Correlation Data")
		a.leave()
		b.leave()
	}},
	{"user_properties", func() {
		want := paho.UserProperties{{Key: "b", Value: "2"}, {Key: "a", Value: "1"}, {Key: "b", Value: "3"}, {}}
		a := newFive("up", how{}, nil)
		a.ask(topic("up"), 1)
		a.with(topic("up"), "x", paho.PublishProperties{User: want})
		have := a.properties("x").User
		check(slices.Equal(have, want), "got %v", have)
		a.leave()
	}},
	{"server_keep_alive", func() {
		keepAlive := func(seconds uint16) func(*paho.Connect, *paho.ClientConfig) {
			return func(c *paho.Connect, _ *paho.ClientConfig) { c.KeepAlive = seconds }
		}
		a, b := newFive("sk-a", how{}, keepAlive(600)), newFive("sk-b", how{}, keepAlive(200))
		check(a.ack.Properties.ServerKeepAlive != nil && *a.ack.Properties.ServerKeepAlive == 300, "not 300")
		check(b.ack.Properties.ServerKeepAlive == nil, "Server Keep Alive without need")
		a.leave()
		b.leave()
	}},
	{"assigned_id", func() {
		a, b := newFive("", how{}, nil), newFive("", how{}, nil)
		x, y := a.ack.Properties.AssignedClientID, b.ack.Properties.AssignedClientID
		check(x != "" && y != "" && x != y, "%q, %q", x, y)
		a.leave()
		b.leave()
	}},
	{"reasons", reasons},
	{"small_listener", func() {
		a := newFive("sm", how{port: settings.Small}, nil)
		p := a.ack.Properties
		check(p.MaximumQoS != nil && *p.MaximumQoS == 1 && !p.RetainAvailable && !p.WildcardSubAvailable && !p.SharedSubAvailable, "CONNACK %+v", p)
		check(a.ask(topic("sm"), 2) == 1, "QoS 2 was granted")
		ctx, cancel := limit()
		defer cancel()
		// The library refuses by itself what CONNACK has ruled out.
		for _, bad := range []*paho.Publish{{Topic: topic("sm"), QoS: 2}, {Topic: topic("sm"), Retain: true}} {
			_, err := a.Publish(ctx, bad)
			check(err != nil, "it was sent")
		}
		a.leave()
	}},
}

// The library keeps a will's Content Type to itself; its user properties it sends.
func willDelay() {
	w := newFive("wd-w", how{}, nil)
	w.ask(topic("wd"), 1)
	delay := func(seconds uint32) func(*paho.Connect, *paho.ClientConfig) {
		return func(c *paho.Connect, _ *paho.ClientConfig) {
			c.WillProperties = &paho.WillProperties{WillDelayInterval: &seconds, User: paho.UserProperties{{Key: "k", Value: "v"}}}
		}
	}
	newFive("wd-a", how{keep: true, will: topic("wd")}, delay(1)).cut()
	quiet(w, topic("wd"), "not yet")
	p := w.properties("gone")
	check(len(p.User) == 1 && p.User[0].Value == "v", "properties of the will: %+v", p)
	newFive("wd-a", how{keep: true, will: topic("wd")}, delay(1000)).cut()
	c := newFive("wd-a", how{keep: true}, nil)
	check(c.present(), "the session is gone")
	quiet(w, topic("wd"), "after the return")
	c.leave()
	w.leave()
}

// receiveMaximum: what the client has not acknowledged holds up the rest, but not
// QoS 0.
func receiveMaximum() {
	a := newFive("rm", how{}, func(c *paho.Connect, config *paho.ClientConfig) {
		c.Properties.ReceiveMaximum = of(uint16(2))
		config.EnableManualAcknowledgment = true
		config.SendAcksInterval = 1 // ns: at once
	})
	check(*a.ack.Properties.ReceiveMaximum == 32, "Receive Maximum %d", *a.ack.Properties.ReceiveMaximum)
	a.ask(topic("rm"), 1)
	b := newFive("rm-b", how{}, nil)
	for _, text := range []string{"1", "2", "3"} {
		b.say(topic("rm"), text, 1, false)
	}
	b.say(topic("rm"), "not held", 0, false)
	get(a, "1")
	get(a, "2")
	get(a, "not held")
	noError(a.Ack(<-a.hear), "PUBACK")
	get(a, "3")
	a.leave()
	b.leave()
}

// reasons are what a developer sees.
func reasons() {
	a := newFive("rs", how{}, nil)
	for qos, want := range []byte{0, 0x10, 0x10} {
		if qos > 0 {
			have := a.publish(&paho.Publish{Topic: topic("rs/nobody"), QoS: byte(qos)})
			check(have == want || qos == 2 && have == 0, "QoS %d: code %#x", qos, have) // the library shows PUBCOMP's
		}
	}
	check(a.publish(&paho.Publish{Topic: "devices/" + settings.OtherName + "/x", QoS: 1}) == 0x87, "not refused")
	ctx, cancel := limit()
	defer cancel()
	u, _ := a.Unsubscribe(ctx, &paho.Unsubscribe{Topics: []string{topic("rs/never")}})
	check(u != nil && u.Reasons[0] == 0x11, "UNSUBACK %+v", u)
	_, _ = a.Publish(ctx, &paho.Publish{Topic: topic("rs"), QoS: 0, Properties: &paho.PublishProperties{ResponseTopic: "a/#"}})
	d := a.goodbye()
	check(d.ReasonCode == 0x82 && strings.Contains(d.Properties.ReasonString, "MQTT-3.3.2-14"), "DISCONNECT %#x %q", d.ReasonCode, d.Properties.ReasonString)
}
