//go:build !race

package test

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// Those who are there before the squeeze, and must not notice.

// sleep leaves sessions behind with a full queue each.
func (q *squeeze) sleep() {
	t := q.t
	if q.sleepers == 0 {
		return
	}
	begun := time.Now()
	var wg sync.WaitGroup
	slots := make(chan struct{}, 32)
	for i := range q.sleepers {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			conn, in, rc, err := q.client(fmt.Sprint("sleeper-", i), 10+i%50, q.asOther, func(c *mqtt.Connect) { c.CleanStart, c.SessionExpiry = false, 3600 })
			if err != nil || rc != 0 {
				t.Errorf("sleeper %d: %v %v", i, rc, err)
				return
			}
			if err := subscribeTo(conn, in, mqtt.Subscription{Filter: "devices/" + other + "/all", QoS: 1}); err != nil {
				t.Errorf("sleeper %d: %v", i, err)
			}
			_, _ = conn.Write([]byte{0xE0, 0})
			_ = conn.Close()
		})
	}
	wg.Wait()
	here := time.Since(begun)
	conn, in, rc, err := q.client("for-all", 9, q.asOther)
	if err != nil || rc != 0 {
		t.Fatal(rc, err)
	}
	defer conn.Close()
	for i := range queueOfOne {
		if _, err := conn.Write(loadOf("devices/"+other+"/all", make([]byte, 64), 1, uint16(i+1))); err != nil {
			t.Fatal(err)
		}
		if h, body, err := readPacket(in); err != nil || h.Type != mqtt.PUBACK || len(body) > 2 && body[2] >= 0x80 {
			t.Fatalf("message %d: %v % x %v", i, h.Type, body, err)
		}
	}
	t.Logf("%d sessions after %v, %d messages for each of them after %v: %d MiB", q.sleepers, here, queueOfOne, time.Since(begun), private(t, q.b)>>20)
}

// wake lets some of those come back who were away for all of it.
func (q *squeeze) wake() {
	for i := 0; i < q.sleepers; i += max(1, q.sleepers/10) {
		conn, in, rc, err := q.client(fmt.Sprint("sleeper-", i), 10+i%50, q.asOther, func(c *mqtt.Connect) { c.CleanStart, c.SessionExpiry = false, 3600 })
		if err != nil || rc != 0 {
			q.t.Fatal(rc, err)
		}
		for n := range queueOfOne {
			h, body, err := readPacket(in)
			var p mqtt.Publish
			if err == nil && h.Type == mqtt.PUBLISH {
				err = mqtt.DecodePublishClient(body, h, mqtt.V5, mqtt.Limits{}, &p)
			}
			if err == nil {
				_, err = conn.Write((&mqtt.Ack{Type: mqtt.PUBACK, PacketID: p.PacketID}).Append(nil, mqtt.V5, 0))
			}
			if err != nil || h.Type != mqtt.PUBLISH {
				q.t.Fatalf("sleeper %d, message %d: %v % x %v", i, n, h.Type, body, err)
			}
		}
		_ = conn.Close()
	}
}

// queueOfOne is limits.mqueue_messages.
const queueOfOne = 1000

// settle lets the devices come, waits until what their arrival took was given back, and
// lets each say every three seconds that it is there. The answer ends that, and fails the
// test for those who were not kept.
func (q *squeeze) settle() (done func()) {
	t := q.t
	if q.devices == 0 {
		return func() {}
	}
	all := arrive(t, q.b, q.generated, q.port, q.devices, 0)
	if _, ok := q.b.Stderr.WaitFor(comesBack, q.b.Stderr.Len(), "given back"); !ok {
		t.Fatal("what the devices' arrival took is not given back")
	}
	lost := make([]error, len(all))
	var pinging sync.WaitGroup
	pinging.Go(func() {
		answer := make([]byte, 2)
		for {
			for i, conn := range all {
				if i%100 == 0 {
					select {
					case <-q.stop:
						return
					case <-time.After(3 * time.Second * 100 / time.Duration(len(all))):
					}
				}
				if lost[i] != nil {
					continue
				}
				_ = conn.SetDeadline(time.Now().Add(patience))
				if _, lost[i] = conn.Write([]byte{0xC0, 0}); lost[i] == nil {
					_, lost[i] = io.ReadFull(conn, answer)
				}
			}
		}
	})
	return func() {
		pinging.Wait()
		gone, last := 0, error(nil)
		for i, conn := range all {
			if lost[i] != nil {
				gone, last = gone+1, lost[i]
			}
			_ = conn.Close()
		}
		if gone > 0 {
			t.Errorf("%d of %d devices were not kept: %v", gone, len(all), last)
		}
	}
}
