package broker

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/audit"
)

// A client of 3.1.1 that is not taken a message from because there is no room is closed, as
// it has no reason code; the operator finds it in the log. It was not denied anything.
func TestWhoIsClosedForWantOfRoomIsInTheLog(t *testing.T) {
	k := newKeptDesk(t, 1)
	var log strings.Builder
	k.b.log = audit.New(slog.New(slog.NewTextHandler(&log, nil)), k.metrics.NewShard())
	sub, c := k.join(0, "sub"), k.join(0, "c", v311)
	k.hears(sub, "open/#", 1)
	k.b.SetFull(true)
	c.publish("open/a", "m", 1, 1)
	k.rest()
	if !strings.Contains(log.String(), "client_id=c") || !strings.Contains(log.String(), "quota exceeded") {
		t.Errorf("the log has %q", log.String())
	}
}
