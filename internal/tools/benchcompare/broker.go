package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// broker is one that runs.
type broker struct {
	cmd   *exec.Cmd
	ended chan error
	text  *bytes.Buffer // read it when the broker has ended
	began time.Time
}

// setup is how a run wants its broker.
type setup struct {
	keep       bool // what is in its data directory; otherwise it begins with nothing but its user
	nodelay    bool // Mosquitto: does not hold back small packets
	passwords  bool // Mosquitto: asks for a password, as Redoubt always does
	wss        bool // Mosquitto: WebSocket, too
	persist    bool // Mosquitto: keeps what waits
	unanswered bool // who starts it does not wait for an answer
	bothCores  bool // it may use the generator's core, too

	environ  []string // Redoubt: of the process, besides what there is
	settings string   // Redoubt: lines of its configuration, besides what there is
}

func (l *lab) startSide(ours bool, s *setup) (*broker, error) {
	if ours {
		return l.startRedoubt(s)
	}
	return l.startPeer(s)
}

func (l *lab) startRedoubt(s *setup) (*broker, error) {
	if !s.keep {
		if err := os.RemoveAll(l.path("data")); err != nil {
			return nil, err
		}
		if err := copyTree(l.path("pristine"), l.path("data")); err != nil {
			return nil, err
		}
	}
	config := l.path("redoubt.yaml")
	if s.settings != "" {
		text, err := os.ReadFile(config)
		if err != nil {
			return nil, err
		}
		config = l.path("redoubt-row.yaml")
		if err := os.WriteFile(config, append(text, s.settings...), 0o600); err != nil {
			return nil, err
		}
	}
	args := []string{"serve", "--config", config, "--data-dir", l.path("data")}
	if os.Getuid() == 0 {
		args = append(args, "--allow-root")
	}
	cmd := exec.Command(l.redoubt, args...)
	cmd.Env = append(cmd.Environ(), s.environ...)
	return l.start("Redoubt", cmd, s)
}

