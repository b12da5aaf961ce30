package conn

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
)

// Of many connections at once, on two loops, one has the session and the others are told
// no, each with a reference by which the operator finds why: they have proved who they are, and
// what is kept of them is not among that of strangers. Of one identity as many are in as there
// may be (A047, A059).
func TestNewcomersAtOnce(t *testing.T) {
	play(t, func(r *rig) {
		const clients, most = 40, 5
		check := r.bystander()
		// storm answers how many are in. The reference that each of the others is told finds because.
		storm := func(id func(i int) string, because string) (in int) {
			var wg sync.WaitGroup
			conns := make([]*client, clients)
			for i := range conns {
				c := r.dial(mqtt.V5, fmt.Sprint(i))
				conns[i] = c
				connect := mqtt.Connect{Version: mqtt.V5, ClientID: id(i), Username: "alice", HasUsername: true, HasPassword: true, Password: []byte("pw-alice"), ReceiveMaximum: 10, KeepAlive: 60, RequestProblemInformation: true}
				wg.Go(func() { _, _ = c.nc.Write(connect.Append(nil, mqtt.V5, 0)) })
			}
			wg.Wait()
			for _, c := range conns {
				var ack mqtt.Connack
				got := c.expect(mqtt.CONNACK)
				if err := mqtt.DecodeConnack(got.body, got.h, mqtt.V5, mqtt.Limits{UserProperties: -1}, &ack); err != nil {
					t.Fatal(err)
				}
				switch ack.Reason {
				case mqtt.Success:
					in++
				case mqtt.QuotaExceeded:
					_, text, _ := strings.Cut(ack.ReasonString, " ref ")
					ref, err := audit.ParseRef(text)
					if err != nil {
						t.Errorf("told %q", ack.ReasonString)
					}
					if is := r.broker.Log().Recent().List(audit.Wanted{Ref: ref}, 1); len(is) != 1 || is[0].Identity != "alice" || !strings.Contains(is[0].Why, because) {
						t.Errorf("ref %v finds %+v", ref, is)
					}
				default:
					t.Error(ack.Reason)
				}
			}
			return in
		}
		if in := storm(func(int) string { return "one" }, "limits.same_client"); in != 1 || r.metrics.Value(metrics.SessionsTakenOver) != 0 {
			t.Errorf("%d have the session, %d takeovers", in, r.metrics.Value(metrics.SessionsTakenOver))
		}
		if in := storm(func(i int) string { return fmt.Sprint("many", i) }, "limits.connections_per_identity"); in != most-1 { // beside the one from before
			t.Errorf("%d more are in", in)
		}
		check()
	}, func(r *rig) { r.set.Newcomers.Refuse, r.set.Newcomers.Most = true, 5 })
}

// A version 3 client is told what it may come again after.
func TestNewcomerOfVersion3(t *testing.T) {
	playTCP(t, func(r *rig) {
		r.connect(mqtt.V311, "alice/c")
		if _, ack := r.tryConnect(mqtt.V311, "alice/c"); ack.Reason != mqtt.ServerUnavailable {
			t.Errorf("told %v", ack.Reason)
		}
	}, func(r *rig) { r.set.Newcomers.Refuse = true })
}
