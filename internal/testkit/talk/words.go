package talk

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// kind is the shape of a word's value.
type kind byte

const (
	number kind = iota
	text
	pair // of strings: name:value
	flag // alone, or 0 or 1
	list // of numbers, with commas
)

// word is one word of a packet line. value is normalised: numbers are decimal,
// texts are the bytes themselves.
type word struct {
	name  string
	value string
	raw   string // as written: $x, *, - and ranges have a meaning of their own
}

// def says what a word is.
type def struct {
	kind kind
	prop byte // property identifier; 0: not a property
	size byte // of a property's number: 1, 2, 4, or 0 for a variable byte integer
	from Version
	to   Version // 0: no end
}

func (d def) in(v Version) bool { return v >= d.from && (d.to == 0 || v <= d.to) }

// properties are those of MQTT 5.0, section 2.2.2.2, by their word.
var properties = map[string]def{
	"payload-format": {number, 0x01, 1, V5, 0}, "message-expiry": {number, 0x02, 4, V5, 0}, "content-type": {text, 0x03, 0, V5, 0},
	"response-topic": {text, 0x08, 0, V5, 0}, "correlation": {text, 0x09, 0, V5, 0}, "subscription-id": {number, 0x0B, 0, V5, 0},
	"session-expiry": {number, 0x11, 4, V5, 0}, "assigned-id": {text, 0x12, 0, V5, 0}, "server-keep-alive": {number, 0x13, 2, V5, 0},
	"auth-method": {text, 0x15, 0, V5, 0}, "auth-data": {text, 0x16, 0, V5, 0}, "request-problem": {number, 0x17, 1, V5, 0},
	"will-delay": {number, 0x18, 4, V5, 0}, "request-response": {number, 0x19, 1, V5, 0}, "response-information": {text, 0x1A, 0, V5, 0},
	"server-reference": {text, 0x1C, 0, V5, 0}, "reason": {text, 0x1F, 0, V5, 0}, "receive-maximum": {number, 0x21, 2, V5, 0},
	"alias-maximum": {number, 0x22, 2, V5, 0}, "alias": {number, 0x23, 2, V5, 0}, "maximum-qos": {number, 0x24, 1, V5, 0},
	"retain-available": {number, 0x25, 1, V5, 0}, "user-property": {pair, 0x26, 0, V5, 0}, "maximum-packet": {number, 0x27, 4, V5, 0},
	"wildcard-available": {number, 0x28, 1, V5, 0}, "subscription-id-available": {number, 0x29, 1, V5, 0}, "shared-available": {number, 0x2A, 1, V5, 0},
}

// propertyWord finds the word of an identifier.
var propertyWord = func() map[byte]string {
	m := make(map[byte]string)
	for name, d := range properties {
		m[d.prop] = name
	}
	return m
}()

var (
	anyNumber = def{kind: number}
	anyText   = def{kind: text}
	anyFlag   = def{kind: flag}
	code5     = def{kind: number, from: V5}
)

// mutations are words of every packet that is sent: what no client should do.
var mutations = map[string]def{"flags": anyNumber, "extra": anyText, "cut": anyNumber}

// sent are the words of packets from a client, besides mutations and properties.
var sent = map[string]map[string]def{
	"CONNECT": {
		"id": anyText, "clean": anyFlag, "keep-alive": anyNumber, "username": anyText, "password": anyText,
		"will-topic": anyText, "will-payload": anyText, "will-qos": anyNumber, "will-retain": anyFlag,
		"protocol": anyText, "level": anyNumber, "connect-flags": anyNumber, "present": anyFlag, // present: see connects
	},
	"PUBLISH":     {"topic": anyText, "payload": anyText, "qos": anyNumber, "id": anyNumber, "dup": anyFlag, "retain": anyFlag},
	"PUBACK":      {"id": anyNumber, "code": code5},
	"PUBREC":      {"id": anyNumber, "code": code5},
	"PUBREL":      {"id": anyNumber, "code": code5},
	"PUBCOMP":     {"id": anyNumber, "code": code5},
	"SUBSCRIBE":   {"id": anyNumber, "filter": anyText, "qos": anyNumber, "no-local": {kind: flag, from: V5}, "retain-as-published": {kind: flag, from: V5}, "retain-handling": code5, "options": anyNumber},
	"UNSUBSCRIBE": {"id": anyNumber, "filter": anyText}, "PINGREQ": {}, "DISCONNECT": {"code": code5}, "AUTH": {"code": code5},
	"CONNACK": {}, "SUBACK": {}, "UNSUBACK": {}, "PINGRESP": {}, // a client that plays the server
}

// received are the words of packets from a server, besides their properties.
var received = map[string]map[string]def{
	"CONNACK":  {"code": code5, "return": {kind: number, to: V311}, "present": {kind: flag, from: V311}},
	"PUBLISH":  sent["PUBLISH"],
	"PUBACK":   sent["PUBACK"],
	"PUBREC":   sent["PUBREC"],
	"PUBREL":   sent["PUBREL"],
	"PUBCOMP":  sent["PUBCOMP"],
	"SUBACK":   {"id": anyNumber, "codes": {kind: list}},
	"UNSUBACK": {"id": anyNumber, "codes": {kind: list, from: V5}},
	"PINGRESP": {}, "DISCONNECT": {"code": code5}, "AUTH": {"code": code5},
}

