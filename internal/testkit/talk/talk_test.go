package talk

import (
	"encoding/hex"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// canned is a World whose broker answers each packet with the next of its lines:
// hexadecimal bytes, or the word close. It lives in a bubble.
type canned struct{ lines []string }

func (w *canned) Dial() net.Conn {
	ours, theirs := net.Pipe()
	go w.serve(theirs)
	return ours
}

func (w *canned) Go(f func())             { go f() }
func (w *canned) Settle()                 { synctest.Wait() }
func (w *canned) Advance(d time.Duration) { <-time.After(d) }
func (w *canned) Patience() time.Duration { return 0 }

func (w *canned) serve(nc net.Conn) {
	defer nc.Close()
	var buf []byte
	chunk := make([]byte, 1024)
	for {
		n, err := nc.Read(chunk)
		if err != nil {
			return
		}
		for buf = append(buf, chunk[:n]...); ; {
			_, size, err := frameOf(buf)
			if err != nil || size == 0 {
				break
			}
			buf = buf[size:]
			if len(w.lines) == 0 {
				continue
			}
			line := w.lines[0]
			w.lines = w.lines[1:]
			hexa, closing := strings.CutSuffix(line, "close")
			b, err := hex.DecodeString(strings.ReplaceAll(hexa, " ", ""))
			if err != nil {
				panic(err)
			}
			if _, err := nc.Write(b); err != nil || closing {
				return
			}
		}
	}
}

const ack5 = "20 03 00 00 00"

// played plays lines against canned answers and answers what went wrong.
func played(t *testing.T, v Version, script string, lines ...string) (err error) {
	t.Helper()
	f, err := Parse("x.txt", "case One.\n"+script)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(*testing.T) { err = Play(f.Cases[0], v, &canned{lines}) })
	return err
}

