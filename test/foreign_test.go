package test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

// This file is another broker as the World of a conversation: a Mosquitto of its
// own for each case, in real time, over TCP. differences_test.go plays the scripts
// against it.

const (
	mosquittoProgram = "/usr/sbin/mosquitto" // where Debian has it, which no user's PATH names
	passwordProgram  = "mosquitto_passwd"
)

// foreignSettings are the settings of a case in the words of Mosquitto. A case
// with another one is not played.
var foreignSettings = map[string]func(value string) string{
	"max-qos":         func(v string) string { return "max_qos " + v },
	"retain":          func(v string) string { return "retain_available " + strconv.FormatBool(v != "off") },
	"packet-bytes":    func(v string) string { return "max_packet_size " + v },
	"alias-maximum":   func(v string) string { return "max_topic_alias " + v },
	"keep-alive-max":  func(v string) string { return "max_keepalive " + v },
	"receive-maximum": func(v string) string { return "max_inflight_messages " + v },
	"inflight":        func(v string) string { return "max_inflight_messages " + v },
	"queue":           func(v string) string { return "max_queued_messages " + v },
}

// scriptUsers are the names that scripts use; the password of each is pw- and it.
var scriptUsers = []string{"user", "other", "x", "u", "me", "someone-with-a-long-name"}

// foreignSecrets are the users and the rights that the scripts expect, made once:
// directory of a password file and an ACL file.
func foreignSecrets(t *testing.T) string {
	t.Helper()
	if _, err := os.Stat(mosquittoProgram); err != nil {
		t.Fatalf("mosquitto is not installed; run: sudo make deps")
	}
	testkit.Need(t, passwordProgram)
	dir := testkit.TempDir(t)
	passwords := filepath.Join(dir, "passwords")
	testkit.WriteFile(t, passwords, "")
	for _, name := range scriptUsers {
		if r := testkit.Exec(t, patience, "", passwordProgram, "-b", passwords, name, "pw-"+name); r.Code != 0 {
			t.Fatalf("%s: %s", passwordProgram, r.Text())
		}
	}
	rights := "topic deny denied/#\ntopic readwrite #\ntopic readwrite $x/#\n"
	acl := ""
	for _, name := range scriptUsers {
		acl += "user " + name + "\n" + rights
	}
	testkit.WriteFile(t, filepath.Join(dir, "acl"), acl)
	return dir
}

// foreign is one Mosquitto. It serves one case.
type foreign struct {
	t    *testing.T
	p    *testkit.Process
	addr string

	ctl  net.Conn // says PINGREQ and nothing else
	dead error    // the broker ended

	last    *heard
	conns   []*heard
	readers sync.WaitGroup
}

// startForeign starts one and waits until it accepts.
func startForeign(t *testing.T, secrets string, with map[string]string) *foreign {
	t.Helper()
	for try := 0; ; try++ {
		w := &foreign{t: t, addr: fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t))}
		if err := w.start(secrets, with); err == nil {
			return w
		} else if try == 3 {
			t.Fatalf("mosquitto: %v\n%s", err, w.p.Stderr)
		}
		w.end()
	}
}

// start runs the program. Without TCP_NODELAY its answers would lie in its socket
// where no barrier sees them.
func (w *foreign) start(secrets string, with map[string]string) error {
	_, port, _ := strings.Cut(w.addr, ":")
	conf := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous false\npassword_file %s\nacl_file %s\npersistence false\nset_tcp_nodelay true\nsys_interval 0\nlog_dest stderr\n",
		port, filepath.Join(secrets, "passwords"), filepath.Join(secrets, "acl"))
	if os.Getuid() == 0 {
		conf += "user root\n" // else it could not read what belongs to the test
	}
	for name, value := range with {
		conf += foreignSettings[name](value) + "\n"
	}
	path := filepath.Join(testkit.TempDir(w.t), "mosquitto.conf")
	testkit.WriteFile(w.t, path, conf)
	w.p = testkit.Go(w.t, "", mosquittoProgram, "-c", path)
	if _, ok := w.p.Stderr.WaitFor(patience, 0, "running"); !ok {
		return fmt.Errorf("it does not start")
	}
	var err error
	if w.ctl, err = net.Dial("tcp4", w.addr); err != nil {
		return err
	}
	// Level 4, a clean session, keep alive 9 s: less than any case's maximum.
	_, err = w.ctl.Write([]byte("\x10\x22\x00\x04MQTT\x04\xc2\x00\x09\x00\x07control\x00\x04user\x00\x07pw-user"))
	if err != nil {
		return err
	}
	answer := make([]byte, 4)
	if _, err = io.ReadFull(w.ctl, answer); err == nil && answer[3] != 0 {
		err = fmt.Errorf("it refuses the control connection: % x", answer)
	}
	return err
}

