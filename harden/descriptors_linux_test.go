package harden

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// Of our own process, what listens and what has no connections is found among the numbers as it is in
// the list of the kernel, and what has a connection is left out.
func TestOwnDescriptorsAreThoseThatTheKernelLists(t *testing.T) {
	four, port := listenRaw(t, syscall.AF_INET, 7)
	six, _ := listenRaw(t, syscall.AF_INET6, 7)
	want := map[uint64]bool{four: true, six: true}
	inode := func(network, at string) uint64 {
		t.Helper()
		var raw interface{ File() (*os.File, error) }
		switch network {
		case "udp":
			c, err := net.ListenPacket(network, at)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			raw = c.(*net.UDPConn)
		case "unix":
			l, err := net.Listen(network, at)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			raw = l.(*net.UnixListener)
		default:
			c, err := net.Dial(network, at)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			raw = c.(*net.TCPConn)
		}
		return inodeOf(t, raw)
	}
	want[inode("udp", "127.0.0.1:0")] = true
	want[inode("unix", filepath.Join(t.TempDir(), "s"))] = true
	client := inode("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
	e := &Env{}
	own, listed := e.ownDescriptors(), e.listedDescriptors(os.Getpid())
	if own.trouble != nil || listed.trouble != nil {
		t.Fatal(own.trouble, listed.trouble)
	}
	for n := range want {
		if !own.inodes[n] || !listed.inodes[n] {
			t.Errorf("socket %d: %v and %v", n, own.inodes[n], listed.inodes[n])
		}
	}
	if own.inodes[client] || !listed.inodes[client] {
		t.Error("a connection is kept")
	}
	for n := range own.inodes {
		if !listed.inodes[n] {
			t.Errorf("socket %d is not in the list", n)
		}
	}
	if d := listed.count - own.count; d < -5 || d > 5 { // the folder itself is one
		t.Errorf("%d and %d are open", own.count, listed.count)
	}
	if got := e.descriptors(os.Getpid()); got != e.descriptors(os.Getpid()) || got.inodes[client] || got.count == 0 {
		t.Errorf("%+v", got)
	}
}
