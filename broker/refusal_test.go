package broker

import (
	"bytes"
	"testing"

	"github.com/redoubtmq/redoubt/mqtt"
)

// Who is refused because of what goes on at the moment is told to come again later,
// where the protocol has words and the client takes them; nobody else is told more
// than the code.
func TestRefusalsThatPass(t *testing.T) {
	hint := []byte(comeAgain)
	for _, row := range []struct {
		v      mqtt.Version
		reason mqtt.ReasonCode
		max    uint32
		told   bool
	}{
		{mqtt.V5, mqtt.ServerBusy, 0, true},
		{mqtt.V5, mqtt.QuotaExceeded, 1000, true},
		{mqtt.V5, mqtt.ConnectionRateExceeded, 0, true},
		{mqtt.V5, mqtt.ServerBusy, 20, false},
		{mqtt.V311, mqtt.ServerBusy, 0, false},
		{mqtt.V5, mqtt.BadUserNameOrPassword, 0, false},
		{mqtt.V5, mqtt.Banned, 0, false},
	} {
		b := Refusal(row.v, row.reason, row.max, 0)
		if len(b) == 0 || bytes.Contains(b, hint) != row.told {
			t.Errorf("%v %v within %d: % x", row.v, row.reason, row.max, b)
		}
	}
}
