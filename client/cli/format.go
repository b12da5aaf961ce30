package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/redoubtmq/redoubt/client"
)

// piece appends one part of a formatted message.
type piece func(dst []byte, m *client.Message) []byte

// formats is -F, cut into its pieces.
type format []piece

// formatHelp is the subset of mosquitto_sub's -F that exists here.
const formatHelp = "%t topic, %p payload, %l its length, %x and %X its bytes in hexadecimal, %q QoS, %r retain, %m packet identifier, " +
	"%C content type, %R response topic, %E message expiry, %I and %U time, %j all as JSON, %%"

// parseFormat cuts -F into pieces. clean makes what a publisher chose safe for a
// terminal; the text of the format itself is the user's own.
func parseFormat(s string, clean func(dst, s []byte) []byte) (format, error) {
	params := map[byte]piece{
		't': func(dst []byte, m *client.Message) []byte { return clean(dst, []byte(m.Topic)) },
		'p': func(dst []byte, m *client.Message) []byte { return clean(dst, m.Payload) },
		'l': func(dst []byte, m *client.Message) []byte { return strconv.AppendInt(dst, int64(len(m.Payload)), 10) },
		'x': func(dst []byte, m *client.Message) []byte { return hex.AppendEncode(dst, m.Payload) },
		'X': func(dst []byte, m *client.Message) []byte {
			return append(dst, strings.ToUpper(hex.EncodeToString(m.Payload))...)
		},
		'q': func(dst []byte, m *client.Message) []byte { return strconv.AppendInt(dst, int64(m.QoS), 10) },
		'r': func(dst []byte, m *client.Message) []byte { return strconv.AppendInt(dst, int64(bit(m.Retain)), 10) },
		'm': func(dst []byte, m *client.Message) []byte { return strconv.AppendInt(dst, int64(m.PacketID), 10) },
		'C': func(dst []byte, m *client.Message) []byte { return clean(dst, []byte(m.Properties.ContentType)) },
		'R': func(dst []byte, m *client.Message) []byte { return clean(dst, []byte(m.Properties.ResponseTopic)) },
		'E': func(dst []byte, m *client.Message) []byte {
			if !m.HasMessageExpiry {
				return dst
			}
			return strconv.AppendUint(dst, uint64(m.MessageExpiry), 10)
		},
		'I': func(dst []byte, m *client.Message) []byte {
			return m.Received.AppendFormat(dst, "2006-01-02T15:04:05-0700")
		},
		'U': func(dst []byte, m *client.Message) []byte {
			return fmt.Appendf(dst, "%d.%09d", m.Received.Unix(), m.Received.Nanosecond())
		},
		'j': func(dst []byte, m *client.Message) []byte { return appendJSON(dst, m) },
		'%': func(dst []byte, _ *client.Message) []byte { return append(dst, '%') },
	}
	escapes := map[byte]byte{'\\': '\\', '0': 0, 'a': 7, 'e': 27, 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v'}
	var out format
	var text []byte
	flush := func() {
		if len(text) > 0 {
			t := text
			out = append(out, func(dst []byte, _ *client.Message) []byte { return append(dst, t...) })
			text = nil
		}
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '%' && c != '\\' && c != '@' {
			text = append(text, c)
			continue
		}
		if i++; i == len(s) {
			return nil, usage("-F ends with a lone %q; write it twice to mean itself", c)
		}
		switch c {
		case '@':
			if s[i] != '@' {
				return nil, usage("-F %q: times by strftime are not built; %%I and %%U are (@@ is an @)", "@"+s[i:i+1])
			}
			text = append(text, '@')
		case '\\':
			e, ok := escapes[s[i]]
			if !ok {
				return nil, usage("-F %q is no escape; there are \\\\ \\0 \\a \\e \\n \\r \\t \\v", s[i-1:i+1])
			}
			text = append(text, e)
		case '%':
			if strings.IndexByte("-.0123456789", s[i]) >= 0 {
				return nil, usage("-F %q: field widths are not built", "%"+s[i:i+1])
			}
			p, ok := params[s[i]]
			if !ok {
				return nil, usage("-F %q is not built; there are: %s", "%"+s[i:i+1], formatHelp)
			}
			flush()
			out = append(out, p)
		}
	}
	flush()
	return out, nil
}

func (f format) append(dst []byte, m *client.Message) []byte {
	for _, p := range f {
		dst = p(dst, m)
	}
	return dst
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// jsonMessage is a message for a program: mosquitto_sub's %j, except that the
// time is RFC 3339, that user properties keep their order and their repetitions,
// and that a payload which is no UTF-8 comes as payload_base64.
type jsonMessage struct {
	Time       string          `json:"tst"`
	Topic      string          `json:"topic"`
	QoS        int             `json:"qos"`
	Retain     int             `json:"retain"`
	PayloadLen int             `json:"payloadlen"`
	PacketID   uint16          `json:"mid,omitempty"`
	Properties *jsonProperties `json:"properties,omitempty"`
	Payload    *string         `json:"payload,omitempty"`
	Base64     string          `json:"payload_base64,omitempty"`
}

type jsonProperties struct {
	PayloadFormat   *int       `json:"payload-format-indicator,omitempty"`
	MessageExpiry   *uint32    `json:"message-expiry-interval,omitempty"`
	ContentType     string     `json:"content-type,omitempty"`
	ResponseTopic   string     `json:"response-topic,omitempty"`
	CorrelationData string     `json:"correlation-data,omitempty"`
	CorrelationB64  string     `json:"correlation-data_base64,omitempty"`
	SubscriptionIDs []uint32   `json:"subscription-identifiers,omitempty"`
	UserProperties  []jsonPair `json:"user-properties,omitempty"`
}

type jsonPair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// appendJSON appends m as one object, without a newline.
func appendJSON(dst []byte, m *client.Message) []byte {
	j := jsonMessage{
		Time: m.Received.Format(time.RFC3339Nano), Topic: m.Topic, QoS: int(m.QoS), Retain: bit(m.Retain),
		PayloadLen: len(m.Payload), PacketID: m.PacketID, Properties: jsonProps(m),
	}
	if utf8.Valid(m.Payload) {
		j.Payload = new(string(m.Payload))
	} else {
		j.Base64 = base64.StdEncoding.EncodeToString(m.Payload)
	}
	return appendObject(dst, j)
}

func jsonProps(m *client.Message) *jsonProperties {
	p := &m.Properties
	if !p.HasPayloadFormat && !m.HasMessageExpiry && p.ContentType == "" && p.ResponseTopic == "" && p.CorrelationData == nil &&
		len(p.UserProperties) == 0 && len(m.SubscriptionIDs) == 0 {
		return nil
	}
	out := &jsonProperties{ContentType: p.ContentType, ResponseTopic: p.ResponseTopic, SubscriptionIDs: m.SubscriptionIDs}
	if p.HasPayloadFormat {
		out.PayloadFormat = new(bit(p.PayloadIsUTF8))
	}
	if m.HasMessageExpiry {
		out.MessageExpiry = new(m.MessageExpiry)
	}
	if utf8.Valid(p.CorrelationData) {
		out.CorrelationData = string(p.CorrelationData)
	} else {
		out.CorrelationB64 = base64.StdEncoding.EncodeToString(p.CorrelationData)
	}
	for _, u := range p.UserProperties {
		out.UserProperties = append(out.UserProperties, jsonPair{u.Name, u.Value})
	}
	return out
}

// appendObject appends v as JSON on one line. Nothing we hand it can fail.
func appendObject(dst []byte, v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // it is for programs, not for web pages
	if err := e.Encode(v); err != nil {
		panic("BUG: cli: " + err.Error())
	}
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}
