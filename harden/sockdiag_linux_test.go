package harden

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// told is a machine whose kernel tells of listening sockets what a test says.
type told struct {
	thisHost
	all []Listening
	err error
}

// Listening implements Host.
func (h told) Listening() ([]Listening, error) { return h.all, h.err }

// tables are the listening TCP sockets of our own network as its tables have them.
func tables(t *testing.T) map[socket]bool {
	t.Helper()
	out := map[socket]bool{}
	for _, file := range []string{"tcp", "tcp6"} {
		found, err := (&Env{}).inetTable(os.Getpid(), file, "tcp", "0A")
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range found {
			out[s] = true
		}
	}
	return out
}

// What the kernel tells of listening sockets is what its tables have, in both families, and is
// asked for once.
func TestTheKernelTellsWhatItsTablesHave(t *testing.T) {
	four, _ := listenRaw(t, syscall.AF_INET, 7)
	six, _ := listenRaw(t, syscall.AF_INET6, 7)
	if told, err := (thisHost{}).Listening(); err != nil || len(told) < 2 {
		t.Fatalf("%v, %v", told, err)
	}
	before := tables(t) // other programs listen and stop meanwhile
	e := &Env{}
	found, err := e.tcpListeners(os.Getpid())
	after := tables(t)
	if err != nil {
		t.Fatal(err)
	}
	seen, own := map[socket]bool{}, 0
	for _, s := range found {
		if seen[s] = true; !before[s] && !after[s] {
			t.Errorf("%s is in no table", s.String())
		}
		if s.inode == four || s.inode == six {
			own++
		}
	}
	for s := range before {
		if after[s] && !seen[s] {
			t.Errorf("%s is not told", s.String())
		}
	}
	if own != 2 {
		t.Errorf("%d of our own", own)
	}
	e.Proc = t.TempDir()
	if again, err := e.tcpListeners(os.Getpid()); err != nil || len(again) != len(found) {
		t.Errorf("it is asked again: %v, %v", again, err)
	}
}

// Where the kernel does not tell, or tells of none, the tables are read; and of another network, or a
// process file system that is another one, nothing else is.
func TestTheTablesAreReadWhereTheKernelDoesNotTell(t *testing.T) {
	inode, _ := listenRaw(t, syscall.AF_INET, 7)
	has := func(e *Env, inode uint64) bool {
		t.Helper()
		found, err := e.tcpListeners(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		for i := range found {
			if found[i].inode == inode {
				return true
			}
		}
		return false
	}
	const madeUp = 1 << 40
	strange := []Listening{{Addr: netip.MustParseAddrPort("192.0.2.1:5"), Inode: madeUp}}
	if !has(&Env{Host: told{all: strange}}, madeUp) {
		t.Error("the kernel is not asked")
	}
	for what, h := range map[string]told{"refused": {err: unix.EOPNOTSUPP}, "half": {all: strange, err: errDiagChanged}, "none": {}} {
		if e := (&Env{Host: h}); !has(e, inode) || has(e, madeUp) {
			t.Errorf("%s: the tables are not read", what)
		}
	}
	elsewhere := t.TempDir()
	own := filepath.Join(elsewhere, strconv.Itoa(os.Getpid()))
	if err := errors.Join(os.Mkdir(own, 0o700), os.Symlink("/proc/self/net", filepath.Join(own, "net")), os.Symlink("/proc/self/ns", filepath.Join(own, "ns")), os.Symlink("/proc/self", filepath.Join(elsewhere, "self"))); err != nil {
		t.Fatal(err)
	}
	if e := (&Env{Proc: elsewhere, Host: told{all: strange}}); has(e, madeUp) || !has(e, inode) {
		t.Error("of another process file system the kernel is asked")
	}
}

// netlinkMessage is one of an answer.
func netlinkMessage(kind, flags uint16, body []byte) []byte {
	b := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+len(body))
	binary.NativeEndian.PutUint32(b, uint32(cap(b)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint16(b[6:], flags)
	return append(b, body...)
}

// oddAnswers are those after which nobody knows whether all sockets were told.
func oddAnswers() map[string][]byte {
	one := make([]byte, diagMessageBytes)
	one[0] = unix.AF_INET
	strange := append([]byte(nil), one...)
	strange[0] = 99
	refused := binary.NativeEndian.AppendUint32(nil, uint32(0xffffffff-uint32(unix.ENOENT)+1))
	return map[string][]byte{
		"a dump that failed":   netlinkMessage(unix.NLMSG_DONE, 0, refused),
		"refused":              netlinkMessage(unix.NLMSG_ERROR, 0, refused),
		"an acknowledgement":   netlinkMessage(unix.NLMSG_ERROR, 0, make([]byte, 4)),
		"the end, cut":         netlinkMessage(unix.NLMSG_DONE, 0, nil),
		"changed meanwhile":    netlinkMessage(unix.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP_INTR, one),
		"changed, at the end":  netlinkMessage(unix.NLMSG_DONE, unix.NLM_F_DUMP_INTR, make([]byte, 4)),
		"another kind":         netlinkMessage(unix.NLMSG_NOOP, 0, one),
		"another family":       netlinkMessage(unix.SOCK_DIAG_BY_FAMILY, 0, strange),
		"a socket, cut":        netlinkMessage(unix.SOCK_DIAG_BY_FAMILY, 0, one[:diagMessageBytes-1]),
		"an attribute, cut":    netlinkMessage(unix.SOCK_DIAG_BY_FAMILY, 0, append(append([]byte(nil), one...), 200, 0, 1, 0)),
		"something behind":     append(netlinkMessage(unix.SOCK_DIAG_BY_FAMILY, 0, one), 1, 2, 3),
		"longer than there is": netlinkMessage(unix.SOCK_DIAG_BY_FAMILY, 0, one)[:40],
	}
}

// An answer that is not whole, or not understood, is an error and not an end.
func TestOddAnswersOfSockDiagAreErrors(t *testing.T) {
	for what, b := range oddAnswers() {
		if found, done, err := parseDiag(b); err == nil || done || len(found) > 0 {
			t.Errorf("%s: %v, %v, %v", what, found, done, err)
		}
	}
	end := netlinkMessage(unix.NLMSG_DONE, unix.NLM_F_MULTI, make([]byte, 4))
	one := make([]byte, diagMessageBytes)
	one[0] = unix.AF_INET6
	whole := append(netlinkMessage(unix.SOCK_DIAG_BY_FAMILY, unix.NLM_F_MULTI, one), end...)
	if found, done, err := parseDiag(whole); err != nil || !done || len(found) != 1 {
		t.Errorf("%v, %v, %v", found, done, err)
	}
	if _, _, err := parseDiag(oddAnswers()["a dump that failed"]); !errors.Is(err, unix.ENOENT) {
		t.Errorf("%v", err)
	}
}

func FuzzSockDiag(f *testing.F) {
	for _, b := range oddAnswers() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		found, done, err := parseDiag(b)
		if err != nil && (done || len(found) > 0) {
			t.Errorf("%v, %v, %v", found, done, err)
		}
		if len(found) > len(b)/(unix.SizeofNlMsghdr+diagMessageBytes) {
			t.Errorf("%d sockets in %d bytes", len(found), len(b))
		}
	})
}
