package talk

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// File is one script.
type File struct {
	Name  string
	Cases []*Case
}

// Case is one conversation.
type Case struct {
	File     string
	Line     int
	Name     string
	Covers   []Statement
	Versions []Version
	With     map[string]string // settings of the broker, see Settings
	Fails    string            // why it is known to fail; empty: it must pass
	steps    []step
}

// Statement is a normative statement of one standard.
type Statement struct{ ID, Standard string }

// Settings are what `with` may say about the broker, and what it means.
var Settings = map[string]string{
	"max-qos":            "highest QoS the broker offers",
	"retain":             "off: no retained messages",
	"wildcards":          "off: no wildcards in filters",
	"shared":             "off: no shared subscriptions",
	"versions":           "the versions it speaks, as v311,v5",
	"receive-maximum":    "its Receive Maximum",
	"alias-maximum":      "its Topic Alias Maximum",
	"packet-bytes":       "its Maximum Packet Size",
	"client-id-bytes":    "longest client identifier",
	"keep-alive-max":     "longest Keep Alive, seconds",
	"session-expiry-max": "longest Session Expiry, seconds",
	"sessions":           "most sessions",
	"subscriptions":      "most subscriptions of one session",
	"topic-levels":       "most levels of a topic",
	"topic-bytes":        "longest topic",
	"user-properties":    "most user properties in a packet",
	"inflight":           "most unacknowledged messages to one client",
	"queue":              "most messages waiting for one client",
}

// verb is what a line does.
type verb string

const (
	send       verb = ">"
	hold       verb = "+"  // written with the next >
	expect     verb = "<"  // the next packet
	expectAny  verb = "<*" // one of the next packets, with its neighbours
	opens      verb = "opens"
	drops      verb = "drops"
	leaves     verb = "leaves"
	connects   verb = "connects"
	subscribes verb = "subscribes"
	publishes  verb = "publishes"
	gets       verb = "gets"
	wait       verb = "wait"
	differ     verb = "differ"
	is         verb = "is"
)

// step is one line.
type step struct {
	line   int
	text   string
	only   []Version // nil: in every version
	client string
	do     verb

	packet string // also raw, nothing and closed
	words  []word
	raw    []string
	closed bool // the connection ends behind the packet

	pause   time.Duration
	names   []string // of differ
	version Version  // of is
}

// loop is an `each` that is being read.
type loop struct {
	name   string
	values []string
	lines  []numbered
	at     int
}

type numbered struct {
	n    int
	text string
}

// Parse reads a script.
func Parse(name, source string) (*File, error) {
	p := &parser{file: &File{Name: name}}
	for i, line := range strings.Split(source, "\n") {
		if err := p.read(numbered{i + 1, strings.TrimSpace(line)}); err != nil {
			return nil, fmt.Errorf("%s:%d: %s: %w", name, i+1, strings.TrimSpace(line), err)
		}
	}
	if len(p.loops) > 0 {
		return nil, fmt.Errorf("%s:%d: each without end", name, p.loops[0].at)
	}
	seen := make(map[string]bool)
	for _, c := range p.file.Cases {
		if len(c.steps) == 0 || seen[c.Test()] {
			return nil, fmt.Errorf("%s:%d: case %q has no line, or its name is there twice", name, c.Line, c.Name)
		}
		seen[c.Test()] = true
	}
	return p.file, nil
}

type parser struct {
	file  *File
	c     *Case
	loops []*loop
}

// read takes one line: it belongs to a loop, to the head of a case, or to its
// conversation.
func (p *parser) read(l numbered) error {
	tokens, err := split(l.text)
	if err != nil || len(tokens) == 0 {
		return err
	}
	switch {
	case tokens[0] == "each":
		if len(tokens) < 3 || !variable.MatchString(tokens[1]) {
			return fmt.Errorf("write each $name value value ...")
		}
		p.loops = append(p.loops, &loop{name: tokens[1], values: tokens[2:], at: l.n})
		return nil
	case tokens[0] == "end" && len(tokens) == 1:
		return p.unroll()
	case len(p.loops) > 0:
		top := p.loops[len(p.loops)-1]
		top.lines = append(top.lines, l)
		return nil
	}
	if ok, err := p.head(l, tokens[0]); ok {
		return err
	}
	s, err := readStep(l, tokens)
	if err == nil {
		p.c.steps = append(p.c.steps, s)
	}
	return err
}