// lookUp finds a word of a packet, in the direction it travels.
func lookUp(packet, name string, toServer bool) (def, bool) {
	if !toServer {
		if d, ok := received[packet][name]; ok {
			return d, true
		}
		d, ok := properties[name]
		return d, ok && allowed[packet][name]
	}
	if d, ok := sent[packet][name]; ok {
		return d, true
	}
	if d, ok := mutations[name]; ok {
		return d, true
	}
	if packet == "CONNECT" {
		name = strings.TrimPrefix(name, "will:")
	}
	d, ok := properties[name] // also where it is not allowed
	return d, ok
}

// variable is a name for a value; $x/y is a topic.
var variable = regexp.MustCompile(`^\$[a-z][a-z0-9]*$`)

// split cuts a line at its blanks; a quoted part keeps them.
func split(line string) ([]string, error) {
	var out []string
	var b strings.Builder
	quoted, escaped, some := false, false, false
	for _, r := range line {
		switch {
		case escaped:
			escaped = false
		case quoted && r == '\\':
			escaped = true
		case r == '"':
			quoted = !quoted
		case !quoted && (r == ' ' || r == '\t'):
			if some {
				out, some = append(out, b.String()), false
				b.Reset()
			}
			continue
		case !quoted && !some && r == '#': // a comment
			return out, nil
		}
		b.WriteRune(r)
		some = true
	}
	if quoted {
		return nil, fmt.Errorf("a quote is not closed")
	}
	if some {
		out = append(out, b.String())
	}
	return out, nil
}

// bytesOf reads a text: bare, "quoted", hex:00ff or repeat(3,x).
func bytesOf(s string) (string, error) {
	switch {
	case strings.HasPrefix(s, `"`):
		v, err := strconv.Unquote(s)
		if err != nil {
			return "", fmt.Errorf("%s is not a quoted text", s)
		}
		return v, nil
	case strings.HasPrefix(s, "hex:"):
		b, err := hex.DecodeString(s[4:])
		if err != nil {
			return "", fmt.Errorf("%s is not hexadecimal", s)
		}
		return string(b), nil
	case strings.HasPrefix(s, "repeat(") && strings.HasSuffix(s, ")"):
		count, what, ok := strings.Cut(s[7:len(s)-1], ",")
		n, err := strconv.Atoi(count)
		if !ok || err != nil || n < 0 || n > 1<<24 {
			return "", fmt.Errorf("%s is not repeat(times,text)", s)
		}
		return strings.Repeat(what, n), nil
	}
	return s, nil
}

func decimal(s string) (string, error) {
	n, err := strconv.ParseUint(s, 0, 32)
	if err != nil {
		return "", fmt.Errorf("%s is not a number", s)
	}
	return strconv.FormatUint(n, 10), nil
}

// normalise turns a value as written into the form packets are compared in.
func normalise(k kind, s string) (string, error) {
	switch k {
	case number:
		return decimal(s)
	case flag:
		if s != "0" && s != "1" {
			return "", fmt.Errorf("%s is neither 0 nor 1", s)
		}
		return s, nil
	case list:
		var out []string
		for part := range strings.SplitSeq(s, ",") {
			n, err := decimal(part)
			if err != nil {
				return "", err
			}
			out = append(out, n)
		}
		return strings.Join(out, ","), nil
	case pair:
		if name, value, ok := strings.Cut(s, ":"); ok && s[0] != '"' {
			v, err := bytesOf(value)
			return name + ":" + v, err
		}
		v, err := bytesOf(s)
		if err == nil && !strings.Contains(v, ":") {
			err = fmt.Errorf("%s is not name:value", s)
		}
		return v, err
	}
	return bytesOf(s)
}

// readWord reads one word of a packet.
func readWord(packet, token string, toServer bool) (word, error) {
	name, raw, has := strings.Cut(token, "=")
	d, ok := lookUp(packet, name, toServer)
	if !ok {
		return word{}, fmt.Errorf("%s has no word %q here", packet, name)
	}
	if !has {
		if d.kind != flag {
			return word{}, fmt.Errorf("%s wants a value: %s=...", name, name)
		}
		raw = "1"
	}
	w := word{name: name, raw: raw}
	if variable.MatchString(raw) || raw == "-" || raw == "*" {
		if raw == "*" && toServer {
			return w, fmt.Errorf("%s=* says nothing about what to send", name)
		}
		return w, nil
	}
	if low, high, ok := strings.Cut(raw, ".."); ok && d.kind == number && !toServer {
		if _, err := decimal(low); err != nil {
			return w, err
		}
		_, err := decimal(high)
		return w, err
	}
	var err error
	if w.value, err = normalise(d.kind, raw); err != nil {
		return w, fmt.Errorf("%s: %w", name, err)
	}
	return w, nil
}
