package harden

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// listenRaw listens with a backlog of its own.
func listenRaw(t *testing.T, family, backlog int) (inode uint64, port uint16) {
	t.Helper()
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	var at syscall.Sockaddr = &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if family == syscall.AF_INET6 {
		at = &syscall.SockaddrInet6{Addr: [16]byte(net.IPv6loopback)}
	}
	if err := errors.Join(syscall.Bind(fd, at), syscall.Listen(fd, backlog)); err != nil {
		t.Fatal(err)
	}
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	bound, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	switch a := bound.(type) {
	case *syscall.SockaddrInet4:
		port = uint16(a.Port)
	case *syscall.SockaddrInet6:
		port = uint16(a.Port)
	}
	return st.Ino, port
}

// What the kernel answers is what listen(2) was told, in both families, and ss reads
// the same. Connections that find the queue full are counted at the socket.
func TestListeningIsWhatTheKernelSays(t *testing.T) {
	for family, host := range map[int]string{syscall.AF_INET: "127.0.0.1", syscall.AF_INET6: "::1"} {
		inode, port := listenRaw(t, family, 77)
		all, err := thisHost{}.Listening()
		if err != nil {
			t.Fatal(err)
		}
		l := find(all, inode)
		if l == nil || l.Backlog != 77 || l.Waiting != 0 || !l.Counted || l.Dropped != 0 || l.Addr != netip.AddrPortFrom(netip.MustParseAddr(host), port) {
			t.Errorf("%+v", l)
		}
		out, err := exec.Command("ss", "-Hltn", fmt.Sprintf("sport = :%d", port)).Output()
		if errors.Is(err, exec.ErrNotFound) {
			continue
		}
		if f := strings.Fields(string(out)); err != nil || len(f) < 4 || f[2] != "77" {
			t.Errorf("ss says %q, %v", out, err)
		}
	}
	inode, port := listenRaw(t, syscall.AF_INET, 1)
	for range 8 { // nobody accepts: the kernel keeps backlog + 1 of them, and loses others
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer syscall.Close(fd)
		_ = syscall.Connect(fd, &syscall.SockaddrInet4{Port: int(port), Addr: [4]byte{127, 0, 0, 1}}) // in progress
	}
	all, err := thisHost{}.Listening()
	if l := find(all, inode); err != nil || l == nil || l.Waiting != 2 || l.Dropped == 0 {
		t.Errorf("%+v, %v", l, err)
	}
}

// No answer of the kernel, whole or cut, does harm; and what is no answer is none.
func TestAnswersOfSockDiagThatAreCut(t *testing.T) {
	whole := make([]byte, unix.SizeofNlMsghdr+diagMessageBytes+4+4*(diagMemDrops+1))
	put := func(at int, v uint32) {
		for i := range 4 {
			whole[at+i] = byte(v >> (8 * i)) // the tests run on little-endian machines
		}
	}
	put(0, uint32(len(whole)))
	put(4, unix.SOCK_DIAG_BY_FAMILY)
	whole[16] = unix.AF_INET
	put(16+60, 77)
	put(16+72, uint32(diagMemInfo<<16|(4+4*(diagMemDrops+1))))
	put(16+72+4+4*diagMemDrops, 5)
	got, done, err := parseDiag(whole)
	if err != nil || done || len(got) != 1 || got[0].Backlog != 77 || got[0].Dropped != 5 || !got[0].Counted {
		t.Fatalf("%+v, %v, %v", got, done, err)
	}
	for n := range whole {
		if got, _, err := parseDiag(whole[:n]); err == nil && len(got) > 0 {
			t.Errorf("%d of %d bytes: %+v", n, len(whole), got)
		}
		odd := append([]byte(nil), whole...)
		odd[n] = 0xff
		_, _, _ = parseDiag(odd) // does not panic
		odd[n] = 0
		_, _, _ = parseDiag(odd)
	}
	refused := make([]byte, 20)
	refused[0], refused[4] = 20, unix.NLMSG_ERROR
	refused[16], refused[17], refused[18], refused[19] = 0xff, 0xff, 0xff, 0xff // -EPERM
	if _, _, err := parseDiag(refused); !errors.Is(err, syscall.EPERM) {
		t.Errorf("%v", err)
	}
}

// This machine answers, or says why not; a program that is not there is an error.
func TestThisHostAnswers(t *testing.T) {
	if c, err := (thisHost{}).Clock(); err == nil && c.MaxErrorMicros < 0 || err != nil && !errors.Is(err, syscall.EPERM) {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := helper(t.Context(), []string{"/nowhere/ss", "/nowhere/else"}); err == nil || !strings.Contains(err.Error(), "not installed") {
		t.Errorf("%v", err)
	}
	if out, err := helper(t.Context(), []string{"/nowhere/true", "/bin/echo", "/usr/bin/false"}, "a"); err != nil || string(out) != "a\n" {
		t.Errorf("%q, %v", out, err)
	}
	unit, err := thisHost{}.Unit(t.Context(), "nobody-has-this.service", "LoadState", "MainPID")
	if err == nil && (unit["LoadState"] == "loaded" || unit["MainPID"] != "" && unit["MainPID"] != "0") {
		t.Errorf("%v", unit)
	}
	e := &Env{}
	for _, name := range []string{"fs.nr_open", "fs.file-max", "net.core.somaxconn"} {
		want, err := exec.Command("sysctl", "-n", name).Output()
		if errors.Is(err, exec.ErrNotFound) {
			continue
		}
		got, readErr := e.sysctl(name)
		if err := errors.Join(err, readErr); err != nil || fmt.Sprint(got) != strings.TrimSpace(string(want)) {
			t.Errorf("%s: %d, sysctl says %s, %v", name, got, want, err)
		}
	}
	if b, err := os.ReadFile("/proc/self/limits"); err == nil {
		var l syscall.Rlimit
		_ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l)
		if soft, hard, err := limitOf(b, "Max open files"); err != nil || uint64(soft) != l.Cur || uint64(hard) != l.Max {
			t.Errorf("%d and %d, %v; getrlimit says %+v", soft, hard, err, l)
		}
	}
}