// unroll reads the lines of the innermost loop once for each value.
func (p *parser) unroll() error {
	if len(p.loops) == 0 {
		return fmt.Errorf("end without each")
	}
	top := p.loops[len(p.loops)-1]
	p.loops = p.loops[:len(p.loops)-1]
	name := regexp.MustCompile(regexp.QuoteMeta(top.name) + `\b`)
	for _, value := range top.values {
		for _, l := range top.lines {
			l.text = name.ReplaceAllLiteralString(l.text, value)
			if err := p.read(l); err != nil {
				return fmt.Errorf("with %s %s, line %d: %w", top.name, value, l.n, err)
			}
		}
	}
	return nil
}

// head reads a line about the case; ok is false if it is not one.
func (p *parser) head(l numbered, word string) (ok bool, err error) {
	rest := strings.TrimSpace(strings.TrimPrefix(l.text, word))
	if p.c == nil && word != "case" {
		return true, fmt.Errorf("a script begins with case")
	}
	switch word {
	case "case":
		return true, p.headCase(l, rest)
	case "covers":
		return true, p.headCovers(rest)
	case "for":
		return true, p.headFor(rest)
	case "with":
		return true, p.headWith(rest)
	case "fails":
		return true, p.headFails(rest)
	}
	return false, nil
}

func (p *parser) headCase(l numbered, rest string) error {
	if rest == "" {
		return fmt.Errorf("a case says in a sentence what it shows")
	}
	p.c = &Case{File: p.file.Name, Line: l.n, Name: strings.TrimSuffix(rest, "."), Versions: []Version{V31, V311, V5}, With: make(map[string]string)}
	p.file.Cases = append(p.file.Cases, p.c)
	return nil
}

var statement = regexp.MustCompile(`^((?:MQTT|RULE)-[0-9.]+-[0-9]+) \((5\.0|3\.1\.1|3\.1)\)$`)

func (p *parser) headCovers(rest string) error {
	for part := range strings.SplitSeq(rest, ",") {
		m := statement.FindStringSubmatch(strings.TrimSpace(part))
		if m == nil {
			return fmt.Errorf("%q is not like MQTT-1.5.4-1 (5.0)", part)
		}
		p.c.Covers = append(p.c.Covers, Statement{m[1], m[2]})
	}
	return nil
}

func (p *parser) headFor(rest string) error {
	var err error
	p.c.Versions, err = versionsOf(strings.Fields(rest))
	return err
}

func versionsOf(names []string) (vs []Version, err error) {
	for _, n := range names {
		v, ok := versionNames[n]
		switch {
		case n == "v3":
			vs = append(vs, V31, V311)
		case ok:
			vs = append(vs, v)
		default:
			return nil, fmt.Errorf("%s is not a version: v31, v311, v5, or v3 for the first two", n)
		}
	}
	if len(vs) == 0 {
		return nil, fmt.Errorf("which versions?")
	}
	return vs, nil
}

func (p *parser) headWith(rest string) error {
	for _, token := range strings.Fields(rest) {
		name, value, ok := strings.Cut(token, "=")
		if Settings[name] == "" || !ok || value == "" {
			return fmt.Errorf("%s is not a setting", token)
		}
		p.c.With[name] = value
	}
	return nil
}

func (p *parser) headFails(rest string) error {
	if p.c.Fails = rest; rest == "" {
		return fmt.Errorf("say why")
	}
	return nil
}

var clientName = regexp.MustCompile(`^[a-z][a-z0-9]*$`)

