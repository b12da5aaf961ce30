package conn

import (
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/internal/testkit/talk"
	"github.com/redoubtmq/redoubt/mqtt"
)

// conformancePolicy is what clients of the scripts may do: everything, but for
// what begins with denied.
const conformancePolicy = `
version: 1
rules:
  - deny: all
    topics: ["denied/#"]
  - allow: all
    topics: ["#", "$x/#"]
`

// TestConformance plays the scripts of internal/testkit/talk against a broker of
// its own for each case, in every version the case is for, over both engines,
// TLS and WebSocket; where each connection costs a handshake, in the newest of
// these versions only. make conformance prints what they cover.
//
// Covers: MQTT-4.2-1 (5.0), MQTT-7.1.1-1 (3.1.1)
func TestConformance(t *testing.T) {
	native := func(secure bool) func(*testing.T, *talk.Case, talk.Version, []func(*rig)) {
		return func(t *testing.T, c *talk.Case, v talk.Version, change []func(*rig)) {
			if secure {
				converse(newRealRig(t, testCertificate(t), change...), c, v)
				return
			}
			converse(newRealRig(t, nil, change...), c, v)
		}
	}
	portable := func(t *testing.T, c *talk.Case, v talk.Version, change []func(*rig)) {
		synctest.Test(t, func(t *testing.T) { converse(newRig(t, change...), c, v) })
	}
	files := talk.Scripts(t)
	for at, way := range []struct {
		name   string
		newest bool // version only
		play   func(*testing.T, *talk.Case, talk.Version, []func(*rig))
		change []func(*rig)
	}{
		{"portable", false, portable, nil},
		{"native", false, native(false), nil},
		{"native TLS", true, native(true), nil},
		{"portable WebSocket", false, portable, []func(*rig){overWebSocket}},
		{"native WebSocket", true, native(false), []func(*rig){overWebSocket}},
		{"native WebSocket over TLS", true, native(true), []func(*rig){overWebSocket}},
	} {
		t.Run(way.name, func(t *testing.T) {
			n := 0 // cases, of all files
			for _, f := range files {
				t.Run(strings.TrimSuffix(f.Name, ".txt"), func(t *testing.T) {
					for _, c := range f.Cases {
						// With the detector each case is played in one of the ways, and each way
						// plays a sixth of them; without it all play all.
						if n++; testkit.Watched() && n%6 != at {
							continue
						}
						for i, v := range c.Versions {
							if way.newest && i < len(c.Versions)-1 {
								continue
							}
							t.Run(c.Test()+"/"+v.String(), func(t *testing.T) {
								way.play(t, c, v, append([]func(*rig){underWith(t, c)}, way.change...))
							})
						}
					}
				})
			}
		})
	}
}

// converse plays one case.
func converse(r *rig, c *talk.Case, v talk.Version) {
	r.t.Helper()
	talk.Run(r.t, c, v, &conversation{r})
}

// conversation is a rig as a talk.World.
type conversation struct{ r *rig }

func (w *conversation) Dial() net.Conn { return &heardConn{w.r.connection(), w.r} }

func (w *conversation) Go(f func())             { w.r.running(f) }
func (w *conversation) Settle()                 { w.r.settle() }
func (w *conversation) Advance(d time.Duration) { w.r.pass(d) }

func (w *conversation) Patience() time.Duration {
	if w.r.real == nil {
		return 0
	}
	return patience
}

// heardConn counts what clients read, so that settle sees it move.
type heardConn struct {
	net.Conn
	r *rig
}

func (c *heardConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.r.heard.Add(1)
	return n, err
}

// underWith applies the settings of a case.
func underWith(t *testing.T, c *talk.Case) func(*rig) {
	return func(r *rig) {
		r.policy = conformancePolicy
		r.set.Versions = []mqtt.Version{mqtt.V31, mqtt.V311, mqtt.V5}
		for name, value := range c.With {
			set, ok := withs[name]
			if !ok {
				t.Fatalf("%s:%d: the rig does not know the setting %s", c.File, c.Line, name)
			}
			set(r, value)
		}
	}
}

// withs are the settings a script may ask for, as talk.Settings lists them.
var withs = map[string]func(r *rig, value string){
	"max-qos":            func(r *rig, v string) { r.set.MaxQoS = mqtt.QoS(count(v)) },
	"retain":             func(r *rig, v string) { r.set.RetainAvailable = v != "off" },
	"wildcards":          func(r *rig, v string) { r.set.WildcardAvailable = v != "off" },
	"shared":             func(r *rig, v string) { r.set.SharedAvailable = v != "off" },
	"receive-maximum":    func(r *rig, v string) { r.sess.ReceiveMaximum = count(v) },
	"alias-maximum":      func(r *rig, v string) { r.sess.AliasInMax = count(v) },
	"packet-bytes":       func(r *rig, v string) { r.set.PacketBytes = count(v) },
	"client-id-bytes":    func(r *rig, v string) { r.set.ClientIDBytes = count(v) },
	"keep-alive-max":     func(r *rig, v string) { r.set.KeepAliveMax, r.set.KeepAliveMaxV3 = uint16(count(v)), uint16(count(v)) },
	"session-expiry-max": func(r *rig, v string) { r.set.SessionExpiryMax = uint32(count(v)) },
	"sessions":           func(r *rig, v string) { r.set.SessionsTotal = count(v) },
	"subscriptions":      func(r *rig, v string) { r.set.Subscriptions = count(v) },
	"topic-levels":       func(r *rig, v string) { r.set.TopicLevels = count(v) },
	"topic-bytes":        func(r *rig, v string) { r.set.TopicBytes = count(v) },
	"user-properties":    func(r *rig, v string) { r.set.UserProperties = count(v) },
	"inflight":           func(r *rig, v string) { r.sess.InflightMax = count(v) },
	"queue":              func(r *rig, v string) { r.sess.MqueueMessages = count(v) },
	"versions": func(r *rig, v string) {
		all := map[string]mqtt.Version{"v31": mqtt.V31, "v311": mqtt.V311, "v5": mqtt.V5}
		r.set.Versions = slices.DeleteFunc([]mqtt.Version{mqtt.V31, mqtt.V311, mqtt.V5}, func(one mqtt.Version) bool {
			return !slices.ContainsFunc(strings.Split(v, ","), func(name string) bool { return all[name] == one })
		})
	},
}

func TestScriptSettingsAreKnown(t *testing.T) {
	for name := range talk.Settings {
		if withs[name] == nil {
			t.Errorf("the rig does not know the setting %s", name)
		}
	}
}

func count(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic("a setting is not a number: " + s)
	}
	return n
}
