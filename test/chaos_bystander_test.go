//go:build chaos

package test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// bystanding tells TestBystander which broker it is a client of.
const bystanding = "REDOUBT_BYSTANDING"

// bystanders are a publisher and its subscriber in a process of their own. In the one
// that floods they would wait for thousands of goroutines of the flood's clients to be
// scheduled, and that is what would be measured.
type bystanders struct {
	t       testing.TB
	pid     int
	asks    *json.Encoder // how long to look
	answers *json.Decoder // what each round trip took, sorted
}

// standBy starts the bystanders of b. They end with the test.
func standBy(t testing.TB, b *testkit.Broker) *bystanders {
	t.Helper()
	about, err := json.Marshal(testkit.Broker{Port: b.Port, DataDir: b.DataDir})
	if err != nil {
		t.Fatal(err)
	}
	asked, asks, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	answers, answered, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(os.Args[0], "-test.run=^TestBystander$")
	c.Env = append(os.Environ(), bystanding+"="+string(about))
	c.Stdin, c.Stderr, c.ExtraFiles = asked, os.Stderr, []*os.File{answered}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = asked.Close(), answered.Close()
	t.Cleanup(func() {
		_ = asks.Close()
		_ = c.Wait()
		_ = answers.Close()
	})
	return &bystanders{t: t, pid: c.Process.Pid, asks: json.NewEncoder(asks), answers: json.NewDecoder(answers)}
}

// roundTrips publishes at QoS 1 for a while; each figure is the time until the
// message and its acknowledgement have both come.
func (p *bystanders) roundTrips(d time.Duration) (sorted []time.Duration) {
	if err := p.asks.Encode(d); err != nil {
		p.t.Errorf("the bystanders are gone: %v", err)
	}
	if err := p.answers.Decode(&sorted); err != nil || len(sorted) == 0 {
		p.t.Errorf("the bystanders have not answered: %v", err)
		return []time.Duration{time.Hour}
	}
	return sorted
}

// TestBystander is the process of the bystanders: one line for each that it is asked. By
// itself it starts one and asks.
func TestBystander(t *testing.T) {
	about := os.Getenv(bystanding)
	if about == "" {
		standBy(t, start(t, testkit.Options{})).roundTrips(10 * chaosEvery)
		return
	}
	var b testkit.Broker
	if err := json.Unmarshal([]byte(about), &b); err != nil {
		t.Fatal(err)
	}
	pub, sub := connectAs(t, &b, user, password, "pub"), connectAs(t, &b, user, password, "sub")
	sub.subscribeTo("devices/"+user+"/x", 1)
	answers, id := json.NewEncoder(os.NewFile(3, "answers")), uint16(0)
	for asked := json.NewDecoder(os.Stdin); ; {
		var d time.Duration
		if err := asked.Decode(&d); err != nil {
			return // they are not needed any more
		}
		var took []time.Duration
		pace := time.NewTicker(chaosEvery)
		for end := time.Now().Add(d); time.Now().Before(end); <-pace.C {
			id = id%60_000 + 1
			took = append(took, roundTrip(t, pub, sub, id))
		}
		pace.Stop()
		slices.Sort(took)
		if err := answers.Encode(took); err != nil {
			t.Fatal(err)
		}
	}
}

// roundTrip is one message from pub to sub and its acknowledgement.
func roundTrip(t *testing.T, pub, sub *wire, id uint16) time.Duration {
	m := mqtt.Publish{Topic: []byte("devices/" + user + "/x"), Payload: []byte("ping"), QoS: 1, PacketID: id}
	begun := time.Now()
	pub.send(m.Append(nil, mqtt.V5))
	got := sub.want(mqtt.PUBLISH)
	pub.want(mqtt.PUBACK)
	took := time.Since(begun)
	var in mqtt.Publish
	if err := mqtt.DecodePublishClient(got.Body, got.Header, mqtt.V5, mqtt.Limits{}, &in); err != nil {
		t.Fatal(err)
	}
	if string(in.Payload) != "ping" {
		t.Fatal(fmt.Sprintf("a bystander has got what is not its own: %.40q", in.Payload))
	}
	sub.send((&mqtt.Ack{Type: mqtt.PUBACK, PacketID: in.PacketID}).Append(nil, mqtt.V5, 0))
	return took
}
