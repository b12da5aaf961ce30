package conn

import (
	"crypto"
	"crypto/tls"
	"io"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// slice is that of the calling thread, in nanoseconds, as the kernel has it.
func slice(t *testing.T) uint64 {
	t.Helper()
	a, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return a.Runtime
}

// A handshake that computes has a longer slice than the loops, so that they need not wait for its
// end, and its thread has what it had when it no longer computes. A kernel that knows no slices
// gets none.
func TestHandshakesGiveWay(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := slice(t)
	var g giveWay
	for range 2 {
		g.enter()
		if in := slice(t); hasSlices() != (in == uint64(shakeSlice)) {
			t.Errorf("a slice of %d ns in a turn, %d before; the kernel has slices: %t", in, before, hasSlices())
		}
		g.leave()
		if after := slice(t); after != before || g.before != nil {
			t.Errorf("a slice of %d ns after a turn, %d before", after, before)
		}
	}
}

// Who is scheduled in another way, because somebody wants it so, stays as it is.
func TestHandshakesLeaveAPolicyAlone(t *testing.T) {
	done := make(chan *unix.SchedAttr)
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with its policy
		if err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_BATCH}, 0); err != nil {
			t.Error(err)
			return
		}
		var g giveWay
		g.enter()
		a, err := unix.SchedGetAttr(0, 0)
		g.leave()
		if err != nil {
			t.Error(err)
			return
		}
		done <- a
	}()
	if a := <-done; a == nil || a.Policy != unix.SCHED_BATCH || a.Runtime == uint64(shakeSlice) {
		t.Errorf("%+v", a)
	}
}

// watchedKey tells what slice the thread has that signs for a handshake.
type watchedKey struct {
	crypto.Signer
	slices chan uint64
}

func (k *watchedKey) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	a, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		return nil, err
	}
	k.slices <- a.Runtime
	return k.Signer.Sign(random, digest, opts)
}

// A handshake of the server computes as one that gives way while clients who are in are served, and
// no longer.
func TestAHandshakeOfTheServerGivesWay(t *testing.T) {
	cert := *testCertificate(t)
	key := &watchedKey{cert.PrivateKey.(crypto.Signer), make(chan uint64, 1)}
	cert.PrivateKey = key
	r := newRealRig(t, &cert)
	r.pass(time.Second)
	for _, served := range []time.Duration{time.Hour, 0, servingFor + time.Millisecond} { // ago
		r.server.served.Store(max(0, int64(r.server.instant(r.now().Add(-served)))))
		c := r.connection()
		defer c.Close()
		if err := c.(*tls.Conn).Handshake(); err != nil {
			t.Fatal(err)
		}
		if in := <-key.slices; (hasSlices() && served == 0) != (in == uint64(shakeSlice)) {
			t.Errorf("clients were served %s ago: it computes with a slice of %d ns; the kernel has slices: %t", served, in, hasSlices())
		}
	}
}
