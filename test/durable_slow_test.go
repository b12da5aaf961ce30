//go:build chaos && linux

package test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubtmq/redoubt/mqtt"
)

// blkio is where the kernel slows a device down for a group of processes.
const blkio = "/sys/fs/cgroup/blkio"

// slow lets the device below mount take one write in 500 ms from that process.
func slow(t *testing.T, mount string, pid int) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(mount, &st); err != nil {
		t.Fatal(err)
	}
	group := filepath.Join(blkio, fmt.Sprint("redoubt-slow-", pid))
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Fatalf("a slow disk takes root and the blkio controller of cgroup v1: %v", err)
	}
	t.Cleanup(func() { _ = os.Remove(group) })
	for name, text := range map[string]string{
		"blkio.throttle.write_iops_device": fmt.Sprintf("%d:%d 2", unix.Major(st.Dev), unix.Minor(st.Dev)),
		"cgroup.procs":                     strconv.Itoa(pid),
	} {
		if err := os.WriteFile(filepath.Join(group, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestChaosSlowDisk: each write takes half a second. What must be stored waits for it
// and is acknowledged; nobody else waits; and a power cut in the middle loses nothing of it.
func TestChaosSlowDisk(t *testing.T) {
	o := plug(t)
	k := newKillable(t, false, o)
	sub, _ := k.enter(mqtt.V5, "sub")
	sub.ask(1, mine("q/+"))
	live, _ := k.enter(mqtt.V5, "live", func(c *mqtt.Connect) { c.SessionExpiry = 0 })
	live.ask(1, mine("live"))
	other, _ := k.enter(mqtt.V5, "other", func(c *mqtt.Connect) { c.SessionExpiry = 0 })
	pub, _ := k.enter(mqtt.V5, "pub")
	pub.tell(mine("q/a"), "0", 1)
	slow(t, o.dir(), k.Pid())

	const messages = 12
	var acks, trips []time.Duration
	acked := 1
	for i := 1; i <= messages; i++ {
		begun := time.Now()
		m := mqtt.Publish{Topic: []byte(mine("q/a")), Payload: []byte(strconv.Itoa(i)), QoS: 1, PacketID: uint16(i)}
		pub.send(m.Append(nil, pub.v))
		for range 20 { // clean sessions, which have nothing to do with the disk
			sent := time.Now()
			if rc := other.tell(mine("live"), "x", 1); rc != mqtt.Success {
				t.Fatalf("QoS 1 to a clean session: %v", rc)
			}
			live.answer(mqtt.PUBACK, live.take().PacketID)
			trips = append(trips, time.Since(sent))
		}
		if i == messages {
			break // the power goes before this one is answered, or after it
		}
		pub.wantAck(mqtt.PUBACK, uint16(i))
		acked++
		acks = append(acks, time.Since(begun))
	}
	slices.Sort(acks)
	slices.Sort(trips)
	t.Logf("acknowledged after %v in the middle, %v at most; past the disk %v and %v", acks[len(acks)/2], acks[len(acks)-1], trips[len(trips)/2], trips[len(trips)-1])
	if acks[len(acks)/2] < 400*time.Millisecond {
		t.Errorf("invalid: the disk was not slow")
	}
	if worst := trips[len(trips)-1]; worst > 250*time.Millisecond {
		t.Errorf("who needs no disk waited for %v", worst)
	}
	k.kill()
	if took := k.again(); took > recoveryMax {
		t.Errorf("the start took %v", took)
	}
	sub = k.back(mqtt.V5, "sub")
	k.back(mqtt.V5, "pub")
	next := 0
	for next < acked {
		m := sub.take()
		sub.answer(mqtt.PUBACK, m.PacketID)
		switch n, _ := strconv.Atoi(string(m.Payload)); {
		case n > next:
			t.Fatalf("%d came, and %d never did", n, next)
		case n == next:
			next++
		}
	}
}
