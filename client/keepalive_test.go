package client

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubtmq/redoubt/client/internal/fake"
	"github.com/redoubtmq/redoubt/mqtt"
)

// pings counts PINGREQ and answers it while answer is true.
func pings(n *int, answer bool) func(*fake.Conn) {
	return func(c *fake.Conn) {
		for {
			p, err := c.Next()
			if err != nil {
				return
			}
			if p.Type == mqtt.PINGREQ {
				if *n++; answer {
					c.Send(mqtt.AppendPingresp(nil))
				}
			}
		}
	}
}

func TestKeepAlivePingsAnIdleConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		o := DefaultOptions()
		o.Connect.KeepAlive = 8
		c := piped(t, o, mqtt.Connack{AssignedClientID: "a"}, pings(&n, true))
		time.Sleep(17 * time.Second) // fake.Conn waits 20 s for a byte: less
		synctest.Wait()
		if n < 2 || n > 3 {
			t.Errorf("%d pings in 17 s with a keep alive of 8 s, want 2 or 3", n)
		}
		if err := c.Err(); err != nil {
			t.Errorf("the connection ended: %v", err)
		}
		c.Close()
	})
}

func TestKeepAliveIsTheServersIfItSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		c := piped(t, DefaultOptions(), mqtt.Connack{AssignedClientID: "a", ServerKeepAlive: new(uint16(2))}, pings(&n, true))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n < 4 {
			t.Errorf("%d pings in 10 s, want one for every 2 s", n)
		}
		c.Close()
	})
}

func TestKeepAliveFindsADeadConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		o := DefaultOptions()
		o.Connect.KeepAlive = 4
		c := piped(t, o, mqtt.Connack{AssignedClientID: "a"}, pings(&n, false))
		began := time.Now()
		<-c.Done()
		if took := time.Since(began); took > 9*time.Second {
			t.Errorf("took %s to notice, with a keep alive of 4 s", took)
		}
		e := wantKind(t, c.Err(), KindClosed)
		if !strings.Contains(e.What, "has not answered for 4s") {
			t.Errorf("says %q", e.What)
		}
		c.Close()
	})
}

func TestKeepAliveZeroPingsNever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		o := DefaultOptions()
		o.Connect.KeepAlive = 0
		c := piped(t, o, mqtt.Connack{AssignedClientID: "a"}, pings(&n, true))
		time.Sleep(15 * time.Second)
		synctest.Wait()
		if n != 0 || c.Err() != nil {
			t.Errorf("%d pings, error %v", n, c.Err())
		}
		c.Close()
	})
}

// A program that is slow to take its messages stops the reading, and PINGRESP
// with it. That is no dead connection.
func TestKeepAliveForgivesOurOwnFullInbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := DefaultOptions()
		o.Connect.KeepAlive, o.Receive = 4, true
		c := piped(t, o, mqtt.Connack{AssignedClientID: "a"}, func(c *fake.Conn) {
			go func() { // the pipe has no buffer: write while the client does not read
				for range inboxMessagesMax + 10 {
					c.SendPublish(mqtt.Publish{Topic: []byte("t")})
				}
				c.Send(mqtt.AppendPingresp(nil))
			}()
			c.Drain()
		})
		time.Sleep(15 * time.Second)
		synctest.Wait()
		if err := c.Err(); err != nil {
			t.Fatalf("the connection ended: %v", err)
		}
		for i := range inboxMessagesMax + 10 {
			if _, err := c.Next(t.Context()); err != nil {
				t.Fatalf("message %d: %v", i, err)
			}
		}
		c.Close()
	})
}
