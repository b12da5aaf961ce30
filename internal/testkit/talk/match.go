package talk

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// marks are what a client said in CONNECT that binds the server, and what the
// server has done so far. Every packet of every script is held against them.
type marks struct {
	v          Version
	connected  bool // CONNACK was seen
	gone       bool // DISCONNECT was seen
	sizeMax    uint32
	aliasMax   uint32
	noProblems bool // Request Problem Information 0
	aliases    map[string]string
}

// connect notes what a CONNECT asks for.
func (m *marks) connect(words []word) {
	if m.v != V5 || m.connected {
		return
	}
	for _, w := range words {
		switch n := numberOf(w.value); w.name {
		case "maximum-packet":
			m.sizeMax = n
		case "alias-maximum":
			m.aliasMax = n
		case "request-problem":
			m.noProblems = w.value == "0"
		}
	}
}

// judge refuses a packet that may not come now.
func (m *marks) judge(p *Packet) error {
	switch {
	case m.gone:
		return fmt.Errorf("%v after DISCONNECT [MQTT-3.14.4-1]", p)
	case p.Kind == "CONNACK" && m.connected:
		return fmt.Errorf("a second CONNACK [MQTT-3.2.0-2]")
	case !m.connected && p.Kind != "CONNACK" && p.Kind != "AUTH":
		return fmt.Errorf("%v before CONNACK [MQTT-3.2.0-1]", p)
	case m.sizeMax > 0 && p.size > int(m.sizeMax):
		return fmt.Errorf("a packet of %d bytes, the client takes %d: %v [MQTT-3.1.2-24]", p.size, m.sizeMax, p)
	}
	if err := m.alias(p); err != nil {
		return err
	}
	if m.noProblems && p.Kind != "PUBLISH" && p.Kind != "CONNACK" && p.Kind != "DISCONNECT" && (p.values("reason") != nil || p.values("user-property") != nil) {
		return fmt.Errorf("%v although the client wants no problem information [MQTT-3.1.2-29]", p)
	}
	m.connected = m.connected || p.Kind == "CONNACK"
	m.gone = p.Kind == "DISCONNECT"
	return nil
}

// alias refuses an alias the client did not allow or was not told, and puts the
// topic in its place.
func (m *marks) alias(p *Packet) error {
	alias := p.value("alias")
	switch {
	case alias == "":
		return nil
	case numberOf(alias) > m.aliasMax:
		return fmt.Errorf("topic alias %s, the client takes %d [MQTT-3.1.2-26]", alias, m.aliasMax)
	case m.aliases == nil:
		m.aliases = make(map[string]string)
	}
	if topic := p.value("topic"); topic != "" {
		m.aliases[alias] = topic
		return nil
	}
	topic, ok := m.aliases[alias]
	if !ok {
		return fmt.Errorf("topic alias %s, which was never told", alias)
	}
	for i := range p.words {
		if p.words[i].name == "topic" {
			p.words[i].value = topic
		}
	}
	return nil
}

// peek is what has arrived and was not spoken of yet, if anything has.
func (c *client) peek() (arrival, bool) {
	l := c.link
	if l.unread == nil {
		select {
		case a, ok := <-l.in:
			if !ok {
				return arrival{end: true}, true
			}
			l.unread = &a
		default:
			return arrival{}, false
		}
	}
	return *l.unread, true
}

// next is the next packet or the end, which must come. An arrival that no server
// may send is an error.
func (c *client) next() (arrival, error) {
	if c.link == nil {
		return arrival{}, fmt.Errorf("%s is not connected", c.name)
	}
	a, ok := c.arrived()
	if !ok {
		return arrival{}, errNothing
	}
	if a.err != nil {
		return a, a.err
	}
	if a.packet != nil {
		return a, c.link.marks.judge(a.packet)
	}
	return a, nil
}

var errNothing = errors.New("got nothing")

func (c *client) arrived() (arrival, bool) {
	l := c.link
	patience := c.p.w.Patience()
	if patience == 0 {
		c.p.w.Settle()
		a, ok := c.peek()
		l.unread = nil
		return a, ok
	}
	if a := l.unread; a != nil {
		l.unread = nil
		return *a, true
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case a, ok := <-l.in:
		return a, ok
	case <-timer.C:
		return arrival{}, false
	}
}

