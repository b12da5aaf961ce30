//go:build chaos && linux

package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// smallDisk is a file system of so many MiB, in memory.
func smallDisk(t *testing.T, mib int) (mount string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("a small disk takes root: it mounts a file system of its own")
	}
	mount = testkit.TempDir(t)
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm,mode=700", mib), "tmpfs", mount).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v\n%s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", mount).Run() })
	return mount
}

// leave takes space until so many MiB are left.
func leave(t *testing.T, mount string, mib int64) (undo func()) {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(mount, &st); err != nil {
		t.Fatal(err)
	}
	take := int64(st.Bavail)*st.Bsize - mib<<20
	f, err := os.Create(filepath.Join(mount, fmt.Sprint("filler-", mib)))
	if err == nil {
		err = unix.Fallocate(int(f.Fd()), 0, 0, take)
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	return func() { _ = os.Remove(f.Name()) }
}

// TestChaosDiskFull: what must be stored is refused before the disk is full, all else
// goes on; when somebody else takes the rest too, the ballast goes; and with space again
// everything is as before, over a kill as well.
func TestChaosDiskFull(t *testing.T) {
	mount := smallDisk(t, 600)
	k := &killable{t: t, options: testkit.Options{Config: durableConfig, Port: steadyPort(t), ListenerTCP: steadyPort(t), DataDir: filepath.Join(mount, "data")}}
	k.Broker = testkit.Start(t, k.options)
	k.secret = k.generate()
	k.Stop()
	ballast := filepath.Join(k.DataDir, "store", "ballast")
	if err := os.WriteFile(ballast, make([]byte, 64<<20), 0o600); err != nil { // a process makes one after a minute
		t.Fatal(err)
	}
	k.Broker = testkit.Start(t, k.options)
	sub, _ := k.enter(mqtt.V5, "sub")
	sub.ask(1, mine("q/+"))
	live, _ := k.enter(mqtt.V5, "live", func(c *mqtt.Connect) { c.SessionExpiry = 0 })
	live.ask(0, mine("live"))
	pub, _ := k.enter(mqtt.V5, "pub")
	stored := 0
	expect := func(what string, want mqtt.ReasonCode, within time.Duration) {
		t.Helper()
		for until := time.Now().Add(within); ; <-time.After(100 * time.Millisecond) {
			rc := pub.tell(mine("q/a"), fmt.Sprint(stored), 1)
			if rc == mqtt.Success {
				if m := sub.take(); string(m.Payload) != fmt.Sprint(stored) {
					t.Fatalf("%s: %q came, want %d", what, m.Payload, stored)
				} else {
					sub.answer(mqtt.PUBACK, m.PacketID)
				}
				stored++
			}
			if rc == want {
				return
			}
			if time.Now().After(until) {
				t.Fatalf("%s: %v, want %v; %+v\n%s", what, rc, want, k.store(), k.Log())
			}
		}
	}
	goesOn := func(what string) {
		t.Helper()
		if rc := pub.tell(mine("live"), what, 0); rc != mqtt.Success {
			t.Errorf("%s: QoS 0: %v", what, rc)
		}
		if m := live.take(); string(m.Payload) != what {
			t.Errorf("%s: %q came", what, m.Payload)
		}
	}
	expect("with space", mqtt.Success, time.Second)

	free := leave(t, mount, 80)
	expect("with 80 MiB", mqtt.QuotaExceeded, 10*time.Second)
	goesOn("with 80 MiB")
	if s := k.store(); !strings.Contains(s.Refuses, "nearly full") {
		t.Errorf("status says %q", s.Refuses)
	}
	other, _ := k.enter(mqtt.V5, "other") // a session that is kept: it is in the log
	if rc := other.ask(1, mine("q/other")); len(rc) != 1 || rc[0].Failed() {
		t.Errorf("with 80 MiB: SUBACK %v", rc)
	}
	free()
	expect("with space again", mqtt.Success, 10*time.Second)

	all := []func(){leave(t, mount, 4)}
	for until := time.Now().Add(15 * time.Second); ; <-time.After(100 * time.Millisecond) {
		if _, err := os.Stat(ballast); os.IsNotExist(err) {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("the ballast is there\n%s", k.Log())
		}
	}
	expect("without ballast", mqtt.QuotaExceeded, 10*time.Second)
	goesOn("without ballast")
	all = append(all, leave(t, mount, 0))
	expect("with nothing", mqtt.QuotaExceeded, 10*time.Second)
	goesOn("with nothing")
	k.kill()
	for _, undo := range all {
		undo()
	}
	k.again()
	sub, live, pub = k.back(mqtt.V5, "sub"), nil, k.back(mqtt.V5, "pub")
	k.back(mqtt.V5, "other")
	if rc := pub.tell(mine("q/a"), "end", 1); rc != mqtt.Success {
		t.Fatalf("%v\n%s", rc, k.Log())
	}
	for {
		m := sub.take()
		sub.answer(mqtt.PUBACK, m.PacketID)
		if string(m.Payload) == "end" {
			break
		}
		n := 0 // what was acknowledged last may come again
		if _, err := fmt.Sscan(string(m.Payload), &n); err != nil || n >= stored {
			t.Errorf("%q came", m.Payload)
		}
	}
}
