package mqtt

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
)

// aroundProps are the bytes of a packet in front of and behind its property
// section, written by hand so that no encoder has a say.
var aroundProps = map[string]struct {
	first         byte
	fromServer    bool
	before, after string
}{
	"CONNECT":                {0x10, false, "\x00\x04MQTT\x05\x02\x00\x3c", "\x00\x01c"},
	"will":                   {0x10, false, "\x00\x04MQTT\x05\x06\x00\x3c\x00\x00\x01c", "\x00\x01w\x00\x01x"},
	"CONNACK":                {0x20, true, "\x00\x00", ""},
	"PUBLISH from client":    {0x32, false, "\x00\x01t\x00\x01", "payload"},
	"PUBLISH from server":    {0x32, true, "\x00\x01t\x00\x01", "payload"},
	"PUBACK":                 {0x40, false, "\x00\x01\x00", ""},
	"PUBREC":                 {0x50, false, "\x00\x01\x00", ""},
	"PUBREL":                 {0x62, false, "\x00\x01\x00", ""},
	"PUBCOMP":                {0x70, false, "\x00\x01\x00", ""},
	"SUBSCRIBE":              {0x82, false, "\x00\x01", "\x00\x01f\x00"},
	"SUBACK":                 {0x90, true, "\x00\x01", "\x00"},
	"UNSUBSCRIBE":            {0xA2, false, "\x00\x01", "\x00\x01f"},
	"UNSUBACK":               {0xB0, true, "\x00\x01", "\x00"},
	"DISCONNECT from client": {0xE0, false, "\x00", ""},
	"DISCONNECT from server": {0xE0, true, "\x00", ""},
	"AUTH from client":       {0xF0, false, "\x18", ""},
	"AUTH from server":       {0xF0, true, "\x18", ""},
}

// wrapProps makes a whole packet around a property section. Where the standard
// wants an Authentication Method besides, it is there.
func wrapProps(place string, section []byte) ([]byte, bool) {
	a := aroundProps[place]
	id := byte(0)
	if len(section) > 0 {
		id = section[0]
	}
	if (a.first == 0xF0 && id != propAuthMethod) || (place == "CONNECT" && id == propAuthData) {
		section = append([]byte{propAuthMethod, 0, 1, 'm'}, section...)
	}
	body := []byte(a.before)
	body = append(appendVarint(body, len(section)), section...)
	body = append(body, a.after...)
	return append(appendVarint([]byte{a.first}, len(body)), body...), a.fromServer
}

// TestPropertyTable tries every property in every place, alone and twice, with
// usual and with extreme values, and compares with the table in testdata.
func TestPropertyTable(t *testing.T) {
	const file = "testdata/properties.txt"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	rows := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "#") {
			out.WriteString(line)
			continue
		}
		cols := strings.Split(strings.TrimSpace(line), " | ")
		if len(cols) != 5 {
			t.Fatalf("%q: want five columns", line)
		}
		section, err := hex.DecodeString(strings.ReplaceAll(cols[2], " ", ""))
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if name := propRules[section[0]].name; name != cols[1] {
			t.Errorf("%q: the property is called %q", line, name)
		}
		rows[fmt.Sprint(cols[0], section[0])] = true
		once, twice := verdict(t, cols[0], section), verdict(t, cols[0], bytes.Repeat(section, 2))
		got := fmt.Sprintf("%s | %s | %s | %s | %s\n", cols[0], cols[1], cols[2], once, twice)
		if got != line && !*rewrite {
			t.Errorf("\ngot  %swant %s", got, line)
		}
		out.WriteString(got)
	}
	if *rewrite {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for id := range propRules {
		for place := range aroundProps {
			if propRules[id].kind != kindNone && !rows[fmt.Sprint(place, byte(id))] {
				t.Errorf("no row for %s in %s", propRules[id].name, place)
			}
		}
	}
}

func verdict(t *testing.T, place string, section []byte) string {
	packet, fromServer := wrapProps(place, section)
	p, n, err := decodePacket(packet, V5, fromServer, Limits{UserProperties: -1})
	if err == nil {
		if n != len(packet) {
			t.Errorf("%s, % x: took %d bytes of %d", place, section, n, len(packet))
		}
		if err := sameAgain(p, V5, fromServer); err != nil {
			t.Errorf("%s, % x: %v", place, section, err)
		}
		return "accepted"
	}
	e := err.(*Error)
	return fmt.Sprintf("0x%02x %s", byte(e.Reason), e.Rule)
}

// TestUnknownProperties refuses all the identifiers that no property has,
// everywhere.
func TestUnknownProperties(t *testing.T) {
	for place := range aroundProps {
		for id := range 256 {
			if id < propCount && propRules[id].kind != kindNone {
				continue
			}
			packet, fromServer := wrapProps(place, []byte{byte(id), 0, 0, 0, 0})
			_, _, err := decodePacket(packet, V5, fromServer, Limits{UserProperties: -1})
			if e, ok := err.(*Error); !ok || e.Reason != MalformedPacket {
				t.Errorf("%s, property 0x%02x: %v", place, id, err)
			}
		}
	}
}

// TestPropertiesCutShort ends every property within its value, at the end of the
// section.
func TestPropertiesCutShort(t *testing.T) {
	values := map[propKind]string{
		kindBool: "\x01", kindUint16: "\x00\x05", kindUint32: "\x00\x00\x00\x05", kindVarint: "\x80\x01",
		kindBinary: "\x00\x02ab", kindText: "\x00\x02ab", kindPair: "\x00\x01k\x00\x02ab",
	}
	for id, r := range propRules {
		if r.kind == kindNone {
			continue
		}
		whole := append([]byte{byte(id)}, values[r.kind]...)
		for place := range aroundProps {
			for n := 1; n < len(whole); n++ {
				packet, fromServer := wrapProps(place, whole[:n])
				if _, _, err := decodePacket(packet, V5, fromServer, Limits{UserProperties: -1}); err == nil {
					t.Errorf("%s: %s accepted although cut to %d bytes", place, r.name, n)
				}
			}
		}
	}
}

// TestUserPropertyLimit holds every packet to the limit, exactly (A019).
func TestUserPropertyLimit(t *testing.T) {
	for place := range aroundProps {
		for _, tc := range []struct {
			limit, count int
			ok           bool
		}{{0, 0, true}, {0, 1, false}, {5, 5, true}, {5, 6, false}, {-1, 1000, true}} {
			section := bytes.Repeat([]byte{propUserProperty, 0, 0, 0, 0}, tc.count)
			packet, fromServer := wrapProps(place, section)
			_, _, err := decodePacket(packet, V5, fromServer, Limits{UserProperties: tc.limit})
			if e, isErr := err.(*Error); tc.ok != (err == nil) || isErr && e.Reason != QuotaExceeded {
				t.Errorf("%s: %d user properties with limit %d: %v", place, tc.count, tc.limit, err)
			}
		}
	}
}
