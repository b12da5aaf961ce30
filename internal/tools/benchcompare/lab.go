package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
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
}

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
	l.findPeer()
	return nil
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

// findPeer finds Mosquitto or installs it. Without it Redoubt is measured alone.
func (l *lab) findPeer() {
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
		return
	}
	if os.Getuid() == 0 {
		fmt.Fprintln(l.log, "installing mosquitto")
		cmd := exec.Command("apt-get", "install", "-y", "--no-install-recommends", "mosquitto")
		text, err := cmd.CombinedOutput()
		if err == nil && look() {
			return
		}
		fmt.Fprintf(l.log, "apt-get install mosquitto brought none (%v): %s\n", err, lastLine(text))
	}
	fmt.Fprintln(l.log, "there is no Mosquitto to compare with (sudo apt-get install mosquitto): Redoubt is measured alone, and there are no ratios")
}

// measure measures rows of one run: Redoubt, Mosquitto, Redoubt, Mosquitto...
func (l *lab) measure(rs []row) ([]*Row, error) {
	var out []*Row
	for i := range rs {
		out = append(out, rs[i].begin(l.scale))
	}
	for round := range rs[0].rounds(l.rounds) {
		for _, ours := range []bool{true, false} {
			if !ours && (l.peer == "" || out[0].Note != "") {
				continue
			}
			values, err := l.once(rs, out[0].Clients, ours)
			if errors.Is(err, errStopped) {
				return judged(out), err
			}
			for i, r := range out {
				s, name := &r.Redoubt, "redoubt"
				if !ours {
					s, name = &r.Mosquitto, "mosquitto"
				}
				l.note(r, s, fmt.Sprintf("%-18s round %d  %-9s", r.Name, round+1, name), values, i, err)
			}
		}
	}
	return judged(out), nil
}

// note takes what one run gave for one row.
func (l *lab) note(r *Row, s *Side, head string, values []float64, i int, err error) {
	var none noPeer
	switch {
	case errors.As(err, &none):
		r.Note = none.Error()
		fmt.Fprintf(l.log, "%s  %s\n", head, r.Note)
		return
	case err == nil && math.IsNaN(values[i]):
		err = errors.New("the run gave no figure")
	}
	if err != nil {
		fmt.Fprintf(l.log, "%s  failed: %v\n", head, err)
		s.Failed = append(s.Failed, err.Error())
		return
	}
	s.Runs = append(s.Runs, values[i])
	fmt.Fprintf(l.log, "%s  %s %s\n", head, figure(values[i]), r.Unit)
}

func judged(rs []*Row) []*Row {
	for _, r := range rs {
		r.judge()
	}
	return rs
}

// once starts a broker, measures rows that are figures of one run, and ends it.
func (l *lab) once(rs []row, clients int, ours bool) ([]float64, error) {
	select {
	case <-l.stop:
		return nil, errStopped
	default:
	}
	r := &rs[0]
	if r.run != nil {
		v, err := r.run(l, r, clients, ours)
		return []float64{v}, err
	}
	if r.try != nil {
		u, err := r.try(l, r, clients, ours)
		if err != nil {
			return nil, err
		}
		return figures(rs, u), nil
	}
	b, err := l.startSide(ours, r.setup())
	if err != nil {
		return nil, err
	}
	defer b.end()
	if _, err := l.generate(r.call(b, ours, []string{"conn", "-c", "20"})); err != nil { // first logins, and what is loaded once
		return nil, err
	}
	u := &usage{quiet: b.resident()}
	args := r.args(clients)
	switch {
	case r.timed():
		args = append(args, "--duration", strconv.Itoa(l.seconds))
	case args[0] == "memory" && !ours:
		args = append(args, "--settle", peerSettle)
	}
	if u.report, err = l.generate(r.call(b, ours, args)); err != nil {
		return nil, err
	}
	if m := u.report.Memory; m != nil && !m.Settled {
		return nil, fmt.Errorf("memory had not settled after %.0f s", m.Waited)
	}
	return figures(rs, u), nil
}

// figures are those of rows that are of one run.
func figures(rs []row, u *usage) []float64 {
	var out []float64
	for i := range rs {
		v := rs[i].value(u)
		if v < 0 || v == 0 && !rs[i].zero {
			v = math.NaN()
		}
		out = append(out, v)
	}
	return out
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
