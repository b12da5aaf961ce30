//go:build chaos && linux

package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

// This file is a power cut: the broker's data directory is on an ext4 of its own, in a
// file, which is forced down without its journal being flushed. What was not flushed by
// then is gone, as after a cut; a kill alone leaves it in the kernel's cache.

// outlet is that file system.
type outlet struct {
	t            *testing.T
	image, mount string
}

// plug makes one. It takes root and loop devices.
func plug(t *testing.T) supply {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("a power cut takes root: it mounts a file system of its own")
	}
	dir := testkit.TempDir(t)
	o := &outlet{t: t, image: filepath.Join(dir, "disk"), mount: filepath.Join(dir, "on")}
	f, err := os.Create(o.image)
	if err == nil {
		err = f.Truncate(2 << 30)
	}
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = os.Mkdir(o.mount, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	o.run("mkfs.ext4", "-q", "-F", o.image)
	o.on()
	t.Cleanup(func() { _ = exec.Command("umount", "-l", o.mount).Run() })
	return o
}

func (o *outlet) run(argv ...string) {
	o.t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		o.t.Fatalf("%v: %v\n%s", argv, err, out)
	}
}

func (o *outlet) on() { o.run("mount", "-o", "loop", o.image, o.mount) }

// What the kernel calls them: EXT4_IOC_SHUTDOWN, and the flag that leaves the journal
// as it is.
const (
	ext4Shutdown   = 0x8004587d
	ext4NoLogFlush = 2
)

func (o *outlet) dir() string { return o.mount }

// cut forces the file system down.
func (o *outlet) cut() {
	o.t.Helper()
	f, err := os.Open(o.mount)
	if err != nil {
		o.t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), ext4Shutdown, ext4NoLogFlush); err != nil {
		o.t.Fatalf("force %s down: %v", o.mount, err)
	}
}

// again mounts it anew, when nobody has it open any more.
func (o *outlet) again() {
	o.t.Helper()
	o.run("umount", o.mount)
	o.on()
}

// TestChaosPowerCut: the power goes under load, again and again; every message
// that was acknowledged is there.
func TestChaosPowerCut(t *testing.T) {
	for _, p := range []plan{
		{row: "R-03, QoS 1", qos: 1, publishers: 50, subscribers: 50, messages: 100_000, least: 20_000, kills: 20, power: plug, recovery: recoveryMax, budget: 60 * time.Second},
		{row: "R-03, QoS 2", qos: 2, publishers: 20, subscribers: 20, messages: 20_000, least: 5_000, kills: 10, power: plug, recovery: recoveryMax, budget: 30 * time.Second},
	} {
		t.Run(p.row, func(t *testing.T) { p.run(t).judge() })
	}
}
