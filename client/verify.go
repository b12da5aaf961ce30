package client

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/topic"
)

// The encoders of package mqtt take only what the wire can carry; everything a
// person typed passes through here first.

// verifyText refuses what is no MQTT string [MQTT-1.5.4-1] [MQTT-1.5.4-2].
func verifyText(what, s string) error {
	switch {
	case len(s) > mqtt.StringMax:
		return &Error{Kind: KindOptions, What: fmt.Sprintf("the %s has %d bytes, and MQTT allows %d", what, len(s), mqtt.StringMax)}
	case !utf8.ValidString(s):
		return &Error{Kind: KindOptions, What: "the " + what + " is not UTF-8"}
	case strings.IndexByte(s, 0) >= 0:
		return &Error{Kind: KindOptions, What: "the " + what + " contains a NUL character"}
	}
	return nil
}

func verifyUserProperties(ps []mqtt.UserProperty) error {
	for _, p := range ps {
		if err := verifyText("name of a user property", p.Name); err != nil {
			return err
		}
		if err := verifyText("value of the user property "+quote(p.Name), p.Value); err != nil {
			return err
		}
	}
	return nil
}

// VerifyProperties refuses properties that no server may be sent.
func VerifyProperties(p *mqtt.PublishProperties) error {
	if err := verifyText("content type", p.ContentType); err != nil {
		return err
	}
	if len(p.CorrelationData) > mqtt.StringMax {
		return &Error{Kind: KindOptions, What: fmt.Sprintf("the correlation data has %d bytes, and MQTT allows %d", len(p.CorrelationData), mqtt.StringMax)}
	}
	if p.ResponseTopic != "" {
		if err := topic.ValidName([]byte(p.ResponseTopic)); err != nil {
			return &Error{Kind: KindOptions, What: fmt.Sprintf("the response topic %s is no topic name: %v", quote(p.ResponseTopic), err)}
		}
	}
	return verifyUserProperties(p.UserProperties)
}

// VerifyWill refuses a will that no server may be sent. Its Props are trusted to
// be a valid section.
func VerifyWill(w *mqtt.Will, v mqtt.Version) error {
	if w == nil {
		return nil
	}
	bad := func(format string, args ...any) error {
		return &Error{Kind: KindOptions, What: fmt.Sprintf(format, args...)}
	}
	if err := topic.ValidName([]byte(w.Topic)); err != nil {
		return bad("the will topic %s is no topic name: %v", quote(w.Topic), err)
	}
	switch {
	case w.QoS > 2:
		return bad("QoS %d does not exist (0, 1 or 2)", w.QoS)
	case len(w.Payload) > mqtt.StringMax:
		return bad("the will's payload has %d bytes, and MQTT allows %d", len(w.Payload), mqtt.StringMax)
	case v != mqtt.V5 && (len(w.Props) > 0 || w.DelaySeconds > 0 || w.HasMessageExpiry):
		return bad("MQTT %s has no properties; use 5.0", v)
	}
	return nil
}

// verifyConnect refuses a CONNECT that no server may be sent.
func verifyConnect(o *Options) error {
	c := &o.Connect
	if err := verifyText("client id", c.ClientID); err != nil {
		return err
	}
	if err := verifyText("user name", c.Username); err != nil {
		return err
	}
	if c.Version != mqtt.V5 && (c.SessionExpiry != 0 || c.TopicAliasMaximum != 0 || c.RequestResponseInformation || c.UserProperties != nil) {
		return &Error{Kind: KindOptions, What: "MQTT " + c.Version.String() + " has no properties; use 5.0"}
	}
	if c.Version == mqtt.V31 && c.ClientID == "" {
		return &Error{Kind: KindOptions, What: "MQTT 3.1 needs a client id"}
	}
	if err := verifyUserProperties(c.UserProperties); err != nil {
		return err
	}
	return VerifyWill(c.Will, c.Version)
}
