package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/internal/clock"
)

// lab is where the comparison happens: two brokers that run in turn on the same ports.
type lab struct {
	*settings
	dir      string
	cores    [2]int
	log      io.Writer
	clock    clock.Clock
	stop     <-chan os.Signal
	password string
	peer     string // path of Mosquitto; empty: there is none
	inMemory bool   // what is written to dir comes to no disk
}

var errInMemory = errors.New("what is stored would be in memory (tmpfs): set TMPDIR to a folder on a disk")

// Ports of both brokers, counted from the first.
const (
	portTCP = iota
	portTLS
	portMTLS
	portWSS
	portMetrics
	ports
)

const (
	// portFirst is the first of them in the files.
	portFirst = 18831
	// startWithin is how long a broker may take to answer.
	startWithin = 20 * time.Second
	stopWithin  = 20 * time.Second
)

// prepare makes Redoubt's data directory with its user, and finds Mosquitto.
func (l *lab) prepare() error {
	for i := range ports {
		if c, err := net.Dial("tcp", l.address(i)); err == nil {
			_ = c.Close()
			return fmt.Errorf("something listens at %s already, where the brokers are to: end it first, or choose other ports with -port", l.address(i))
		}
	}
	l.inMemory = keptInMemory(l.dir)
	// The configuration names files of the data directory, beside which it has to be.
	conf, err := os.ReadFile(filepath.Join(l.config, "redoubt.yaml"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(l.path("redoubt.yaml"), l.moved(conf), 0o600); err != nil {
		return err
	}
	data := l.path("data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	if err := copyFile(filepath.Join(l.config, "rules.yaml"), filepath.Join(data, "rules.yaml")); err != nil {
		return err
	}
	// Without the configuration, which names the CA of devices: that comes next.
	if text, err := exec.Command(l.redoubt, "init", "--data-dir", data).CombinedOutput(); err != nil {
		return fmt.Errorf("redoubt init: %w: %s", err, lastLine(text))
	}
	for _, args := range [][]string{{"cert", "ca", "init"}, {"cert", "issue", "device", "bench", "--out", l.dir}} {
		if _, err := l.tell(args...); err != nil {
			return err
		}
	}
	b, err := l.startRedoubt(&setup{keep: true})
	if err != nil {
		return err
	}
	if err := l.addUser(); err != nil {
		b.end()
		return err
	}
	b.end()
	for name, from := range map[string]string{"ca.pem": "certs/ca.pem", "server.pem": "certs/server.pem", "server.key": "certs/server.key", "devices.pem": "certs/devices/ca.pem"} {
		if err := copyFile(filepath.Join(data, from), l.path(name)); err != nil {
			return err
		}
	}
	// Every run begins with what is there now, so that none finds what another one has left.
	if err := os.Rename(data, l.path("pristine")); err != nil {
		return err
	}
	return l.findPeer()
}

func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

// tell runs a command of Redoubt's on its data directory.
func (l *lab) tell(args ...string) ([]byte, error) {
	out, err := exec.Command(l.redoubt, append(args, "--config", l.path("redoubt.yaml"), "--data-dir", l.path("data"))...).Output()
	if err != nil {
		var e *exec.ExitError
		if errors.As(err, &e) {
			return nil, fmt.Errorf("redoubt %s: %w: %s", strings.Join(args, " "), err, lastLine(e.Stderr))
		}
		return nil, fmt.Errorf("redoubt %s: %w", strings.Join(args, " "), err)
	}
	return out, nil
}

func (l *lab) addUser() error {
	answer, err := l.tell("user", "add", "bench", "-o", "json")
	// On a machine that is busy the ports answer before the socket of the administration does.
	for deadline := l.clock.Now().Add(startWithin); err != nil && strings.Contains(err.Error(), "is in use by process") && l.clock.Now().Before(deadline); {
		if err := l.pause(200 * time.Millisecond); err != nil {
			return err
		}
		answer, err = l.tell("user", "add", "bench", "-o", "json")
	}
	if err != nil {
		return err
	}
	var user struct {
		Password string `json:"generated_password"`
	}
	if err := json.Unmarshal(answer, &user); err != nil || user.Password == "" {
		return fmt.Errorf("redoubt user add answered no password (%v)", err)
	}
	l.password = user.Password
	return nil
}

// findPeer finds Mosquitto or installs it. Without it Redoubt is measured alone, unless it was named.
func (l *lab) findPeer() error {
	if l.mosquitto != "" {
		path, err := exec.LookPath(l.mosquitto)
		if err == nil {
			path, err = filepath.Abs(path) // it runs in a folder of its own
		}
		if err != nil {
			return fmt.Errorf("-mosquitto: %w", err)
		}
		l.peer = path
		return nil
	}
	look := func() bool {
		for _, name := range []string{"mosquitto", "/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"} {
			if path, err := exec.LookPath(name); err == nil {
				l.peer = path
				return true
			}
		}
		return false
	}
	if look() {
		return nil
	}
	if os.Getuid() == 0 {
		fmt.Fprintln(l.log, "installing mosquitto")
		cmd := exec.Command("apt-get", "install", "-y", "--no-install-recommends", "mosquitto")
		text, err := cmd.CombinedOutput()
		if err == nil && look() {
			return nil
		}
		fmt.Fprintf(l.log, "apt-get install mosquitto brought none (%v): %s\n", err, lastLine(text))
	}
	fmt.Fprintln(l.log, "there is no Mosquitto to compare with (sudo apt-get install mosquitto): Redoubt is measured alone, and there are no ratios")
	return nil
}

// port is one of the brokers' ports.
func (l *lab) port(i int) int { return l.first + i }

func (l *lab) address(i int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(l.port(i))) }

func (l *lab) answers(i int) bool {
	c, err := net.DialTimeout("tcp", l.address(i), time.Second)
	if err == nil {
		_ = c.Close()
	}
	return err == nil
}

// moved is a configuration with our ports in place of those it names.
func (l *lab) moved(conf []byte) []byte {
	var pairs []string
	for i := range ports {
		pairs = append(pairs, strconv.Itoa(portFirst+i), strconv.Itoa(l.port(i)))
	}
	return []byte(strings.NewReplacer(pairs...).Replace(string(conf)))
}

func copyFile(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o600)
}

// lastLine is what a program said last.
func lastLine(text []byte) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
