package talk

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"
)

// Play plays c in version v. The error is a *Failure.
func Play(c *Case, v Version, w World) error {
	p := &player{c: c, v: v, w: w, clients: make(map[string]*client), vars: make(map[string]string)}
	defer func() {
		for _, cl := range p.clients {
			cl.hangUp()
		}
	}()
	var err error
	i := 0
	for i < len(c.steps) && err == nil {
		s := &c.steps[i]
		n := 1
		if s.only == nil || slices.Contains(s.only, v) {
			n, err = p.step(c.steps[i:])
		}
		if i += n; err != nil {
			return &Failure{c.File, s.line, c.Name, v, s.text, err}
		}
	}
	if err := p.finish(); err != nil {
		return &Failure{c.File, c.steps[len(c.steps)-1].line, c.Name, v, "the end of the case", err}
	}
	return nil
}

// Failure tells where a conversation went wrong.
type Failure struct {
	File    string
	Line    int
	Case    string
	Version Version
	Text    string // the line
	Err     error  // expected and got
}

func (f *Failure) Error() string {
	return fmt.Sprintf("%s:%d (%s, %v)\n  %s\n  %v", f.File, f.Line, f.Case, f.Version, f.Text, f.Err)
}

// Unwrap is what went wrong there.
func (f *Failure) Unwrap() error { return f.Err }

type player struct {
	c       *Case
	v       Version
	w       World
	clients map[string]*client
	vars    map[string]string
}

// client is one name in a script, over all its connections.
type client struct {
	p    *player
	name string
	v    Version
	held []byte // waits for the next >
	link *link  // nil: not connected
}

// link is one connection.
type link struct {
	nc     net.Conn
	v      Version
	in     chan arrival
	marks  marks
	unread *arrival // taken from in and put back
}

// arrival is a packet, or the end of the connection, or why a packet cannot be.
type arrival struct {
	packet *Packet
	err    error
	end    bool
}

func (a arrival) String() string {
	switch {
	case a.err != nil:
		return a.err.Error()
	case a.end:
		return "the end of the connection"
	}
	return a.packet.String()
}

func (p *player) client(name string) *client {
	c := p.clients[name]
	if c == nil {
		c = &client{p: p, name: name, v: p.v}
		p.clients[name] = c
	}
	return c
}

// step plays the first of steps, or a group that belongs together, and answers
// how many it took.
func (p *player) step(steps []step) (int, error) {
	s := &steps[0]
	switch s.do {
	case wait:
		p.w.Settle()
		p.w.Advance(s.pause)
		return 1, nil
	case differ:
		return 1, p.differ(s.names)
	}
	c := p.client(s.client)
	switch s.do {
	case is:
		c.v = s.version
	case opens:
		c.dial()
	case drops:
		if c.link == nil {
			return 1, fmt.Errorf("%s is not connected", c.name)
		}
		p.w.Settle()
		if a, ok := c.peek(); ok {
			return 1, fmt.Errorf("%s: nobody spoke of %v", c.name, a)
		}
		c.hangUp()
		p.w.Settle()
	case leaves:
		if err := c.send("DISCONNECT", nil); err != nil {
			return 1, err
		}
		return 1, c.expectClosed()
	case connects:
		return 1, c.connect(s)
	case subscribes:
		return 1, c.subscribe(s)
	case publishes:
		return 1, c.publish(s)
	case gets:
		return 1, c.gets(s)
	case send, hold:
		return 1, c.sendStep(s)
	case expectAny:
		return p.expectGroup(c, steps)
	case expect:
		return 1, c.expectStep(s)
	}
	return 1, nil
}

// finish is the rule that nothing comes that nobody spoke of.
func (p *player) finish() error {
	p.w.Settle()
	for _, c := range p.clients {
		if c.link == nil {
			continue
		}
		if a, ok := c.peek(); ok {
			return fmt.Errorf("%s: nobody spoke of %v", c.name, a)
		}
	}
	return nil
}

func (p *player) differ(names []string) error {
	seen := make(map[string]string)
	for _, n := range names {
		v, ok := p.vars[n]
		if !ok {
			return fmt.Errorf("%s has no value yet", n)
		}
		if other, ok := seen[v]; ok {
			return fmt.Errorf("%s and %s are both %q", other, n, v)
		}
		seen[v] = n
	}
	return nil
}