func TestWhatIsAsExpectedPasses(t *testing.T) {
	for what, c := range map[string]struct {
		script string
		lines  []string
	}{
		"ping":                   {"a connects\na> PINGREQ\na< PINGRESP", []string{ack5, "d0 00"}},
		"held packets":           {"a+ CONNECT\na> PINGREQ\na< CONNACK\na< PINGRESP", []string{ack5, "d0 00"}},
		"refused":                {"a> CONNECT\na< CONNACK code=0x86, closed", []string{"20 03 00 86 00 close"}},
		"closed":                 {"a connects\na> PINGREQ\na< DISCONNECT code=0x81, closed", []string{ack5, "e0 01 81 close"}},
		"again after the end":    {"a> CONNECT\na< closed\na connects", []string{"close", ack5}},
		"any order":              {"a connects\na> PINGREQ\na<* PINGRESP\na<* PUBACK", []string{ack5, "40 02 00 01 d0 00"}},
		"a value is remembered":  {"a connects\na> PINGREQ\na< PUBLISH topic=t qos=1 id=$x\na> PUBACK id=$x\na< PUBACK id=$x", []string{ack5, "32 06 00 01 74 00 09 00", "40 02 00 09"}},
		"a range and a star":     {"a> CONNECT\na< CONNACK receive-maximum=5..7 session-expiry=- maximum-packet=*", []string{"20 0b 00 00 08 21 00 06 27 00 00 00 09"}},
		"only in other versions": {"v3: a> SUBSCRIBE filter=t\na connects", []string{ack5}},
		"a loop":                 {"a connects\neach $n 1 2\na> PUBACK id=$n\na< PUBACK id=$n\nend", []string{ack5, "40 02 00 01", "40 02 00 02"}},
		"an alias":               {"a connects alias-maximum=1\na> PINGREQ\na< PUBLISH topic=t alias=1\na< PUBLISH topic=t alias=1", []string{ack5, "30 07 00 01 74 03 23 00 01 30 06 00 00 03 23 00 01"}},
		"a whole flow":           {"a connects\na publishes topic=t qos=2 id=7", []string{ack5, "50 02 00 07", "70 02 00 07"}},
		"a whole delivery":       {"a connects\na> PINGREQ\na gets topic=t qos=2", []string{ack5, "34 06 00 01 74 00 09 00", "62 02 00 09"}},
	} {
		if err := played(t, V5, c.script, c.lines...); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestWhatIsNotExpectedFails(t *testing.T) {
	for what, c := range map[string]struct {
		want   string
		script string
		lines  []string
	}{
		"nothing comes":          {"got nothing", "a> CONNECT\na< CONNACK", nil},
		"another packet":         {"want CONNACK", "a> CONNECT\na< CONNACK\na> PINGREQ\na< CONNACK", []string{ack5, "d0 00"}},
		"another code":           {"want code=0x86", "a> CONNECT\na< CONNACK code=0x86", []string{ack5}},
		"a code nobody spoke of": {"want code=0", "a connects\na> PUBLISH topic=t qos=1\na< PUBACK", []string{ack5, "40 03 00 01 10"}},
		"one packet too many":    {"nobody spoke of PINGRESP", "a connects\na> PINGREQ", []string{ack5, "d0 00"}},
		"an end too many":        {"nobody spoke of the end", "a connects\na> PINGREQ\na< PINGRESP", []string{ack5, "d0 00 close"}},
		"unread before drops":    {"nobody spoke of PINGRESP", "a connects\na> PINGREQ\na drops", []string{ack5, "d0 00"}},
		"not nothing":            {"got PINGRESP", "a connects\na> PINGREQ\na< nothing", []string{ack5, "d0 00"}},
		"not closed":             {"still open", "a connects\na> PINGREQ\na< closed", []string{ack5}},
		"a packet before closed": {"before the end", "a connects\na> PINGREQ\na< closed", []string{ack5, "d0 00 close"}},
		"another identifier":     {"want id=1", "a connects\na> PUBLISH topic=t qos=1\na< PUBACK", []string{ack5, "40 02 00 02"}},
		"a flag in a message":    {"want retain=0", "a connects\na> PINGREQ\na< PUBLISH topic=t", []string{ack5, "31 04 00 01 74 00"}},
		"a property too many":    {"want no payload-format", "a connects\na> PINGREQ\na< PUBLISH topic=t", []string{ack5, "30 06 00 01 74 02 01 01"}},
		"a property twice":       {"want user-property 1 times", "a connects\na> PINGREQ\na< PUBLISH topic=t user-property=a:b", []string{ack5, "30 12 00 01 74 0e 26 00 01 61 00 01 62 26 00 01 61 00 01 62"}},
		"values that are alike":  {"are both", "a connects\na> PINGREQ\na< PUBACK id=$x\na< PUBACK id=$y\ndiffer $x $y", []string{ack5, "40 02 00 01 40 02 00 01"}},
		"a value nobody met":     {"$x has no value", "a connects\na> PUBACK id=$x", []string{ack5}},
		"out of range":           {"want receive-maximum=7..9", "a> CONNECT\na< CONNACK receive-maximum=7..9", []string{"20 06 00 00 03 21 00 06"}},
		"not in the group":       {"is not among", "a connects\na> PINGREQ\na<* PINGRESP\na<* PUBACK id=2", []string{ack5, "40 02 00 01 d0 00"}},
	} {
		err := played(t, V5, c.script, c.lines...)
		var f *Failure
		if !errors.As(err, &f) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "x.txt:") {
			t.Errorf("%s: got %v, want %q", what, err, c.want)
		}
	}
}

// A server that breaks the protocol fails whatever a line says.
func TestEveryPacketIsJudged(t *testing.T) {
	for what, c := range map[string]struct{ connack, packet, want string }{
		"padded length":           {"20 83 00 00 00 00", "", "longer than it needs"},
		"reserved CONNACK flags":  {"20 03 02 00 00", "", "MQTT-3.2.2-1"},
		"session though refused":  {"20 03 01 86 00", "", "MQTT-3.2.2-6"},
		"unlisted code":           {"20 03 00 8e 00", "", "may not say"},
		"packet before CONNACK":   {"d0 00", "", "MQTT-3.2.0-1"},
		"property out of place":   {"20 06 00 00 03 23 00 01", "", "may not have"},
		"property twice":          {"20 09 00 00 06 21 00 01 21 00 01", "", "twice"},
		"receive maximum 0":       {"20 06 00 00 03 21 00 00", "", "is 0"},
		"second CONNACK":          {ack5, ack5, "MQTT-3.2.0-2"},
		"flags of PUBACK":         {ack5, "41 02 00 01", "MQTT-2.1.3-1"},
		"flags of PUBREL":         {ack5, "60 02 00 01", "MQTT-2.1.3-1"},
		"identifier 0":            {ack5, "40 02 00 00", "MQTT-2.2.1-4"},
		"QoS 3":                   {ack5, "36 06 00 01 74 00 01 00", "MQTT-3.3.1-4"},
		"DUP at QoS 0":            {ack5, "38 04 00 01 74 00", "MQTT-3.3.1-2"},
		"wildcard":                {ack5, "30 04 00 01 23 00", "MQTT-3.3.2-2"},
		"no topic":                {ack5, "30 03 00 00 00", "MQTT-4.7.3-1"},
		"bad UTF-8":               {ack5, "30 04 00 01 ff 00", "MQTT-1.5.4-1"},
		"U+0000":                  {ack5, "30 04 00 01 00 00", "MQTT-1.5.4-2"},
		"alias too high":          {ack5, "30 07 00 01 74 03 23 00 03", "MQTT-3.1.2-26"},
		"alias never told":        {ack5, "30 06 00 00 03 23 00 01", "never told"},
		"alias 0":                 {ack5, "30 07 00 01 74 03 23 00 00", "is 0"},
		"too large":               {ack5, "30 28 00 01 74 00" + strings.Repeat(" 78", 36), "MQTT-3.1.2-24"},
		"explains itself":         {ack5, "40 08 00 01 80 04 1f 00 01 78", "MQTT-3.1.2-29"},
		"something after the end": {ack5, "e0 01 81 d0 00", "MQTT-3.14.4-1"},
		"session expiry":          {ack5, "e0 07 81 05 11 00 00 00 01", "may not have"},
		"SUBACK without codes":    {ack5, "90 03 00 01 00", "without a reason code"},
		"bytes left over":         {ack5, "d0 01 00", "after the end"},
		"ends too early":          {ack5, "40 01 00", "too early"},
		"what a client sends":     {ack5, "c0 00", "from a server"},
		"half a packet":           {ack5, "d0 close", "within a packet"},
	} {
		script := "a> CONNECT maximum-packet=41 alias-maximum=2 request-problem=0\na< CONNACK\na> PINGREQ\n"
		if strings.HasPrefix(c.packet, "e0") {
			script += "a< DISCONNECT code=0x81, closed"
		} else {
			script += "a< PINGRESP"
		}
		if err := played(t, V5, script, c.connack, c.packet); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", what, err, c.want)
		}
	}
}

