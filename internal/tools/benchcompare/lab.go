package main

import (
	"bytes"
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
	"syscall"
	"time"

	"github.com/redoubtmq/redoubt/client/bench"
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

// Ports of both brokers, as in their configuration.
const (
	portTCP = 18831
	portTLS = 18832
	// startWithin is how long a broker may take to answer.
	startWithin = 20 * time.Second
	stopWithin  = 20 * time.Second
)

// prepare makes Redoubt's data directory with its user, and finds Mosquitto.
func (l *lab) prepare() error {
	for _, port := range []int{portTCP, portTLS} {
		if c, err := net.Dial("tcp", address(port)); err == nil {
			_ = c.Close()
			return fmt.Errorf("something listens at %s already, where the brokers are to: end it first", address(port))
		}
	}
	data := filepath.Join(l.dir, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	if err := copyFile(filepath.Join(l.config, "rules.yaml"), filepath.Join(data, "rules.yaml")); err != nil {
		return err
	}
	b, err := l.startRedoubt()
	if err != nil {
		return err
	}
	defer b.end()
	answer, err := exec.Command(l.redoubt, "user", "add", "bench", "-o", "json", "--config", filepath.Join(l.config, "redoubt.yaml"), "--data-dir", data).Output()
	if err != nil {
		return fmt.Errorf("redoubt user add: %w", err)
	}
	var user struct {
		Password string `json:"generated_password"`
	}
	if err := json.Unmarshal(answer, &user); err != nil || user.Password == "" {
		return fmt.Errorf("redoubt user add answered no password (%v)", err)
	}
	l.password = user.Password
	for _, name := range []string{"ca.pem", "server.pem", "server.key"} {
		if err := copyFile(filepath.Join(data, "certs", name), filepath.Join(l.dir, name)); err != nil {
			return err
		}
	}
	l.findPeer()
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
		fmt.Fprintf(l.log, "apt-get install mosquitto failed (%v): %s\n", err, lastLine(text))
	}
	fmt.Fprintln(l.log, "there is no Mosquitto to compare with (sudo apt-get install mosquitto): Redoubt is measured alone, and there are no ratios")
}

// broker is one that runs.
type broker struct {
	cmd   *exec.Cmd
	ended chan error
	text  *bytes.Buffer
}

func (l *lab) startRedoubt() (*broker, error) {
	args := []string{"serve", "--config", filepath.Join(l.config, "redoubt.yaml"), "--data-dir", filepath.Join(l.dir, "data")}
	if os.Getuid() == 0 {
		args = append(args, "--allow-root")
	}
	return l.start("Redoubt", exec.Command(l.redoubt, args...))
}

func (l *lab) startPeer(nodelay bool) (*broker, error) {
	conf, err := os.ReadFile(filepath.Join(l.config, "mosquitto.conf"))
	if err != nil {
		return nil, err
	}
	if os.Getuid() == 0 { // or it becomes a user that cannot read the key
		conf = append(conf, "user root\n"...)
	}
	if nodelay {
		conf = append(conf, "set_tcp_nodelay true\n"...)
	}
	if err := os.WriteFile(filepath.Join(l.dir, "mosquitto.conf"), conf, 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(l.peer, "-c", "mosquitto.conf")
	cmd.Dir = l.dir
	return l.start("Mosquitto", cmd)
}

// start starts a broker on its core and waits until it answers.
func (l *lab) start(name string, cmd *exec.Cmd) (*broker, error) {
	b := &broker{cmd: cmd, ended: make(chan error, 1), text: &bytes.Buffer{}}
	cmd.Stdout, cmd.Stderr = b.text, b.text
	// An interrupt of ours is not the broker's: it is ended in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := startOn(l.cores[0], cmd); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	wait(b)
	deadline := l.clock.Now().Add(startWithin)
	for l.clock.Now().Before(deadline) {
		if answers(portTCP) && answers(portTLS) {
			return b, nil
		}
		select {
		case err := <-b.ended:
			return nil, fmt.Errorf("%s ended (%v): %s", name, err, lastLine(b.text.Bytes()))
		case <-time.After(50 * time.Millisecond):
		}
	}
	b.end()
	return nil, fmt.Errorf("%s does not answer at %s after %s: %s", name, address(portTCP), startWithin, lastLine(b.text.Bytes()))
}

// wait collects a broker that ends.
func wait(b *broker) { go func() { b.ended <- b.cmd.Wait() }() }

// end stops a broker and waits for it.
func (b *broker) end() {
	_ = b.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-b.ended:
	case <-time.After(stopWithin):
		_ = b.cmd.Process.Kill()
		<-b.ended
	}
}

// resident is the memory of the broker, in bytes.
func (b *broker) resident() int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", b.cmd.Process.Pid))
	f := strings.Fields(string(text))
	if err != nil || len(f) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(f[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// row measures one row: Redoubt, Mosquitto, Redoubt, Mosquitto...
func (l *lab) row(r *row) (*Row, error) {
	out := &Row{Name: r.name, Title: r.title, Unit: r.unit, Must: r.must, Aim: r.aim, Higher: r.higher, Clients: max(1, int(float64(r.clients)*l.scale))}
	for round := range l.rounds {
		for _, side := range []struct {
			name  string
			start func() (*broker, error)
			to    *Side
			skip  bool
		}{{"redoubt", l.startRedoubt, &out.Redoubt, false}, {"mosquitto", func() (*broker, error) { return l.startPeer(r.nodelay()) }, &out.Mosquitto, l.peer == ""}} {
			if side.skip {
				continue
			}
			v, err := l.once(r, out.Clients, side.name == "redoubt", side.start)
			if errors.Is(err, errStopped) {
				return out, err
			}
			if err != nil {
				fmt.Fprintf(l.log, "%-12s round %d  %-9s  failed: %v\n", r.name, round+1, side.name, err)
				side.to.Failed = append(side.to.Failed, err.Error())
				continue
			}
			side.to.Runs = append(side.to.Runs, v)
			fmt.Fprintf(l.log, "%-12s round %d  %-9s  %s %s\n", r.name, round+1, side.name, figure(v), r.unit)
		}
	}
	out.judge()
	return out, nil
}

// once starts a broker, measures it and ends it.
func (l *lab) once(r *row, clients int, ours bool, start func() (*broker, error)) (float64, error) {
	select {
	case <-l.stop:
		return 0, errStopped
	default:
	}
	b, err := start()
	if err != nil {
		return 0, err
	}
	defer b.end()
	if _, err := l.generate(b, ours, r.tls, []string{"conn", "-c", "20"}); err != nil { // first logins, and what is loaded once
		return 0, err
	}
	u := &usage{quiet: b.resident()}
	args := r.args(clients)
	if r.timed() {
		args = append(args, "--duration", strconv.Itoa(l.seconds))
	}
	if u.report, err = l.generate(b, ours, r.tls, args); err != nil {
		return 0, err
	}
	if v := r.value(u); v > 0 {
		return v, nil
	}
	return 0, errors.New("the run gave no figure")
}

// generate runs redoubt bench on its core.
func (l *lab) generate(b *broker, ours, tls bool, args []string) (*bench.Report, error) {
	argv := append([]string{"bench"}, args...)
	argv = append(argv, "-o", "json", "-V", "311", "-k", "600", "--pid", strconv.Itoa(b.cmd.Process.Pid), "-h", "127.0.0.1", "--config", filepath.Join(l.config, "redoubt.yaml"))
	if tls {
		argv = append(argv, "-p", strconv.Itoa(portTLS), "--cafile", filepath.Join(l.dir, "ca.pem"))
	} else {
		argv = append(argv, "-p", strconv.Itoa(portTCP), "--protocol", "mqtt")
	}
	cmd := exec.Command(l.redoubt, argv...)
	// The same curves on both sides: Mosquitto has no post-quantum ones.
	cmd.Env = append(cmd.Environ(), "GODEBUG=tlsmlkem=0,tlssecpmlkem=0", "REDOUBT_PASSWORD="+l.password)
	if ours {
		cmd.Args = append(cmd.Args, "-u", "bench")
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := startOn(l.cores[1], cmd); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			return nil, fmt.Errorf("redoubt bench %s: %w: %s", strings.Join(args, " "), err, lastLine(errs.Bytes()))
		}
	case <-l.stop:
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
		return nil, errStopped
	}
	var rep bench.Report
	if err := json.Unmarshal(out.Bytes(), &rep); err != nil {
		return nil, fmt.Errorf("redoubt bench answered no JSON: %w", err)
	}
	return &rep, nil
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func answers(port int) bool {
	c, err := net.DialTimeout("tcp", address(port), time.Second)
	if err == nil {
		_ = c.Close()
	}
	return err == nil
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