// arrivalsMax is how much may have come that no line has asked for yet: more than any
// script lets come. Past it the client would read on when a line does.
const arrivalsMax = 1 << 10

func (c *client) dial() {
	l := &link{nc: c.p.w.Dial(), v: c.v, in: make(chan arrival, arrivalsMax), marks: marks{v: c.v}}
	c.link = l
	c.p.w.Go(l.readAll)
}

// readAll turns what the server writes into arrivals.
func (l *link) readAll() {
	defer close(l.in)
	var buf []byte
	chunk := make([]byte, 32<<10)
	for {
		n, err := l.nc.Read(chunk)
		buf = append(buf, chunk[:n]...)
		for {
			body, size, bad := frameOf(buf)
			if bad == nil && size == 0 {
				break
			}
			a := arrival{err: bad}
			if bad == nil {
				a.packet, a.err = decode(l.v, buf[0], slices.Clone(body), size)
			}
			if l.in <- a; a.err != nil {
				_ = l.nc.Close()
				return
			}
			buf = buf[size:]
		}
		if err != nil {
			if len(buf) > 0 {
				l.in <- arrival{err: fmt.Errorf("the connection ended within a packet: % x", buf[:min(len(buf), 32)])}
			}
			_ = l.nc.Close()
			l.in <- arrival{end: true}
			return
		}
	}
}

func (c *client) hangUp() {
	if c.link != nil {
		_ = c.link.nc.Close()
		c.link, c.held = nil, nil
	}
}

// writeTime is how long the broker may take to read what a client writes.
const writeTime = 30 * time.Second

func (c *client) write(b []byte) error {
	if c.link == nil {
		c.dial()
	}
	b = append(c.held, b...)
	c.held = nil
	_ = c.link.nc.SetWriteDeadline(time.Now().Add(writeTime))
	// A broker that has hung up is no surprise here: what it said, or did not say,
	// is judged by the lines that follow.
	if _, err := c.link.nc.Write(b); errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the broker does not read what %s writes", c.name)
	}
	return nil
}

// send writes a packet.
func (c *client) send(packet string, words []word) error {
	b, err := c.encode(packet, words)
	if err != nil {
		return err
	}
	return c.write(b)
}

func (c *client) encode(packet string, words []word) ([]byte, error) {
	resolved, err := c.p.resolve(packet, words)
	if err != nil {
		return nil, err
	}
	if packet == "CONNECT" {
		resolved = c.defaults(resolved)
		if c.link == nil {
			c.dial()
		}
		c.link.marks.connect(resolved)
	}
	return encode(c.v, packet, resolved)
}

// defaults are what a CONNECT says if the script does not: the client's name as
// identifier, and the user `user` whose password is pw-user.
func (c *client) defaults(words []word) []word {
	o := outgoing{words: words}
	if _, ok := o.find("id"); !ok {
		words = append(words, word{name: "id", value: c.name})
	}
	name := "user"
	if w, ok := o.find("username"); !ok {
		words = append(words, word{name: "username", value: name})
	} else if name = w.value; w.raw == "-" {
		return words
	}
	if _, ok := o.find("password"); !ok {
		words = append(words, word{name: "password", value: "pw-" + name})
	}
	return words
}

// resolve puts in the values of $names.
func (p *player) resolve(packet string, words []word) ([]word, error) {
	out := slices.Clone(words)
	for i, w := range out {
		if !variable.MatchString(w.raw) {
			continue
		}
		v, ok := p.vars[w.raw]
		if !ok {
			return nil, fmt.Errorf("%s has no value yet", w.raw)
		}
		out[i].value = v
		out[i].raw = v
		if out[i].raw == "-" {
			out[i].raw = ""
		}
	}
	return out, nil
}

func (c *client) sendStep(s *step) error {
	var b []byte
	var err error
	if s.packet == "raw" {
		b, err = rawBytes(s.raw)
	} else {
		b, err = c.encode(s.packet, s.words)
	}
	if err != nil {
		return err
	}
	if s.do == hold {
		c.held = append(c.held, b...)
		return nil
	}
	return c.write(b)
}
