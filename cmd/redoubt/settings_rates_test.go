package main

import (
	"maps"
	"testing"

	"github.com/redoubtmq/redoubt/config"
)

// Who lets more connections in from one network has their handshakes in mind, too; what is
// named stays as it is.
func TestHandshakeRatesFollowConnectRates(t *testing.T) {
	for _, c := range []struct{ connects, named, want map[string]int }{
		{map[string]int{"/24": 500, "/56": 500}, nil, map[string]int{"/24": 200, "/56": 200}},
		{map[string]int{"/24": 20_000, "/56": 500}, map[string]int{}, map[string]int{"/24": 8000, "/56": 200}},
		{map[string]int{"/24": 20_000, "/56": 1}, map[string]int{"/24": 50, "/32": 10}, map[string]int{"/24": 50, "/32": 10, "/56": 1}},
	} {
		l := &config.Limits{}
		l.ConnectRatePerPrefix, l.HandshakeRatePrefix = c.connects, c.named
		if got := handshakeRates(l); !maps.Equal(got, c.want) {
			t.Errorf("%v and %v: %v, want %v", c.connects, c.named, got, c.want)
		}
		if _, leaked := c.named["/56"]; leaked {
			t.Error("the configuration was changed")
		}
	}
}