func (c *client) expectStep(s *step) error {
	switch s.packet {
	case "nothing":
		c.p.w.Settle()
		if c.link == nil {
			return fmt.Errorf("%s is not connected", c.name)
		}
		if a, ok := c.peek(); ok {
			return fmt.Errorf("got %v", a)
		}
		return nil
	case "closed":
		return c.expectClosed()
	}
	if s.packet == "DISCONNECT" && c.v != V5 && s.closed { // before 5.0 a server only closes
		return c.expectClosed()
	}
	if _, err := c.expect(s.packet, s.words); err != nil || !s.closed {
		return err
	}
	return c.expectClosed()
}

// expectClosed expects the end of the connection and nothing before it.
func (c *client) expectClosed() error {
	a, err := c.next()
	if err != nil {
		if errors.Is(err, errNothing) {
			return fmt.Errorf("the connection is still open")
		}
		return err
	}
	if !a.end {
		return fmt.Errorf("got %v before the end of the connection", a)
	}
	c.hangUp()
	return nil
}

// expect takes the next packet, which must be this one.
func (c *client) expect(packet string, words []word) (*Packet, error) {
	a, err := c.next()
	if err != nil {
		return nil, err
	}
	if a.packet == nil {
		return nil, fmt.Errorf("got %v", a)
	}
	if err := c.match(a.packet, packet, words); err != nil {
		return nil, fmt.Errorf("got %v\n  %w", a.packet, err)
	}
	return a.packet, nil
}

// expectGroup takes as many packets as there are neighbouring lines of this
// client marked <*, in whatever order they come.
func (p *player) expectGroup(c *client, steps []step) (int, error) {
	n, in := 0, 0
	for n < len(steps) && steps[n].do == expectAny && steps[n].client == c.name {
		if steps[n].only == nil || slices.Contains(steps[n].only, p.v) {
			in++
		}
		n++
	}
	var got []*Packet
	for range in {
		a, err := c.next()
		if err != nil {
			return n, err
		}
		if a.packet == nil {
			return n, fmt.Errorf("got %v", a)
		}
		got = append(got, a.packet)
	}
	for i := range n {
		s := &steps[i]
		if s.only != nil && !slices.Contains(s.only, p.v) {
			continue
		}
		at := slices.IndexFunc(got, func(g *Packet) bool { return c.match(g, s.packet, s.words) == nil })
		if at < 0 {
			return n, fmt.Errorf("line %d: %s\n  is not among %v", s.line, s.text, got)
		}
		got = slices.Delete(got, at, at+1)
	}
	return n, nil
}

// match tells how got differs from what must come. $names without a value take
// the one they find.
func (c *client) match(got *Packet, packet string, words []word) error {
	if got.Kind != packet {
		return fmt.Errorf("want %s", packet)
	}
	want := make(map[string][]word)
	for _, w := range words {
		if d, _ := lookUp(packet, w.name, false); d.in(c.v) {
			want[w.name] = append(want[w.name], w)
		}
	}
	c.unsaid(packet, want)
	bound := make(map[string]string)
	for name, ws := range want {
		if err := c.matchWord(got, name, ws, bound); err != nil {
			return err
		}
	}
	for name, v := range bound {
		c.p.vars[name] = v
	}
	return nil
}

// unsaid adds what a line means by saying nothing: success, identifier 1, no
// session present, and for a message everything at its plainest.
func (c *client) unsaid(packet string, want map[string][]word) {
	say := func(name, value string) {
		d, ok := lookUp(packet, name, false)
		if _, said := want[name]; ok && !said && d.in(c.v) {
			want[name] = []word{{name: name, raw: value, value: value}}
		}
	}
	say("code", "0")
	say("return", "0")
	say("present", "0")
	if packet != "PUBLISH" {
		say("id", "1")
		return
	}
	for _, name := range []string{"qos", "dup", "retain"} {
		say(name, "0")
	}
	say("payload", "")
	say("topic", "")
	for name := range allowed["PUBLISH"] {
		say(name, "-")
	}
}