// end closes everything and waits for it.
func (w *foreign) end() {
	if w.ctl != nil {
		_ = w.ctl.Close()
	}
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.readers.Wait()
	w.p.Signal(syscall.SIGKILL)
	w.p.Wait(patience)
}

// Dial opens a connection.
func (w *foreign) Dial() net.Conn {
	c, err := net.Dial("tcp4", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		w.t.Fatal(err)
	}
	w.last = &heard{Conn: c, raw: raw}
	w.conns = append(w.conns, w.last)
	return w.last
}

// Go runs what reads the connection dialled last.
func (w *foreign) Go(f func()) {
	c := w.last
	w.readers.Go(func() {
		f()
		c.mu.Lock()
		c.idle, c.finished = true, true
		c.mu.Unlock()
	})
}

// Patience is 0: Settle knows.
func (w *foreign) Patience() time.Duration { return 0 }

// Advance lets real time pass, and a second more: Mosquitto looks at its clock
// once in a second.
func (w *foreign) Advance(d time.Duration) {
	end := time.After(d + 1100*time.Millisecond)
	for {
		select {
		case <-end:
			return
		case <-time.After(2 * time.Second):
			w.ping(1)
		}
	}
}

// turns is how many turns of Mosquitto's one loop a Settle waits for: it takes
// one packet of each connection per turn, and answers within the turn.
const turns = 24

// Settle returns when the broker has seen everything that was sent, and the
// clients everything that it answered. A PINGREQ is answered in a turn of its one
// loop, so enough of them are a barrier; sent at once they take as many turns.
func (w *foreign) Settle() {
	for before := w.heard(); w.dead == nil; {
		w.ping(turns)
		now := w.heard()
		if now >= 0 && now == before { // the turns in between brought nothing
			return
		}
		if before = now; now < 0 {
			<-time.After(time.Millisecond)
		}
	}
}

// heard is how much has come at all connections; -1 while somebody still reads.
func (w *foreign) heard() (n int) {
	for _, c := range w.conns {
		more, quiet := c.state()
		if !quiet {
			return -1
		}
		n += more
	}
	return n
}

// ping goes there and back, n times.
func (w *foreign) ping(n int) {
	if w.dead != nil {
		return
	}
	_ = w.ctl.SetDeadline(time.Now().Add(patience))
	_, err := w.ctl.Write(bytes.Repeat([]byte{0xc0, 0}, n))
	if err == nil {
		_, err = io.ReadFull(w.ctl, make([]byte, 2*n))
	}
	if err != nil {
		w.dead = fmt.Errorf("mosquitto ended: %w", err)
	}
}

// heard is a connection of which can be told whether its reader has taken, and
// handed on, all that came.
type heard struct {
	net.Conn
	raw syscall.RawConn

	mu       sync.Mutex // guards everything below
	n        int        // bytes and ends
	idle     bool       // the reader waits for more, and has handed on what it took
	finished bool       // the reader is gone
}

// Read takes what is there. Taking and saying so is one step.
func (c *heard) Read(b []byte) (n int, err error) {
	c.mu.Lock()
	c.idle = true
	c.mu.Unlock()
	waited := c.raw.Read(func(fd uintptr) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		if n, err = syscall.Read(int(fd), b); errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR) {
			return false
		}
		c.idle = false
		c.n += 1 + max(n, 0)
		return true
	})
	switch {
	case waited != nil:
		return 0, waited
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Close ends the connection now. A program that is being started elsewhere in this
// process holds a copy of every socket for a moment, and close alone would wait
// for that.
func (c *heard) Close() error {
	_ = c.raw.Control(func(fd uintptr) { _ = syscall.Shutdown(int(fd), syscall.SHUT_RDWR) })
	return c.Conn.Close()
}

// state is how much has come, and whether that was all.
func (c *heard) state() (n int, quiet bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.idle || c.finished {
		return c.n, c.idle
	}
	// An error means that it was closed here: the reader finishes in a moment.
	err := c.raw.Control(func(fd uintptr) {
		var one [1]byte
		_, _, nothing := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK)
		quiet = errors.Is(nothing, syscall.EAGAIN)
	})
	return c.n, quiet && err == nil
}
