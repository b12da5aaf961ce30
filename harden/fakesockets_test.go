package harden

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// fakeSockets are what it listens on.
type fakeSockets struct {
	listeners []ListenerReport
	inodes    []uint64
	addrs     []string          // of what listens, in the order it was opened
	tables    map[string]string // lines by name, as the kernel has them in net of /proc; see alone
}

// alone makes e see the sockets of f and no others of this process, so that
// tests can run beside each other. They are in tables of their own: the kernel's have a line
// for each connection that tests have ended within the last minute, and are for those tests that
// see every socket of this process.
func (f *fake) alone(e *Env) *Env {
	f.t.Helper()
	e.Proc = f.t.TempDir()
	own := filepath.Join(e.Proc, fmt.Sprint(os.Getpid()))
	for _, dir := range []string{"fd", "net"} {
		if err := os.MkdirAll(filepath.Join(own, dir), 0o755); err != nil {
			f.t.Fatal(err)
		}
	}
	for link, to := range map[string]string{filepath.Join(own, "ns"): "/proc/self/ns", filepath.Join(e.Proc, "self"): "/proc/self"} {
		if err := os.Symlink(to, link); err != nil {
			f.t.Fatal(err)
		}
	}
	for name, head := range map[string]string{"tcp": inetHead, "tcp6": inetHead, "udp": inetHead, "udp6": inetHead, "unix": "Num       RefCount Protocol Flags    Type St Inode Path\n"} {
		if err := os.WriteFile(filepath.Join(own, "net", name), []byte(head+f.tables[name]), 0o600); err != nil {
			f.t.Fatal(err)
		}
	}
	f.status = filepath.Join(own, "status")
	f.grow(0)
	for i, n := range f.inodes {
		if err := os.Symlink(fmt.Sprintf("socket:[%d]", n), filepath.Join(own, "fd", fmt.Sprint(i))); err != nil {
			f.t.Fatal(err)
		}
	}
	return e
}

// inetHead begins a table of sockets of TCP or UDP.
const inetHead = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"

// held is a socket that is a descriptor.
type held interface{ File() (*os.File, error) }

// opened writes down that f has a socket: its descriptor, and its line in the table it is in.
func (f *fake) opened(s held) {
	f.t.Helper()
	inode := inodeOf(f.t, s)
	f.inodes = append(f.inodes, inode)
	table, state := "tcp", "0A"
	var at netip.AddrPort
	switch s := s.(type) {
	case *net.UnixListener:
		f.tables["unix"] += fmt.Sprintf("0000000000000000: 00000002 00000000 00010000 0001 01 %d %s\n", inode, s.Addr())
		return
	case *net.UDPConn:
		table, state, at = "udp", "07", s.LocalAddr().(*net.UDPAddr).AddrPort()
	case *net.TCPListener:
		at = s.Addr().(*net.TCPAddr).AddrPort()
	default:
		f.t.Fatalf("%T is in no table", s)
	}
	words := at.Addr().Unmap().AsSlice()
	if len(words) > 4 {
		table += "6"
	}
	addr := ""
	for i := 0; i < len(words); i += 4 { // the kernel prints each as a number of this machine
		addr += fmt.Sprintf("%08X", binary.NativeEndian.Uint32(words[i:]))
	}
	f.tables[table] += fmt.Sprintf("   0: %s:%04X %s:0000 %s 00000000:00000000 00:00000000 00000000     0        0 %d 1 x\n", addr, at.Port(), strings.Repeat("0", len(addr)), state, inode)
}

func inodeOf(t *testing.T, l held) uint64 {
	t.Helper()
	file, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fi, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return fi.Sys().(*syscall.Stat_t).Ino
}
