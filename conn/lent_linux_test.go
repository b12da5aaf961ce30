//go:build !race

package conn

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestAllocVectors: to read into two buffers, and to write from two, leaves no garbage.
func TestAllocVectors(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	s := &fdSocket{fd: int32(fds[0]), poll: &epoller{in: make([]byte, readMax)}}
	r := &rest{bytes: []byte("head"), lent: lent{bytes: []byte("payload")}}
	space := make([]byte, 6)
	if n := testing.AllocsPerRun(100, func() {
		if n, err := r.write(fds[1]); n != r.len() || err != nil {
			t.Fatal(n, err)
		}
		if n, err := s.read(space); n != r.len() || err != nil || string(space) != "headpa" || string(s.poll.in[:5]) != "yload" {
			t.Fatalf("%d bytes, %v, %q", n, err, space)
		}
	}); n != 0 {
		t.Errorf("%v allocations for a read and a write", n)
	}
}
