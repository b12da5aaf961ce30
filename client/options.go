package client

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
	"github.com/redoubtmq/redoubt/mqtt"
)

// Defaults and bounds of a connection.
const (
	// DefaultTLSPort and DefaultPort are the registered ports of mqtts and mqtt.
	DefaultTLSPort = 8883
	DefaultPort    = 1883
	// DefaultWSSPort and DefaultWSPort are those of Redoubt's own listeners, and EMQX's.
	DefaultWSSPort = 8084
	DefaultWSPort  = 8083
	// DefaultConnectTimeout is how long name resolution, TCP, TLS and CONNACK may
	// take together. It is the server's connect_deadline: waiting longer is vain.
	DefaultConnectTimeout = 10 * time.Second
	// DefaultKeepAlive is mosquitto's, in seconds.
	DefaultKeepAlive = 60
	// DefaultReceiveMaximum bounds the QoS 1 and 2 messages the server may have
	// under way to us.
	DefaultReceiveMaximum = 128
	// DefaultMaximumPacketSize is the largest packet we accept, in bytes: 16 times
	// what Redoubt itself accepts by default.
	DefaultMaximumPacketSize = 16 << 20
	// DefaultInflight is mosquitto_pub's window of QoS 1 and 2 messages.
	DefaultInflight = 20
	// TopicAliasMax bounds the topic names a server may make us remember: 256 of
	// at most 64 KiB.
	TopicAliasMax = 256
	// inboxBytesMax and inboxMessagesMax are how much may wait for Next before the
	// socket is no longer read; one message always may, whatever its size.
	inboxBytesMax    = 8 << 20
	inboxMessagesMax = 1024
)

// Options says where and how to connect. Dial keeps the slices in it, which must
// not change afterwards. Begin with DefaultOptions: in a zero
// Options the server would be asked for no reason strings.
type Options struct {
	Host string
	Port uint16 // 0: 8883 with TLS, 1883 without, 14567 with QUIC
	TLS  *TLS   // nil: plaintext
	QUIC bool   // over UDP; needs TLS
	// Socket is the path of a unix socket to connect to in place of Host and Port.
	Socket string
	// WebSocket is the path of a WebSocket, such as /mqtt; "": none. With TLS it is wss.
	WebSocket string
	// Connect is what CONNECT says. Version 0 is 5.0. MaximumPacketSize bounds
	// incoming packets whatever the version; ReceiveMaximum is announced in 5.0.
	// Password is ignored: it comes from the field below.
	Connect  mqtt.Connect
	Password secret.Value // sent if Connect.HasPassword
	// Inflight is how many of our QoS 1 and 2 messages may be unacknowledged; the
	// server's Receive Maximum may lower it. 0: DefaultInflight.
	Inflight int
	// Receive makes incoming messages available through Next, which acknowledges
	// them; the caller then has to call Next, because a full inbox stops the
	// reading of the socket. Without it messages are dropped unacknowledged, so
	// that those of QoS 1 and 2 stay in the session for somebody who wants them.
	Receive        bool
	ConnectTimeout time.Duration // 0: DefaultConnectTimeout

	// For tests and debugging.
	Clock       clock.Clock // nil: the machine's
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// Trace is told every packet that comes and goes, in words, from several
	// goroutines at a time. It must not call the Client. nil: nobody.
	Trace func(line string)
}

// DefaultOptions is MQTT 5.0 over TLS with the system's trust store, a clean
// session, and a client id that the server chooses.
func DefaultOptions() Options {
	return Options{
		Host: "localhost",
		TLS:  &TLS{},
		Connect: mqtt.Connect{
			Version:                   mqtt.V5,
			CleanStart:                true,
			KeepAlive:                 DefaultKeepAlive,
			ReceiveMaximum:            DefaultReceiveMaximum,
			MaximumPacketSize:         DefaultMaximumPacketSize,
			RequestProblemInformation: true,
		},
	}
}

// complete fills in what was left zero.
func (o *Options) complete() {
	if o.Port == 0 {
		o.Port = DefaultPort
		if o.TLS != nil {
			o.Port = DefaultTLSPort
		}
		switch {
		case o.QUIC:
			o.Port = DefaultQUICPort
		case o.WebSocket != "" && o.TLS != nil:
			o.Port = DefaultWSSPort
		case o.WebSocket != "":
			o.Port = DefaultWSPort
		}
	}
	c := &o.Connect
	if c.Version == 0 {
		c.Version = mqtt.V5
	}
	if c.ReceiveMaximum == 0 {
		c.ReceiveMaximum = DefaultReceiveMaximum
	}
	if c.MaximumPacketSize == 0 {
		c.MaximumPacketSize = DefaultMaximumPacketSize
	}
	c.MaximumPacketSize = min(c.MaximumPacketSize, mqtt.RemainingMax+5) // no packet is larger
	if o.Inflight == 0 {
		o.Inflight = DefaultInflight
	}
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = DefaultConnectTimeout
	}
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.DialContext == nil {
		o.DialContext = (&net.Dialer{}).DialContext
	}
}

// verify refuses what no server could make sense of.
func (o *Options) verify() error {
	c := &o.Connect
	bad := func(format string, args ...any) error {
		return &Error{Kind: KindOptions, What: fmt.Sprintf(format, args...)}
	}
	switch {
	case o.Host == "" && o.Socket == "":
		return bad("no host to connect to")
	case o.WebSocket != "" && (o.QUIC || o.Socket != ""):
		return bad("WebSocket is spoken over TCP, with TLS or without")
	case o.WebSocket != "" && (o.WebSocket[0] != '/' || strings.ContainsFunc(o.WebSocket, func(r rune) bool { return r <= ' ' || r >= 0x7f })):
		return bad("the path %s of a WebSocket begins with / and has neither spaces nor characters beyond ASCII", quote(o.WebSocket))
	case o.QUIC && o.TLS == nil:
		return bad("QUIC has no plaintext")
	case o.Socket != "" && (o.TLS != nil || o.QUIC):
		return bad("a unix socket is spoken to in plaintext")
	case c.Version != mqtt.V31 && c.Version != mqtt.V311 && c.Version != mqtt.V5:
		return bad("protocol level %d is none this client speaks (3, 4 or 5)", c.Version)
	case c.HasAuthMethod:
		return bad("enhanced authentication (AUTH) is not built: use a user name with a password, or a client certificate")
	case c.HasPassword && !c.HasUsername && c.Version != mqtt.V5:
		return bad("MQTT %s has no password without a user name [MQTT-3.1.2-22]", c.Version)
	case c.ClientID == "" && !c.CleanStart:
		return bad("a session that is to be resumed needs a client id of its own")
	case c.TopicAliasMaximum > TopicAliasMax:
		return bad("topic alias maximum %d is over %d, the most this client remembers", c.TopicAliasMaximum, TopicAliasMax)
	case o.Inflight < 1 || o.Inflight > 65535:
		return bad("%d unacknowledged messages is out of range (1 to 65535)", o.Inflight)
	case len(c.ClientID) > mqtt.StringMax || len(c.Username) > mqtt.StringMax || len(o.Password.Reveal()) > mqtt.StringMax:
		return bad("client id, user name and password hold at most %d bytes each", mqtt.StringMax)
	}
	return nil
}

// address is what we connect to, for messages.
func (o *Options) address() string {
	if o.Socket != "" {
		return "unix:" + o.Socket
	}
	return net.JoinHostPort(o.Host, strconv.Itoa(int(o.Port)))
}