func TestWordsAVersionDoesNotHaveAreLeftOut(t *testing.T) {
	script := "a> CONNECT session-expiry=5\na< CONNACK code=0x84 return=1, closed"
	if err := played(t, V311, script, "20 02 00 01 close"); err != nil {
		t.Error(err)
	}
	if err := played(t, V5, script, "20 03 00 84 00 close"); err != nil {
		t.Error(err)
	}
	if err := played(t, V311, "a connects\na> PUBLISH topic=t qos=1\na< PUBACK code=0x10", "20 02 00 00", "40 02 00 01"); err != nil {
		t.Error(err)
	}
	if err := played(t, V311, "a connects\na> SUBSCRIBE filter=t\na< SUBACK codes=0x87", "20 02 00 00", "90 03 00 01 80"); err != nil {
		t.Error(err)
	}
	if err := played(t, V311, "a connects\na> PINGREQ\na< DISCONNECT code=0x82, closed", "20 02 00 00", "close"); err != nil {
		t.Error(err)
	}
}

func TestScriptsThatMeanNothingAreRefused(t *testing.T) {
	for script, want := range map[string]string{
		"a connects":                         "begins with case",
		"case A.\nfoo bar":                   "not something a client does",
		"case A.\na> NONSENSE":               "not a packet",
		"case A.\na< SUBSCRIBE filter=t":     "not a packet in this direction",
		"case A.\na> PUBLISH tpoic=x":        "no word",
		"case A.\na> PUBLISH topic":          "wants a value",
		"case A.\na> PUBLISH qos=x":          "not a number",
		"case A.\na> PUBLISH retain=2":       "neither 0 nor 1",
		"case A.\na> PUBLISH topic=\"x":      "quote",
		"case A.\na> PUBLISH topic=*":        "says nothing",
		"case A.\na< PUBACK session-expiry=": "no word",
		"case A.\na< CONNACK session-expiry": "wants a value",
		"case A.\na> raw 3":                  "neither bytes",
		"case A.\na> raw [ 30":               "without ]",
		"case A.\na> raw 30 ]":               "without [",
		"case A.\na< nothing else":           "stands alone",
		"case A.\na< DISCONNECT code=0":      "closes",
		"case A.\nwait soon":                 "write wait",
		"case A.\nwith nonsense=1":           "not a setting",
		"case A.\nfor v4":                    "not a version",
		"case A.\ncovers MQTT-1":             "is not like",
		"case A.\nfails":                     "say why",
		"case A.\neach n 1\nend":             "write each",
		"case A.\neach $n 1\na opens":        "without end",
		"case A.\nend":                       "without each",
		"case A.\nA opens":                   "not the name of a client",
		"case A.":                            "has no line",
		"case A.\na opens\ncase A!\na opens": "twice",
		"case":                               "says in a sentence",
	} {
		if _, err := Parse("x.txt", script); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", script, err, want)
		}
	}
}

func TestRawBytes(t *testing.T) {
	got, err := rawBytes(strings.Fields(`82 [ 00 01 [ 0b 81 00 ] str:t text:xy ]`))
	if want := "820b0001030b8100000174" + "7879"; err != nil || hex.EncodeToString(got) != want {
		t.Errorf("%x, %v, want %s", got, err, want)
	}
}

// The house's scripts can be read, and every setting they name is one.
func TestScriptsOfTheHouse(t *testing.T) {
	for _, f := range Scripts(t) {
		for _, c := range f.Cases {
			if len(c.Covers) == 0 && c.Fails == "" && !strings.HasPrefix(c.Name, "Acknowledgements in another order") {
				t.Errorf("%s:%d: %s covers nothing", c.File, c.Line, c.Name)
			}
		}
	}
}
