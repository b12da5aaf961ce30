package cli

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/redoubtmq/redoubt/client"
	"github.com/redoubtmq/redoubt/mqtt"
)

// properties are what -D adds to the packets of a run. A nil pointer in one of
// its fields means that the command has no such packet.
type properties struct {
	connect     *mqtt.Connect
	publish     *client.Outgoing // nil for sub
	subscribe   *mqtt.Subscribe  // nil for pub
	unsubscribe *mqtt.Unsubscribe
	disconnect  *mqtt.Disconnect
	will        *willProperties
	given       bool
	expiry      bool // session-expiry-interval of CONNECT was given
}

// willProperties are set before it is known whether there is a will.
type willProperties struct {
	props  mqtt.PublishProperties
	delay  uint32
	expiry *uint32
	given  bool
}

// setter stores one property from its text.
type setter func(value string) error

// takeProperties gives every -D its identifier and value. Mosquitto writes them
// as words of their own (-D publish user-property name value), and the flag
// parser leaves these among the arguments, in order; rest is what it left. A -D
// whose value holds spaces brings its words itself.
func (p *properties) take(commands, rest []string) error {
	for _, c := range commands {
		words := strings.SplitN(c, " ", 3)
		if len(words) == 1 {
			if len(rest) < 2 {
				return usage("-D %s needs an identifier and a value: -D %s user-property NAME VALUE (after --, if one begins with a dash)", c, c)
			}
			words, rest = append(words, rest[0], rest[1]), rest[2:]
			if words[1] == "user-property" {
				if len(rest) == 0 {
					return usage("-D %s user-property needs a name and a value", c)
				}
				words, rest = append(words, rest[0]), rest[1:]
			}
		} else if len(words) == 3 && words[1] == "user-property" {
			words = append(words[:2], strings.SplitN(words[2], " ", 2)...)
		}
		if err := p.set(words); err != nil {
			return err
		}
		p.given = true
	}
	if len(rest) > 0 {
		return usage("unexpected argument %q: topic, message and all else are given by flags", rest[0])
	}
	return nil
}

// set stores one property: command, identifier, value, or the name and value of
// a user property.
func (p *properties) set(words []string) error {
	command := strings.ToLower(words[0])
	table := p.table(command)
	if table == nil {
		return usage("-D %s: properties can be set for %s", command, p.commands())
	}
	if len(words) < 3 {
		return usage("-D %s needs an identifier and a value", command)
	}
	if words[1] == "user-property" {
		if len(words) != 4 {
			return usage("-D %s user-property needs a name and a value", command)
		}
		list := p.users(command)
		*list = append(*list, mqtt.UserProperty{Name: words[2], Value: words[3]})
		return nil
	}
	if why, ok := refusedProperties[words[1]]; ok && command == "connect" {
		return usage("-D connect %s: %s", words[1], why)
	}
	set, ok := table[words[1]]
	if !ok {
		return usage("-D %s has no property %q; it has: %s", command, words[1],
			strings.Join(append(slices.Sorted(maps.Keys(table)), "user-property"), ", "))
	}
	if err := set(words[2]); err != nil {
		return usage("-D %s %s: %s", command, words[1], err)
	}
	return nil
}

var refusedProperties = map[string]string{
	"authentication-method": "enhanced authentication is not built; use a user name with a password, or a client certificate",
	"authentication-data":   "enhanced authentication is not built; use a user name with a password, or a client certificate",
}

// commands lists the packets that take properties here.
func (p *properties) commands() string {
	names := []string{"connect"}
	if p.publish != nil {
		names = append(names, "publish")
	}
	if p.subscribe != nil {
		names = append(names, "subscribe", "unsubscribe")
	}
	return strings.Join(append(names, "will"), ", ") + " and disconnect"
}

// users is where the user properties of a command go.
func (p *properties) users(command string) *[]mqtt.UserProperty {
	switch command {
	case "connect":
		return &p.connect.UserProperties
	case "publish":
		return &p.publish.Properties.UserProperties
	case "subscribe":
		return &p.subscribe.UserProperties
	case "unsubscribe":
		return &p.unsubscribe.UserProperties
	case "disconnect":
		return &p.disconnect.UserProperties
	}
	p.will.given = true
	return &p.will.props.UserProperties
}

// table is the properties of a command besides user-property; nil if it has no
// such packet here.
func (p *properties) table(command string) map[string]setter {
	switch command {
	case "connect":
		c := p.connect
		return map[string]setter{
			"session-expiry-interval":      both(number(&c.SessionExpiry, 0), func() { p.expiry = true }),
			"receive-maximum":              number(&c.ReceiveMaximum, 1),
			"maximum-packet-size":          number(&c.MaximumPacketSize, 1),
			"topic-alias-maximum":          number(&c.TopicAliasMaximum, 0),
			"request-response-information": truth(&c.RequestResponseInformation),
			"request-problem-information":  truth(&c.RequestProblemInformation),
		}
	case "publish":
		if p.publish == nil {
			return nil
		}
		t := messageTable(&p.publish.Properties)
		t["message-expiry-interval"] = both(number(&p.publish.MessageExpiry, 0), func() { p.publish.HasMessageExpiry = true })
		t["topic-alias"] = number(&p.publish.TopicAlias, 1)
		return t
	case "will":
		t := messageTable(&p.will.props)
		t["message-expiry-interval"] = func(s string) error {
			p.will.expiry = new(uint32)
			return number(p.will.expiry, 0)(s)
		}
		t["will-delay-interval"] = number(&p.will.delay, 0)
		for name, set := range t {
			t[name] = both(set, func() { p.will.given = true })
		}
		return t
	case "subscribe":
		if p.subscribe == nil {
			return nil
		}
		return map[string]setter{"subscription-identifier": func(s string) error {
			if err := number(&p.subscribe.SubscriptionID, 1)(s); err != nil {
				return err
			}
			if p.subscribe.SubscriptionID > mqtt.SubscriptionIDMax {
				return usage("%s is above %d", s, mqtt.SubscriptionIDMax)
			}
			return nil
		}}
	case "unsubscribe":
		if p.unsubscribe == nil {
			return nil
		}
		return map[string]setter{}
	case "disconnect":
		return map[string]setter{"session-expiry-interval": func(s string) error {
			p.disconnect.SessionExpiry = new(uint32)
			return number(p.disconnect.SessionExpiry, 0)(s)
		}}
	}
	return nil
}

// messageTable is what messages and wills have in common.
func messageTable(m *mqtt.PublishProperties) map[string]setter {
	return map[string]setter{
		"content-type":     func(s string) error { m.ContentType = s; return nil },
		"response-topic":   func(s string) error { m.ResponseTopic = s; return nil },
		"correlation-data": func(s string) error { m.CorrelationData = []byte(s); return nil },
		"payload-format-indicator": func(s string) error {
			m.HasPayloadFormat = true
			return truth(&m.PayloadIsUTF8)(s)
		},
	}
}

// number stores a whole number from low up to what the property's width holds.
func number[T uint16 | uint32](p *T, low uint64) setter {
	return func(s string) error {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil || n < low || n > uint64(^T(0)) {
			return usage("%q is not a whole number from %d to %d", s, low, ^T(0))
		}
		*p = T(n)
		return nil
	}
}

// truth stores a byte that is 0 or 1.
func truth(p *bool) setter {
	return func(s string) error {
		if s != "0" && s != "1" {
			return usage("%q is neither 0 nor 1", s)
		}
		*p = s == "1"
		return nil
	}
}

func both(set setter, then func()) setter {
	return func(s string) error {
		then()
		return set(s)
	}
}
