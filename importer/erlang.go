package importer

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The terms of an acl.conf: atoms, strings, binaries, integers, lists and tuples. What
// else Erlang has is refused.

const (
	depthMax = 16 // of tuples and lists in each other
	termsMax = 100_000
)

type kind uint8

const (
	atom kind = iota
	text
	number
	lists
	tuple
)

type term struct {
	kind  kind
	text  string // of atom and text
	n     int
	items []term
	line  int
}

// is tells whether the term is that atom.
func (t *term) is(name string) bool { return t.kind == atom && t.text == name }

// scanner reads terms. The first thing that is wrong ends it.
type scanner struct {
	in   string
	pos  int
	line int
	left int // terms that may come
}

// syntaxError is where and why the reading ended.
type syntaxError struct {
	line int
	what string
}

func (e *syntaxError) Error() string { return e.what }

func (s *scanner) fail(format string, args ...any) error {
	return &syntaxError{s.line, fmt.Sprintf(format, args...)}
}

// next answers the next term that ends with a full stop, and the text of it; more is false at the end.
func (s *scanner) next() (t term, source string, more bool, err error) {
	s.space()
	if s.pos >= len(s.in) {
		return t, "", false, nil
	}
	from := s.pos
	if t, err = s.term(0); err != nil {
		return t, "", false, err
	}
	s.space()
	if !s.eat(".") {
		return t, "", false, s.fail("a term ends here without a full stop")
	}
	source = strings.Join(strings.Fields(s.in[from:s.pos]), " ")
	if s.pos < len(s.in) && !strings.ContainsRune(" \t\r\n%", rune(s.in[s.pos])) {
		return t, "", false, s.fail("a full stop must be followed by a space or the end of the line")
	}
	return t, source, true, nil
}

func (s *scanner) eat(what string) bool {
	if !strings.HasPrefix(s.in[s.pos:], what) {
		return false
	}
	s.pos += len(what)
	return true
}

// space passes over blanks and comments.
func (s *scanner) space() {
	for s.pos < len(s.in) {
		switch s.in[s.pos] {
		case '\n':
			s.line++
		case ' ', '\t', '\r':
		case '%':
			if end := strings.IndexByte(s.in[s.pos:], '\n'); end >= 0 {
				s.pos += end
			} else {
				s.pos = len(s.in)
			}
			continue
		default:
			return
		}
		s.pos++
	}
}

func (s *scanner) term(depth int) (t term, err error) {
	s.space()
	t.line = s.line
	if s.left--; s.left < 0 {
		return t, s.fail("the file has more than %d terms", termsMax)
	}
	if depth > depthMax {
		return t, s.fail("lists and tuples are more than %d deep", depthMax)
	}
	if s.pos >= len(s.in) {
		return t, s.fail("the file ends inside a term")
	}
	switch c := s.in[s.pos]; {
	case c == '{':
		t.kind = tuple
		t.items, err = s.items("}", depth)
	case c == '[':
		t.kind = lists
		t.items, err = s.items("]", depth)
	case c == '"':
		t.kind = text
		t.text, err = s.quoted('"')
	case c == '\'':
		t.text, err = s.quoted('\'')
	case strings.HasPrefix(s.in[s.pos:], "<<"):
		t.kind = text
		t.text, err = s.binary()
	case c >= 'a' && c <= 'z':
		from := s.pos
		for s.pos < len(s.in) && isAtom(s.in[s.pos]) {
			s.pos++
		}
		t.text = s.in[from:s.pos]
	case c >= '0' && c <= '9':
		from := s.pos
		for s.pos < len(s.in) && s.in[s.pos] >= '0' && s.in[s.pos] <= '9' {
			s.pos++
		}
		t.kind = number
		if t.n, err = strconv.Atoi(s.in[from:s.pos]); err != nil || s.pos < len(s.in) && isAtom(s.in[s.pos]) {
			err = s.fail("a number that is no integer")
		}
	default:
		r, _ := utf8.DecodeRuneInString(s.in[s.pos:])
		err = s.fail("%q begins no term; there are atoms, \"strings\", integers, [lists] and {tuples}", r)
	}
	return t, err
}

func isAtom(c byte) bool {
	return c == '_' || c == '@' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func (s *scanner) items(end string, depth int) (out []term, err error) {
	s.pos++
	s.space()
	if s.eat(end) {
		return nil, nil
	}
	for {
		t, err := s.term(depth + 1)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
		s.space()
		if s.eat(end) {
			return out, nil
		}
		if !s.eat(",") {
			return nil, s.fail("a comma or %s is missing", end)
		}
	}
}

// binary is <<"...">>. Without /utf8 its characters are bytes, and others than ASCII no MQTT text.
func (s *scanner) binary() (string, error) {
	s.pos += 2
	s.space()
	if s.pos >= len(s.in) || s.in[s.pos] != '"' {
		return "", s.fail("a binary is written <<\"text\">>")
	}
	out, err := s.quoted('"')
	if err != nil {
		return "", err
	}
	wide := s.eat("/utf8")
	s.space()
	if !s.eat(">>") {
		return "", s.fail("a binary is written <<\"text\">>")
	}
	for _, r := range out {
		if !wide && r > '~' {
			return "", s.fail("a binary with other characters than ASCII; write <<\"text\"/utf8>>")
		}
	}
	return out, nil
}

// escapes are those of Erlang, where \s is a space and \d is DEL.
var escapes = map[byte]byte{'b': '\b', 'd': 0x7f, 'e': 0x1b, 'f': '\f', 'n': '\n', 'r': '\r', 's': ' ', 't': '\t', 'v': '\v', '"': '"', '\'': '\'', '\\': '\\'}

func (s *scanner) quoted(end byte) (string, error) {
	s.pos++
	var b strings.Builder
	for s.pos < len(s.in) {
		c := s.in[s.pos]
		s.pos++
		switch c {
		case end:
			if s.pos < len(s.in) && s.in[s.pos] == end {
				return "", s.fail("two strings without a comma between them; write one")
			}
			return b.String(), nil
		case '\n':
			return "", s.fail("a string goes over the end of its line")
		case '\\':
			if s.pos >= len(s.in) {
				continue
			}
			to, known := escapes[s.in[s.pos]]
			if !known {
				return "", s.fail("the escape \\%q is not read; write the character", rune(s.in[s.pos]))
			}
			b.WriteByte(to)
			s.pos++
		default:
			b.WriteByte(c)
		}
	}
	return "", s.fail("the file ends inside a string")
}
