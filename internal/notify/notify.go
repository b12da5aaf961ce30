// Package notify tells the service manager that started the process how it is: datagrams
// of lines NAME=value to a unix socket, as systemd and others read them. It is not a
// health check: it says what it is told to say, and whether that is true is its caller's
// to find out first.
//
// Rules: sd_notify(3), sd_watchdog_enabled(3).
package notify

import (
	"errors"
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"
)

// sendWithin is how long a datagram may wait for a manager that does not read. The
// process has something better to do than to be told about.
const sendWithin = time.Second

// statusBytesMax bounds the text of a status, bytes: it is a line of systemctl status.
const statusBytesMax = 512

// Manager is who started the process and wants to know. It is safe for concurrent use,
// and nil is nobody: then nothing is said.
type Manager struct {
	address *net.UnixAddr
	now     func() time.Time

	mu   sync.Mutex // guards everything below
	conn *net.UnixConn
}

// Open connects to the socket that the environment names (NOTIFY_SOCKET): a path, or "@"
// and a name without one. An empty address is nobody, and no error. now is the time of
// the machine.
func Open(address string, now func() time.Time) (*Manager, error) {
	switch {
	case address == "":
		return nil, nil //nolint:nilnil // nil is nobody, and works
	case !strings.HasPrefix(address, "/") && !strings.HasPrefix(address, "@") || len(address) == 1:
		return nil, fmt.Errorf("NOTIFY_SOCKET %q is neither a path nor an abstract unix socket (@name)", address)
	}
	m := &Manager{address: &net.UnixAddr{Name: address, Net: "unixgram"}, now: now}
	c, err := net.DialUnix("unixgram", nil, m.address)
	if err != nil {
		return nil, fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	m.conn = c
	return m, nil
}

// Close lets go of the socket.
func (m *Manager) Close() {
	if m != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		_ = m.conn.Close()
	}
}

// Ready says that the process does its work: after the start, and after each reload.
func (m *Manager) Ready(status string) error { return m.send("READY=1", statusLine(status)) }

// Status says in one line how the process is.
func (m *Manager) Status(status string) error { return m.send(statusLine(status)) }

// Reloading says that the configuration is being read again; Ready ends it.
func (m *Manager) Reloading() error {
	if at, ok := monotonic(); ok { // since systemd 253, which wants to know which reload it was
		return m.send("RELOADING=1", "MONOTONIC_USEC="+strconv.FormatInt(at.Microseconds(), 10))
	}
	return m.send("RELOADING=1")
}

// Stopping says that the process ends.
func (m *Manager) Stopping() error { return m.send("STOPPING=1") }

// Alive is for the watchdog: without it for as long as Watchdog has answered, the manager
// ends the process.
func (m *Manager) Alive() error { return m.send("WATCHDOG=1") }

// send is one datagram. It waits for room for a second at most.
func (m *Manager) send(lines ...string) error {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	text := []byte(strings.Join(lines, "\n"))
	err := m.write(text)
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOTCONN) { // the manager has made its socket anew, and without a word of us it would end the process
		var c *net.UnixConn
		if c, err = net.DialUnix("unixgram", nil, m.address); err == nil {
			_ = m.conn.Close()
			m.conn = c
			err = m.write(text)
		}
	}
	if err != nil {
		return fmt.Errorf("service manager: %w", err)
	}
	return nil
}

func (m *Manager) write(text []byte) error {
	if err := m.conn.SetWriteDeadline(m.now().Add(sendWithin)); err != nil {
		return err
	}
	_, err := m.conn.Write(text)
	return err
}

// statusLine is a text as one line: what is no character of a line would begin another
// assignment.
func statusLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	for len(text) > statusBytesMax {
		_, n := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-n]
	}
	return "STATUS=" + text
}

// Watchdog reads what the manager has asked for (WATCHDOG_USEC, WATCHDOG_PID): within
// which time it wants to hear that the process is alive, again and again. 0: it does not,
// or asks another process.
func Watchdog(usec, pid string, own int) (time.Duration, error) {
	if usec == "" {
		return 0, nil
	}
	if pid != "" {
		n, err := strconv.Atoi(pid)
		if err != nil || n <= 0 {
			return 0, fmt.Errorf("WATCHDOG_PID %q is no process", pid)
		}
		if n != own {
			return 0, nil
		}
	}
	n, err := strconv.ParseInt(usec, 10, 64)
	if err != nil || n <= 0 || n > math.MaxInt64/int64(time.Microsecond) {
		return 0, errors.New("WATCHDOG_USEC is not a number of microseconds from 1 on: " + strconv.Quote(usec))
	}
	return time.Duration(n) * time.Microsecond, nil
}