func (l *lab) startPeer(s *setup) (*broker, error) {
	conf, err := os.ReadFile(filepath.Join(l.config, "mosquitto.conf"))
	if err != nil {
		return nil, err
	}
	if s.passwords {
		if err := l.peerPasswords(); err != nil {
			return nil, err
		}
	}
	if !s.keep {
		if err := os.RemoveAll(l.path("peer")); err != nil {
			return nil, err
		}
		if err := os.Mkdir(l.path("peer"), 0o700); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(l.path("mosquitto.conf"), []byte(peerConf(string(l.moved(conf)), l.port(portWSS), s, os.Getuid() == 0)), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(l.peer, "-c", "mosquitto.conf")
	cmd.Dir = l.dir
	b, err := l.start("Mosquitto", cmd, s)
	switch {
	case err != nil && s.wss && withoutWebSocket(err.Error()):
		return nil, noPeer("this Mosquitto is built without WebSocket")
	case err == nil && s.wss && !l.comes(portWSS, webSocketWithin): // some say so and go on without
		b.end() // what it said is ours from here on
		if withoutWebSocket(b.text.String()) {
			return nil, noPeer("this Mosquitto is built without WebSocket")
		}
		return nil, fmt.Errorf("Mosquitto does not answer at %s: %s", l.address(portWSS), lastLine(b.text.Bytes()))
	}
	return b, err
}

// webSocketWithin is how long it may take for WebSocket after it answers elsewhere: libwebsockets opens its port a
// second later, and more on a machine that is busy. Who has none does not say so before it has ended.
const webSocketWithin = 10 * time.Second

// comes waits until a port answers; false: it did not in time.
func (l *lab) comes(port int, within time.Duration) bool {
	for deadline := l.clock.Now().Add(within); !l.answers(port); {
		if !l.clock.Now().Before(deadline) || l.pause(50*time.Millisecond) != nil {
			return false
		}
	}
	return true
}

// withoutWebSocket tells whether Mosquitto's words are that it has none.
func withoutWebSocket(text string) bool {
	return strings.Contains(strings.ToLower(text), "websockets support not available")
}

// noPeer is why there is nothing of Mosquitto's to compare with.
type noPeer string

func (n noPeer) Error() string { return string(n) }

// peerConf is Mosquitto's configuration for one run. What comes later in the file counts.
func peerConf(conf string, wss int, s *setup, root bool) string {
	add := func(on bool, lines string) {
		if on {
			conf += lines
		}
	}
	add(root, "user root\n") // or it becomes a user that cannot read the key
	add(s.nodelay, "set_tcp_nodelay true\n")
	add(s.passwords, "allow_anonymous false\npassword_file passwords\n")
	add(s.persist, "persistence true\npersistence_location peer/\n")
	add(s.wss, fmt.Sprintf("listener %d 127.0.0.1\nprotocol websockets\ncafile ca.pem\ncertfile server.pem\nkeyfile server.key\n", wss))
	return conf
}

// peerPasswords makes Mosquitto's file of them as its users do.
func (l *lab) peerPasswords() error {
	if _, err := os.Stat(l.path("passwords")); err == nil {
		return nil
	}
	tool, err := exec.LookPath("mosquitto_passwd")
	if err != nil {
		return noPeer("there is no mosquitto_passwd, which makes the file of passwords")
	}
	if text, err := exec.Command(tool, "-b", "-c", l.path("passwords"), "bench", l.password).CombinedOutput(); err != nil {
		return fmt.Errorf("mosquitto_passwd: %w: %s", err, lastLine(text))
	}
	return nil
}

// start starts a broker on its core and waits until it answers, unless s says not to.
func (l *lab) start(name string, cmd *exec.Cmd, s *setup) (*broker, error) {
	b := &broker{cmd: cmd, ended: make(chan error, 1), text: &bytes.Buffer{}, began: l.clock.Now()}
	cmd.Stdout, cmd.Stderr = b.text, b.text
	// An interrupt of ours is not the broker's: it is ended in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cores := l.cores[:1]
	if s.bothCores {
		cores = l.cores[:]
	}
	if err := startOn(cmd, cores...); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	wait(b)
	if s.unanswered {
		return b, nil
	}
	deadline := l.clock.Now().Add(startWithin)
	for l.clock.Now().Before(deadline) {
		if l.answers(portTCP) && l.answers(portTLS) {
			return b, nil
		}
		select {
		case err := <-b.ended:
			return nil, fmt.Errorf("%s ended (%v): %s", name, err, lastLine(b.text.Bytes()))
		case <-time.After(50 * time.Millisecond):
		}
	}
	b.end()
	return nil, fmt.Errorf("%s does not answer at %s after %s: %s", name, l.address(portTCP), startWithin, lastLine(b.text.Bytes()))
}

// wait collects a broker that ends.
func wait(b *broker) { go func() { b.ended <- b.cmd.Wait() }() }

// end stops a broker and waits for it.
func (b *broker) end() { _ = b.endInOrder() }

// endInOrder is an error where it had to be killed.
func (b *broker) endInOrder() error { return stopProcess(b.cmd.Process, b.ended, stopWithin) }

// stopProcess asks a process to end, and kills one that has not after a while, which is an error.
func stopProcess(p *os.Process, ended <-chan error, within time.Duration) error {
	_ = p.Signal(syscall.SIGTERM)
	select {
	case <-ended:
		return nil
	case <-time.After(within):
		_ = p.Kill()
		<-ended
		return fmt.Errorf("it had not ended %s after SIGTERM, and was killed", within)
	}
}

// blame adds the broker's last words to what went wrong, if it has ended by itself.
func (b *broker) blame(err error) error {
	if err == nil {
		return nil
	}
	select {
	case how := <-b.ended:
		b.ended <- how // for who ends it
		return fmt.Errorf("%w; the broker ended (%v): %s", err, how, lastLine(b.text.Bytes()))
	case <-time.After(blameWithin):
		return err
	}
}

// blameWithin is longer than the kernel takes to tell us of a process that others have seen end.
const blameWithin = 200 * time.Millisecond

// kill ends a broker as a power cut of its process does.
func (b *broker) kill() {
	_ = b.cmd.Process.Kill()
	<-b.ended
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

// copyTree copies a data directory with its permissions; sockets are left out.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		switch target := filepath.Join(to, below); {
		case e.IsDir():
			return os.Mkdir(target, info.Mode().Perm())
		case info.Mode().IsRegular():
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(target, text, info.Mode().Perm())
		}
		return nil
	})
}
