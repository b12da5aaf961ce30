package mqtt

import (
	"strings"
	"testing"
)

// TestUserPropertiesThatNobodyReads are checked and counted like others, and not copied.
func TestUserPropertiesThatNobodyReads(t *testing.T) {
	users := []UserProperty{{"a", strings.Repeat("v", 60_000)}, {"b", "w"}}
	filters := []Subscription{{Filter: "x"}}
	for name, p := range map[string]struct {
		packet []byte
		decode func(body []byte, h Header, lim Limits) ([]UserProperty, error)
	}{
		"SUBSCRIBE": {(&Subscribe{PacketID: 1, Filters: filters, UserProperties: users}).Append(nil, V5, 0), func(body []byte, h Header, lim Limits) ([]UserProperty, error) {
			var p Subscribe
			err := DecodeSubscribe(body, h, V5, lim, &p)
			return p.UserProperties, err
		}},
		"UNSUBSCRIBE": {(&Unsubscribe{PacketID: 1, Filters: []string{"x"}, UserProperties: users}).Append(nil, V5, 0), func(body []byte, h Header, lim Limits) ([]UserProperty, error) {
			var p Unsubscribe
			err := DecodeUnsubscribe(body, h, V5, lim, &p)
			return p.UserProperties, err
		}},
		"DISCONNECT": {(&Disconnect{Reason: DisconnectWithWill, UserProperties: users}).Append(nil, V5, 0), func(body []byte, h Header, lim Limits) ([]UserProperty, error) {
			var p Disconnect
			err := DecodeDisconnect(body, h, V5, lim, &p)
			return p.UserProperties, err
		}},
		"AUTH": {(&Auth{Reason: ContinueAuthentication, Method: "m", UserProperties: users}).Append(nil, V5, 0), func(body []byte, h Header, lim Limits) ([]UserProperty, error) {
			var p Auth
			err := DecodeAuth(body, h, V5, lim, &p)
			return p.UserProperties, err
		}},
	} {
		h, ok, err := ReadHeader(p.packet, V5)
		if err != nil || !ok {
			t.Fatal(name, err)
		}
		body := p.packet[h.Size:]
		if got, err := p.decode(body, h, Limits{UserProperties: 2}); err != nil || len(got) != 2 || got[0] != users[0] {
			t.Errorf("%s: %d, %v", name, len(got), err)
		}
		if got, err := p.decode(body, h, Limits{UserProperties: 2, SkipUsers: true}); err != nil || got != nil {
			t.Errorf("%s: %d were copied, %v", name, len(got), err)
		}
		if _, err := p.decode(body, h, Limits{UserProperties: 1, SkipUsers: true}); err == nil {
			t.Errorf("%s: more of them than are allowed", name)
		}
		broken := []byte(strings.Replace(string(body), "vvvv", "vv\x00v", 1))
		if _, err := p.decode(broken, h, Limits{UserProperties: 2, SkipUsers: true}); err == nil {
			t.Errorf("%s: one of them is no text", name)
		}
	}
}
