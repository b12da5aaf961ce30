package harden

import (
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/config"
)

func TestFlappingIsSeen(t *testing.T) {
	t.Parallel()
	good := Flapping{Connects: 4, Window: time.Minute, Ban: 5 * time.Minute}
	for name, c := range map[string]struct {
		flaws flaws
		set   Flapping
		state State
		want  string
		left  int // bans that are left
	}{
		"good":                       {flaws{}, good, Pass, "connect 5 of that client: CONNACK 0x8A", 0},
		"good, in MQTT 3.1.1":        {flaws{only4}, good, Pass, "connect 5 of that client: CONNACK 0x05", 0},
		"nobody counts":              {flaws{countsNobody}, good, Fail, "nobody counts", 0},
		"by the name alone":          {flaws{bansNames}, good, Fail, "another user with the same client identifier, while that ban is in force: CONNACK 0x8A", 0},
		"failures count":             {flaws{countsFailures}, good, Fail, "without its secret has used before, once too often: CONNACK 0x8A", 0},
		"too early":                  {flaws{bansEarly}, good, Unknown, "connect 4 of 4 that are allowed (positive control): CONNACK 0x8A", 0},
		"a ban that cannot be ended": {flaws{cannotLift}, good, Unknown, "there is no such operation", 1},
		"a ban that stays":           {flaws{keepsBan}, good, Unknown, "the client whose ban was lifted: CONNACK 0x8A", 1},
		"nobody gets in":             {flaws{nobody}, good, Unknown, "connect 1 of 4", 0},
		"only closes":                {flaws{closesOnly, everybody, countsNobody}, good, Fail, "nobody counts", 0},
		"turned off":                 {flaws{}, Flapping{}, Warn, "flapping.connects is 0", 0},
		"looser":                     {flaws{}, Flapping{Connects: 40, Window: time.Minute, Ban: time.Hour}, Warn, "more than 40 in 1m0s", 0},
		"shorter bans":               {flaws{}, Flapping{Connects: 4, Window: time.Minute, Ban: time.Second}, Warn, "ban it for 1s", 0},
		"too many to try":            {flaws{}, Flapping{Connects: 1000, Window: 24 * time.Hour, Ban: time.Hour}, Unknown, "1001 connects are more than a probe makes", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fixture("P4.4", name, c.state)
			f := newFake(t, c.flaws)
			f.flapping = c.set
			f.config = map[string]config.Listener{"secure": {Protocol: "mqtts"}}
			f.listen("secure", "mqtts", "127.0.0.1:0")
			rep := examine(t, f.alone(f.env()), "P4.4")
			if out := text(t, rep); rep.Rows[0].State() != c.state || !strings.Contains(out, c.want) || strings.Contains(out, canary) {
				t.Errorf("%s, want %s and %q in\n%s", rep.Rows[0].State(), c.state, c.want, out)
			}
			if len(f.users) > 0 || len(f.banned) != c.left {
				t.Errorf("left behind: %d users, %d bans", len(f.users), len(f.banned))
			}
		})
	}
}