// readStep reads a line of the conversation.
func readStep(l numbered, tokens []string) (step, error) {
	s := step{line: l.n, text: l.text}
	for i, t := range tokens { // v5: or v3 v5: in front
		if !strings.HasPrefix(t, "v") {
			break
		}
		if last, ok := strings.CutSuffix(t, ":"); ok {
			vs, err := versionsOf(append(slices.Clone(tokens[:i]), last))
			if err != nil {
				return s, err
			}
			s.only, tokens = vs, tokens[i+1:]
			break
		}
	}
	if len(tokens) < 2 {
		return s, fmt.Errorf("this says nothing")
	}
	switch verb(tokens[0]) {
	case wait:
		d, err := time.ParseDuration(tokens[1])
		if err != nil || d <= 0 || len(tokens) != 2 {
			return s, fmt.Errorf("write wait 3s")
		}
		s.do, s.pause = wait, d
		return s, nil
	case differ:
		s.do, s.names = differ, tokens[1:]
		for _, n := range s.names {
			if !variable.MatchString(n) {
				return s, fmt.Errorf("%s is not a $name", n)
			}
		}
		return s, nil
	}
	for _, mark := range []verb{expectAny, expect, send, hold} { // a> and a >
		if name, ok := strings.CutSuffix(tokens[0], string(mark)); ok {
			tokens = append([]string{name, string(mark)}, tokens[1:]...)
			break
		}
	}
	s.client, s.do = tokens[0], verb(tokens[1])
	if !clientName.MatchString(s.client) {
		return s, fmt.Errorf("%q is not the name of a client", s.client)
	}
	return s, s.readVerb(tokens[2:])
}

func (s *step) readVerb(rest []string) error {
	switch s.do {
	case send, hold:
		return s.readPacket(rest, true)
	case expect, expectAny:
		return s.readExpected(rest)
	case connects:
		return s.readPacket(append([]string{"CONNECT"}, rest...), true)
	case subscribes:
		return s.readPacket(append([]string{"SUBSCRIBE"}, rest...), true)
	case publishes:
		return s.readPacket(append([]string{"PUBLISH"}, rest...), true)
	case gets:
		return s.readPacket(append([]string{"PUBLISH"}, rest...), false)
	case is:
		vs, err := versionsOf(rest)
		if err != nil || len(vs) != 1 {
			return fmt.Errorf("a client is v31, v311 or v5")
		}
		s.version = vs[0]
		return nil
	case opens, drops, leaves:
		if len(rest) > 0 {
			return fmt.Errorf("%s means nothing here", rest[0])
		}
		return nil
	}
	return fmt.Errorf("%q is not something a client does", s.do)
}

// readExpected reads what must come: nothing, closed, or a packet, perhaps with
// the end of the connection behind it.
func (s *step) readExpected(rest []string) error {
	if len(rest) == 0 {
		return fmt.Errorf("what must come?")
	}
	if rest[0] == "nothing" || rest[0] == "closed" {
		s.packet, s.closed = rest[0], rest[0] == "closed"
		if len(rest) > 1 || s.do == expectAny {
			return fmt.Errorf("%s stands alone", rest[0])
		}
		return nil
	}
	n := len(rest)
	if n >= 2 && rest[n-1] == "closed" && strings.HasSuffix(rest[n-2], ",") {
		s.closed = true
		rest = append(slices.Clone(rest[:n-2]), strings.TrimSuffix(rest[n-2], ","))
	}
	if rest[0] == "DISCONNECT" && !s.closed {
		return fmt.Errorf("a server that says DISCONNECT closes: write , closed")
	}
	return s.readPacket(rest, false)
}

func (s *step) readPacket(rest []string, toServer bool) error {
	if len(rest) == 0 {
		return fmt.Errorf("which packet?")
	}
	s.packet, rest = rest[0], rest[1:]
	if s.packet == "raw" && toServer {
		s.raw = rest
		_, err := rawBytes(rest)
		return err
	}
	_, in := received[s.packet]
	_, out := sent[s.packet]
	if toServer && !out || !toServer && !in {
		return fmt.Errorf("%s is not a packet in this direction", s.packet)
	}
	for _, token := range rest {
		w, err := readWord(s.packet, token, toServer)
		if err != nil {
			return err
		}
		s.words = append(s.words, w)
	}
	return nil
}
