package test

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// fakeRedis has one user, ann, and does as it is told. Package backend tries real servers.
type fakeRedis struct {
	net.Listener
	mu       sync.Mutex // guards everything below
	password string     // that the broker logs in with
	stalled  chan struct{}
	rules    map[string][]string // topic filters and what is allowed there, by user
}

func newFakeRedis(t *testing.T, password string) *fakeRedis {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeRedis{Listener: l, password: password}
	t.Cleanup(func() { _ = l.Close(); f.stall(false) })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f.serve(c)
		}
	}()
	return f
}

// stall has it say nothing from now on, or answer again.
func (f *fakeRedis) stall(yes bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case yes && f.stalled == nil:
		f.stalled = make(chan struct{})
	case !yes && f.stalled != nil:
		close(f.stalled)
		f.stalled = nil
	}
}

func (f *fakeRedis) rotate(password string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.password = password
}

func (f *fakeRedis) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		words, err := readRESP(in)
		if err != nil {
			return
		}
		f.mu.Lock()
		stalled, password, rules := f.stalled, f.password, f.rules
		f.mu.Unlock()
		if stalled != nil {
			<-stalled
		}
		answer := "-ERR unknown\r\n"
		switch strings.Join(words, " ") {
		case "AUTH " + password, "PING":
			answer = "+OK\r\n"
		case "HMGET mqtt:user:ann password_hash salt":
			sum := sha256.Sum256([]byte("salty" + "ann's password"))
			answer = "*2\r\n$64\r\n" + hex.EncodeToString(sum[:]) + "\r\n$5\r\nsalty\r\n"
		default:
			if words[0] == "HMGET" {
				answer = "*2\r\n$-1\r\n$-1\r\n"
			} else if words[0] == "HGETALL" {
				fields := rules[words[1]]
				answer = fmt.Sprintf("*%d\r\n", len(fields))
				for _, f := range fields {
					answer += fmt.Sprintf("$%d\r\n%s\r\n", len(f), f)
				}
			} else if words[0] == "AUTH" {
				answer = "-WRONGPASS invalid username-password pair\r\n"
			}
		}
		if _, err := io.WriteString(c, answer); err != nil {
			return
		}
	}
}

// readRESP reads a command.
func readRESP(in *bufio.Reader) (words []string, err error) {
	number := func(mark byte) int {
		line, e := in.ReadString('\n')
		if e != nil || len(line) < 4 || line[0] != mark {
			err = io.ErrUnexpectedEOF
			return 0
		}
		n, _ := strconv.Atoi(strings.TrimSpace(line[1:]))
		return n
	}
	for n := number('*'); n > 0 && err == nil; n-- {
		text := make([]byte, number('$')+2)
		if _, e := io.ReadFull(in, text); e != nil {
			return nil, e
		}
		words = append(words, string(text[:len(text)-2]))
	}
	return words, err
}

// TestBackend (A103): who is in a back end comes in; a back end that stalls lets nobody in,
// costs the others nothing, and is asked again by itself; its password is changed by a reload.
func TestBackend(t *testing.T) {
	t.Parallel()
	dir := testkit.TempDir(t)
	secret := filepath.Join(dir, "password")
	keep := func(text string) {
		t.Helper()
		if err := os.WriteFile(secret, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	keep("first")
	redis := newFakeRedis(t, "first")
	b := newBanned(t, start(t, testkit.Options{Config: fmt.Sprintf(`
backends:
  users-db:
    type: redis
    servers: [%q]
    password: "file:%s"
    tls: {mode: "off"}
    timeout: 500ms
    breaker: {failures: 2, open: 500ms}
authn:
  chains: {default: [db, builtin]}
  lookup:
    db:
      backend: users-db
      query: HMGET mqtt:user:${username} password_hash salt
      hash: {algorithm: sha256}
      cache: {entries: 0}
`, redis.Addr(), secret)}))
	d := b.doors[0]
	ann := func(c *mqtt.Connect) { c.Username, c.Password = "ann", []byte("ann's password") }
	nobody := func(c *mqtt.Connect) {
		c.Username, c.Password = "*\r\nHMGET mqtt:user:ann", []byte("ann's password")
	}
	in, code := b.come(d, mqtt.V5, here, "ann-1", ann)
	if code != 0 {
		t.Fatalf("CONNACK %#x\n%s", code, b.b.Log())
	}
	b.told("another password", d, mqtt.V5, here, "ann-2", wrongPassword, ann, func(c *mqtt.Connect) { c.Password = []byte("x") })
	b.told("a name that is more than one", d, mqtt.V5, here, "x", wrongPassword, nobody)
	b.told("a user of the broker's own", d, mqtt.V5, here, "own", 0)

	redis.stall(true)
	var wait sync.WaitGroup
	for i := range 40 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			w, code := b.come(d, mqtt.V5, elsewhere, fmt.Sprint("storm-", i), ann)
			if code != 0x88 && code != 0x89 {
				t.Errorf("in a storm: CONNACK %#x", code)
			}
			_ = w.conn.Close()
		}()
	}
	for range 5 {
		b.stays("who was in before the back end stalled", in)
	}
	wait.Wait()
	if r := b.b.Redoubt("", "status"); !strings.Contains(r.Stdout, "backend_down (users-db)") || !strings.Contains(r.Stdout, "back end") {
		t.Errorf("status of a back end that stalls:\n%s", r.Text())
	}
	redis.stall(false)
	if !within(10*time.Second, func() bool { return strings.Contains(b.b.Log(), "alarm cleared") }) {
		t.Errorf("the alarm does not end by itself\n%s", b.b.Log())
	}
	b.told("after it came back", d, mqtt.V5, here, "ann-3", 0, ann)

	redis.rotate("second")
	keep("second")
	if r := b.b.Redoubt("", "reload"); r.Code != 0 {
		t.Fatalf("reload: %s", r.Text())
	}
	b.told("with the next password", d, mqtt.V5, here, "ann-4", 0, ann)
	b.stays("who was in all the time", in)
}
