package conn

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubtmq/redoubt/mqtt"
)

// lowest is the lowest descriptor that is free.
func lowest(t *testing.T) int {
	t.Helper()
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return int(f.Fd())
}

func another(t *testing.T) *net.TCPListener {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	return socket.(*net.TCPListener)
}

// What is got ready lets nobody in, and leaves nothing behind when it is taken back; once it
// is opened nothing can fail any more, not even for want of descriptors.
func TestReadyIsOpenedOrTakenBack(t *testing.T) {
	r := newRealRig(t, nil)
	socket := another(t)
	low := lowest(t)
	opening, err := r.server.Ready(r.entrance, []net.Listener{socket})
	if err != nil {
		t.Fatal(err)
	}
	opening.Undo()
	if now := lowest(t); now != low {
		t.Errorf("descriptors were left open: %d is the lowest free one, was %d", now, low)
	}
	if opening, err = r.server.Ready(r.entrance, []net.Listener{socket}); err != nil {
		t.Fatal(err)
	}
	r.at(socket)
	early := r.bare()
	defer early.Close()
	r.settle()
	if n := r.connections(); n != 0 {
		t.Errorf("%d are in before it is opened", n)
	}
	opening.Open()
	r.becomes("connections", 1, r.connections)
	r.connect(mqtt.V5, "alice/new")
	r.server.Unserve([]net.Listener{socket})
	r.settle()
}

// blind is a listening socket whose descriptor cannot be made non-blocking.
type blind struct{ net.Listener }

func (blind) File() (*os.File, error) { return os.OpenFile(os.DevNull, unix.O_PATH, 0) }

// A descriptor that is of no use is closed.
func TestADuplicateThatFailsIsClosed(t *testing.T) {
	low := lowest(t)
	if _, err := duplicate(blind{}); err == nil {
		t.Fatal("it can be used; the test proves nothing")
	}
	if now := lowest(t); now != low {
		t.Errorf("descriptors were left open: %d is the lowest free one, was %d", now, low)
	}
}

// An entrance that comes while a loop is out of descriptors is waited for when that is over,
// and once: nothing is an error there.
func TestAnEntranceComesWhileDescriptorsAreOut(t *testing.T) {
	r := newRealRig(t, nil)
	socket := another(t)
	opening, err := r.server.Ready(r.entrance, []net.Listener{socket})
	if err != nil {
		t.Fatal(err)
	}
	r.onLoops(func(l *Loop) { l.poll.(*epoller).deafen() })
	opening.Open()
	r.turn()
	r.pass(2 * lingerSweep)
	r.connect(mqtt.V5, "alice/old")
	r.at(socket)
	r.connect(mqtt.V5, "alice/new")
	if strings.Contains(r.log.String(), "cannot wait for connections") {
		t.Errorf("%s", r.log)
	}
	r.server.Unserve([]net.Listener{socket})
	r.settle()
}

// What the system does not let a loop wait for now is tried again, and the others go on.
func TestAnEntranceIsTriedAgain(t *testing.T) {
	r := newRealRig(t, nil)
	socket := another(t)
	fd, err := duplicate(socket)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.CreateTemp(t.TempDir(), "file") // which epoll does not wait for
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in := &entrance{listener: r.entrance, socket: socket, fd: int(f.Fd())}
	r.onLoops(func(l *Loop) { l.poll.(*epoller).enter(in) })
	r.pass(2 * lingerSweep)
	if !strings.Contains(r.log.String(), "cannot wait for connections") {
		t.Fatalf("the test proves nothing\n%s", r.log)
	}
	r.connect(mqtt.V5, "alice/old")
	first := true
	r.onLoops(func(l *Loop) {
		if first {
			in.fd, first = fd, false
		}
	})
	r.pass(2*lingerSweep + time.Millisecond)
	r.at(socket)
	r.connect(mqtt.V5, "alice/new")
	r.onLoops(func(l *Loop) { l.poll.(*epoller).leave(in) })
	_ = unix.Close(fd)
}
