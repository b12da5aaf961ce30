package test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// storeLine is what `redoubt status -o json` says of the store.
type storeLine struct {
	Bytes, MaxBytes int64
	First, Last     uint64
	Rescued         int64
	Refuses         string
}

func (k *killable) store() storeLine {
	k.t.Helper()
	r := k.Redoubt("", "status", "-o", "json")
	var s struct {
		Store struct {
			Bytes    int64  `json:"bytes"`
			MaxBytes int64  `json:"max_bytes"`
			First    uint64 `json:"first"`
			Last     uint64 `json:"last"`
			Rescued  int64  `json:"rescued_messages"`
			Refuses  string `json:"refuses"`
		} `json:"store"`
	}
	if err := json.Unmarshal([]byte(r.Stdout), &s); err != nil {
		k.t.Fatalf("status: exit code %d, %v\n%s", r.Code, err, r.Text())
	}
	return storeLine(s.Store)
}

// TestRescuedMessagesSurviveKills: one session is away with 100 messages waiting, the broker
// is busy for others, and its log becomes larger than it may: the oldest of it goes. All of
// the 100 come, in order, and after kills.
func TestRescuedMessagesSurviveKills(t *testing.T) {
	t.Parallel() // each waits for the disk most of the time
	const waiting = 100
	k := &killable{t: t, options: testkit.Options{Config: durableConfig + "store:\n  max_bytes: 64MiB\n  segment_bytes: 1MiB\n", Port: steadyPort(t), ListenerTCP: steadyPort(t)}}
	k.Broker = testkit.Start(t, k.options)
	k.options.DataDir, k.secret = k.DataDir, k.generate()
	away, _ := k.enter(mqtt.V5, "away", func(c *mqtt.Connect) { c.SessionExpiry = 7 * 24 * 3600 })
	away.ask(1, mine("for/away"))
	away.leave()
	busy, _ := k.enter(mqtt.V5, "busy")
	busy.ask(1, mine("busy"))
	pub, _ := k.enter(mqtt.V5, "pub")

	var want []string
	for n := range waiting {
		want = append(want, fmt.Sprint("m", n))
		if rc := pub.tell(mine("for/away"), want[n], 1); rc.Failed() {
			t.Fatal(rc)
		}
	}
	pinned := k.store().Last
	large := strings.Repeat("x", 900<<10) // few writes, each of which waits for the disk
	for until := time.Now().Add(patience); k.store().First <= pinned; {
		if time.Now().After(until) {
			t.Fatalf("the log was not trimmed: %+v\n%s", k.store(), k.Log())
		}
		for range 11 { // 10 MiB
			if rc := pub.tell(mine("busy"), large, 1); rc == mqtt.QuotaExceeded { // it is faster than the store is tidied
				<-time.After(100 * time.Millisecond)
				continue
			} else if rc.Failed() {
				t.Fatal(rc)
			}
			if s := busy.take(); len(s.Payload) != len(large) {
				t.Fatalf("%d bytes came", len(s.Payload))
			} else {
				busy.answer(mqtt.PUBACK, s.PacketID)
			}
		}
	}
	s := k.store()
	if s.Rescued != waiting {
		t.Errorf("%+v", s)
	}
	for _, line := range []string{"rescued", "store index", "store writes", "oldest wanted"} {
		if text := k.Redoubt("", "status").Stdout; !strings.Contains(text, line) {
			t.Errorf("status does not say %q:\n%s", line, text)
		}
	}

	k.restart()
	k.options.Repeats = true
	k.restart()
	away = k.back(mqtt.V5, "away")
	var got []string
	for range waiting {
		m := away.take()
		got = append(got, string(m.Payload))
		away.answer(mqtt.PUBACK, m.PacketID)
	}
	if !slices.Equal(got, want) {
		t.Errorf("received %v", got)
	}
	k.restart()
	if rc := k.back(mqtt.V5, "pub").tell(mine("for/away"), "end", 1); rc.Failed() {
		t.Fatal(rc)
	}
	away = k.back(mqtt.V5, "away")
	for {
		m := away.take()
		if string(m.Payload) == "end" {
			break
		}
		if !slices.Contains(want, string(m.Payload)) { // a crash may repeat what it had acknowledged last
			t.Errorf("%s came", m.Payload)
		}
		away.answer(mqtt.PUBACK, m.PacketID)
	}
}

// TestAFullStoreRefusesAndRecovers: all that is stored is wanted by somebody who is away, so
// that nothing can go. At store.max_bytes publishes are refused; nothing that was
// acknowledged is lost; and when the client has come for it, publishes are stored again.
func TestAFullStoreRefusesAndRecovers(t *testing.T) {
	t.Parallel() // each waits for the disk most of the time
	k := &killable{t: t, options: testkit.Options{Config: durableConfig + "store:\n  max_bytes: 64MiB\n  segment_bytes: 1MiB\n", Port: steadyPort(t), ListenerTCP: steadyPort(t)}}
	k.Broker = testkit.Start(t, k.options)
	k.options.DataDir, k.secret = k.DataDir, k.generate()
	away, _ := k.enter(mqtt.V5, "away")
	away.ask(1, mine("q"))
	away.leave()
	pub, _ := k.enter(mqtt.V5, "pub")
	large, stored := strings.Repeat("x", 500<<10), 0
	for until := time.Now().Add(patience); ; {
		if rc := pub.tell(mine("q"), fmt.Sprint(stored, " ", large), 1); rc == mqtt.QuotaExceeded {
			break
		} else if rc.Failed() || time.Now().After(until) {
			t.Fatalf("message %d: %v, %+v\n%s", stored, rc, k.store(), k.Log())
		}
		stored++
	}
	if s := k.store(); s.Bytes > s.MaxBytes+s.MaxBytes/10 || stored < 100 {
		t.Errorf("%d messages are stored, %+v", stored, s)
	}
	k.restart()
	away = k.back(mqtt.V5, "away")
	for n := range stored {
		m := away.take()
		if number, _, _ := strings.Cut(string(m.Payload), " "); number != fmt.Sprint(n) || len(m.Payload) < len(large) {
			t.Fatalf("message %d is %s with %d bytes", n, number, len(m.Payload))
		}
		away.answer(mqtt.PUBACK, m.PacketID)
	}
	pub = k.back(mqtt.V5, "pub")
	for until := time.Now().Add(patience); ; <-time.After(50 * time.Millisecond) {
		if rc := pub.tell(mine("q"), "again", 1); rc == mqtt.Success {
			break
		} else if rc != mqtt.QuotaExceeded || time.Now().After(until) {
			t.Fatalf("%v, %+v\n%s", rc, k.store(), k.Log())
		}
	}
	for {
		if m := away.take(); string(m.Payload) == "again" {
			break
		}
	}
	for until := time.Now().Add(patience); ; <-time.After(time.Second) { // what nobody wants goes with the next tidying
		if s := k.store(); s.Rescued == 0 && s.Refuses == "" {
			break
		} else if time.Now().After(until) {
			t.Fatalf("%+v\n%s", s, k.Log())
		}
	}
}