func (c *client) matchWord(got *Packet, name string, want []word, bound map[string]string) error {
	have := got.values(name)
	if len(want) == 1 && want[0].raw == "-" {
		if len(have) > 0 {
			return fmt.Errorf("want no %s", name)
		}
		return nil
	}
	if len(have) == 0 {
		return fmt.Errorf("want %s=%s, there is none", name, want[0].raw)
	}
	if len(want) == 1 && want[0].raw == "*" {
		return nil
	}
	if len(have) != len(want) {
		return fmt.Errorf("want %s %d times", name, len(want))
	}
	if name == "subscription-id" { // in any order
		slices.Sort(have)
		slices.SortFunc(want, func(a, b word) int { return strings.Compare(a.value, b.value) })
	}
	for i, w := range want {
		if err := c.matchValue(name, have[i], w, bound); err != nil {
			return err
		}
	}
	return nil
}

func (c *client) matchValue(name, have string, w word, bound map[string]string) error {
	if low, high, ok := strings.Cut(w.raw, ".."); ok && w.value == "" {
		l, _ := decimal(low)
		h, _ := decimal(high)
		if n := numberOf(have); n < numberOf(l) || n > numberOf(h) {
			return fmt.Errorf("want %s=%s", name, w.raw)
		}
		return nil
	}
	want := w.value
	if variable.MatchString(w.raw) {
		v, ok := c.p.vars[w.raw]
		if !ok {
			bound[w.raw] = have
			return nil
		}
		want = v
	}
	if name == "codes" && c.v == V311 { // every failure is 0x80 there
		var codes []string
		for part := range strings.SplitSeq(want, ",") {
			if n, _ := strconv.Atoi(part); n >= 0x80 {
				part = "128"
			}
			codes = append(codes, part)
		}
		want = strings.Join(codes, ",")
	}
	if have != want {
		return fmt.Errorf("want %s=%s", name, w.raw)
	}
	return nil
}

// connect is CONNECT and the CONNACK that lets the client in.
func (c *client) connect(s *step) error {
	if c.link != nil {
		return fmt.Errorf("%s is connected already", c.name)
	}
	words, ack := slices.Clone(s.words), []word(nil)
	words = slices.DeleteFunc(words, func(w word) bool {
		if w.name == "present" {
			ack = append(ack, w)
		}
		return w.name == "present"
	})
	if err := c.send("CONNECT", words); err != nil {
		return err
	}
	_, err := c.expect("CONNACK", ack)
	return err
}

// subscribe is SUBSCRIBE and the SUBACK that grants what was asked for.
func (c *client) subscribe(s *step) error {
	if err := c.send("SUBSCRIBE", s.words); err != nil {
		return err
	}
	var granted []string
	ack := []word{}
	for _, w := range s.words {
		switch w.name {
		case "filter":
			granted = append(granted, "0")
		case "qos":
			if len(granted) > 0 {
				granted[len(granted)-1] = w.value
			}
		case "id":
			ack = append(ack, w)
		}
	}
	codes := strings.Join(granted, ",")
	_, err := c.expect("SUBACK", append(ack, word{name: "codes", value: codes, raw: codes}))
	return err
}

// publish is PUBLISH with all of its answers, whatever success they tell.
func (c *client) publish(s *step) error {
	if err := c.send("PUBLISH", s.words); err != nil {
		return err
	}
	o := outgoing{words: s.words}
	id := []word{{name: "id", value: o.text("id", "1"), raw: o.text("id", "1")}}
	good := append(slices.Clone(id), word{name: "code", raw: "0..127"})
	switch o.num("qos", 0) {
	case 1:
		_, err := c.expect("PUBACK", good)
		return err
	case 2:
		if _, err := c.expect("PUBREC", good); err != nil {
			return err
		}
		if err := c.send("PUBREL", id); err != nil {
			return err
		}
		_, err := c.expect("PUBCOMP", id)
		return err
	}
	return nil
}

// gets is a message with all of its acknowledgements.
func (c *client) gets(s *step) error {
	p, err := c.expect("PUBLISH", s.words)
	if err != nil {
		return err
	}
	id := []word{{name: "id", value: p.value("id"), raw: p.value("id")}}
	switch p.value("qos") {
	case "1":
		return c.send("PUBACK", id)
	case "2":
		if err := c.send("PUBREC", id); err != nil {
			return err
		}
		if _, err := c.expect("PUBREL", id); err != nil {
			return err
		}
		return c.send("PUBCOMP", id)
	}
	return nil
}
