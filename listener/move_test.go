package listener

import (
	"errors"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// taken is a port that somebody else listens on.
func taken(t *testing.T) string {
	t.Helper()
	s, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s.Addr().String()
}

// listens tells whether somebody accepts connections at this address.
func listens(address string) bool {
	nc, err := net.Dial("tcp", address)
	if err == nil {
		_ = nc.Close()
	}
	return err == nil
}

// A listener moves all or nothing, and what stays is not touched.
func TestMove(t *testing.T) {
	l := &Listener{Name: "test"}
	t.Cleanup(l.Close)
	if err := l.Bind([]string{"127.0.0.1:0"}); err != nil {
		t.Fatal(err)
	}
	first, socket := l.Addresses()[0], l.Bound()[0]

	_, err := l.Move([]string{"127.0.0.2:0", taken(t)})
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "listeners.test.bind: cannot listen on 127.0.0.1:") {
		t.Fatalf("%v", err)
	}
	if got := l.Addresses(); !slices.Equal(got, []string{first}) || !listens(first) {
		t.Fatalf("after a move that failed it listens on %v", got)
	}

	m, err := l.Move([]string{"127.0.0.1:0", "127.0.0.2:0"})
	if err != nil || len(m.Opened) != 1 || len(m.Closed) != 0 || !m.Changes() {
		t.Fatalf("%+v %v", m, err)
	}
	second := m.Opened[0].Addr().String()
	m.Undo()
	if listens(second) || len(l.Addresses()) != 1 {
		t.Error("what was undone listens")
	}

	if m, err = l.Move([]string{"127.0.0.1:0", "127.0.0.2:0"}); err != nil {
		t.Fatal(err)
	}
	m.Commit()
	if got := l.Bound(); len(got) != 2 || got[0] != socket || !listens(got[1].Addr().String()) {
		t.Errorf("it listens on %v", l.Addresses())
	}
	if granted, known := l.Backlog(); known && granted <= 0 {
		t.Errorf("a backlog of %d", granted)
	}
	second = l.Addresses()[1]
	if m, err = l.Move([]string{"127.0.0.2:0"}); err != nil || len(m.Closed) != 1 {
		t.Fatalf("%+v %v", m, err)
	}
	m.Commit()
	if listens(first) || !listens(second) || len(l.Addresses()) != 1 {
		t.Errorf("it listens on %v", l.Addresses())
	}
	if m, err = l.Move([]string{"127.0.0.2:0"}); err != nil || m.Changes() {
		t.Errorf("the same again: %+v %v", m, err)
	}
}

// Addresses of an interface that the kernel does not let us have are tried again later.
func TestMoveLeavesOutWhatIsNotThereYet(t *testing.T) {
	l := &Listener{Name: "test"}
	t.Cleanup(l.Close)
	m, err := l.Move(nil, "127.0.0.3:0", "192.0.2.1:0")
	if err != nil || len(m.Opened) != 1 || !slices.Equal(m.Absent, []string{"192.0.2.1:0"}) {
		t.Fatalf("%+v %v", m, err)
	}
	m.Commit()
	if _, err := l.Move([]string{"192.0.2.1:0"}); err == nil {
		t.Error("an address that is written and not there is no error")
	}
}

func TestAddressesOfAnInterface(t *testing.T) {
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	loopback := slices.IndexFunc(interfaces, func(i net.Interface) bool { return i.Flags&net.FlagLoopback != 0 })
	got, err := OfInterface(interfaces[loopback].Name, 1883)
	if err != nil || !slices.Contains(got, "127.0.0.1:1883") {
		t.Errorf("%v %v", got, err)
	}
	_, err = OfInterface("nosuch0", 1883)
	if err == nil || !strings.Contains(err.Error(), "no network interface nosuch0; there is ") || !strings.Contains(err.Error(), interfaces[loopback].Name) {
		t.Errorf("%v", err)
	}
}
