package cli

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net"
	"os"
	"strings"

	"github.com/redoubtmq/redoubt/client"
	"github.com/redoubtmq/redoubt/internal/secret"
	"github.com/redoubtmq/redoubt/mqtt"
)

// options turns the common flags into those of a connection, and answers the
// topic of the URL. Contradictions are refused: a script that says two things
// means one of them.
func (c *common) options(args []string, d Defaults, in IO) (o client.Options, topic string, err error) {
	o = client.DefaultOptions()
	c.add.connect = &o.Connect
	c.add.will, c.add.disconnect = &willProperties{}, &mqtt.Disconnect{}
	if err = c.add.take(c.props, args); err != nil {
		return o, "", err
	}
	if topic, err = c.whereTo(&o); err != nil {
		return o, "", err
	}
	if err = c.trustWhom(&o, d); err != nil {
		return o, "", err
	}
	if err = c.whoAreWe(&o, d, in); err != nil {
		return o, "", err
	}
	if err = c.session(&o, in); err != nil {
		return o, "", err
	}
	o.Connect.Will, err = c.makeWill()
	o.Inflight, o.ConnectTimeout, o.Clock = c.window, c.where.timeout, in.Clock
	return o, topic, err
}

// whereTo sets host, port and transport.
func (c *common) whereTo(o *client.Options) (topic string, err error) {
	o.Host, o.Port = c.where.host, uint16(c.where.port)
	tls := true
	switch c.where.protocol {
	case "mqtts":
	case "mqtt":
		tls = false
	case "quic":
		o.QUIC = true
	case "wss":
		o.WebSocket = c.where.path
	case "ws":
		o.WebSocket, tls = c.where.path, false
	default:
		return "", usage("--protocol is mqtts (TLS), mqtt (plaintext), wss, ws or quic, not %q", c.where.protocol)
	}
	if c.given("ws-path") && o.WebSocket == "" {
		return "", usage("--ws-path is for --protocol wss and ws")
	}
	if c.given("unix") {
		for _, flag := range []string{"url", "host", "port", "protocol"} {
			if c.given(flag) {
				return "", usage("--unix already says where to connect: leave out --%s", flag)
			}
		}
		o.Host, o.Socket, o.TLS = "", c.where.socket, nil
		return "", nil
	}
	if c.given("url") {
		for flag, short := range map[string]string{"host": "-h", "port": "-p", "protocol": "--protocol"} {
			if c.given(flag) {
				return "", usage("-L already says what %s says: give one of them", short)
			}
		}
		t, err := parseTarget(c.where.url)
		if err != nil {
			return "", err
		}
		if t.hasUsername && c.given("username") || t.hasSecret && (c.given("password") || c.given("password-file")) {
			return "", usage("user name or password are given twice, in the URL and by a flag")
		}
		o.Host, o.Port, tls, o.QUIC, topic = t.host, t.port, t.tls, t.quic, t.topic
		if t.hasUsername {
			o.Connect.Username, o.Connect.HasUsername = t.username, true
		}
		if t.hasSecret {
			o.Password, o.Connect.HasPassword = secret.FromString(t.password), true
		}
	}
	if !tls {
		o.TLS = nil
	}
	if o.Port == 0 {
		switch {
		case o.QUIC:
			o.Port = client.DefaultQUICPort
		case o.WebSocket != "" && tls:
			o.Port = client.DefaultWSSPort
		case o.WebSocket != "":
			o.Port = client.DefaultWSPort
		case tls:
			o.Port = client.DefaultTLSPort
		default:
			o.Port = client.DefaultPort
		}
	}
	return topic, nil
}

// trustWhom sets TLS.
func (c *common) trustWhom(o *client.Options, d Defaults) error {
	flags := []string{"cafile", "capath", "tls-use-os-certs", "cert", "key", "insecure"}
	if o.TLS == nil {
		for _, f := range flags {
			switch {
			case c.given(f) && o.Socket != "":
				return usage("--%s is for TLS, which a unix socket has not", f)
			case c.given(f):
				return usage("--%s is for TLS, and this connection is to be plaintext: leave out --protocol mqtt (or mqtt://)", f)
			}
		}
		return nil
	}
	if c.osCA && (c.trust.CAFile != "" || c.trust.CAPath != "") {
		return usage("--tls-use-os-certs and --cafile or --capath name two sources of trust: give one of them")
	}
	t := c.trust
	if t.CAFile == "" && t.CAPath == "" && !c.osCA {
		t.CAFile = d.CAFile
	}
	o.TLS = &t
	return nil
}

// whoAreWe sets the credentials.
func (c *common) whoAreWe(o *client.Options, d Defaults, in IO) error {
	if c.given("username") {
		o.Connect.Username, o.Connect.HasUsername = c.who.username, true
	}
	if c.given("password") && c.given("password-file") {
		return usage("--password and --password-file give two passwords: give one of them")
	}
	switch {
	case c.given("password"):
		o.Password, o.Connect.HasPassword = secret.FromString(c.who.password), true
	case c.given("password-file"):
		p, err := readPassword(c.who.passwordFile, in.Stdin)
		if err != nil {
			return err
		}
		o.Password, o.Connect.HasPassword = p, true
	case d.HasPassword && o.Connect.HasUsername && !o.Connect.HasPassword:
		o.Password, o.Connect.HasPassword = d.Password, true
	}
	return nil
}

// passwordMax bounds a password file, in bytes: MQTT's longest password and a
// newline.
const passwordMax = mqtt.StringMax + 2

// readPassword reads the first line of a file or of standard input.
func readPassword(path string, stdin io.Reader) (secret.Value, error) {
	r := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return secret.Value{}, fileError("the password file", path, err)
		}
		defer f.Close()
		r = f
	}
	line, err := readLine(r, passwordMax)
	if err != nil && !errors.Is(err, io.EOF) {
		return secret.Value{}, fileError("the password file", path, err)
	}
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) == 0 {
		return secret.Value{}, &client.Error{Kind: client.KindFile, What: "the first line of the password file " + path + " is empty"}
	}
	return secret.New(line), nil
}

// readLine reads up to a newline and not a byte further, so that what follows on
// standard input is left for the message.
func readLine(r io.Reader, limit int) ([]byte, error) {
	var line []byte
	for b := make([]byte, 1); ; {
		n, err := r.Read(b)
		if n == 1 {
			if b[0] == '\n' {
				return line, nil
			}
			if line = append(line, b[0]); len(line) > limit {
				return nil, fmt.Errorf("the line is longer than %d bytes", limit)
			}
			continue
		}
		if err != nil {
			return line, err
		}
	}
}

// fileError is a file that cannot be read, in our shape.
func fileError(what, path string, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return &client.Error{Kind: client.KindFile, What: fmt.Sprintf("cannot read %s %s: %v", what, path, err), Err: err}
}

// session sets version, client id and what is to outlive the connection.
func (c *common) session(o *client.Options, in IO) error {
	s, k := &c.sess, &o.Connect
	k.Version = s.version
	k.KeepAlive = uint16(s.keepAlive)
	if k.Version != mqtt.V5 && (c.add.given || s.expiryGiven) {
		return usage("MQTT %s has no properties: -D and -x need 5.0, which is the default", k.Version)
	}
	switch {
	case c.given("id") && c.given("id-prefix"):
		return usage("--id and --id-prefix both make the client id: give one of them")
	case c.given("id-prefix"):
		k.ClientID = fmt.Sprintf("%s%d", c.who.idPrefix, in.ProcessID)
	default:
		k.ClientID = c.who.id
	}
	if s.expiryGiven && c.add.expiry {
		return usage("-x and -D connect session-expiry-interval say the same thing: give one of them")
	}
	if s.expiryGiven {
		k.SessionExpiry = s.expiry
	}
	if s.resume {
		k.CleanStart = false
		if k.Version == mqtt.V5 && !s.expiryGiven && !c.add.expiry {
			k.SessionExpiry = math.MaxUint32 // as mosquitto: -c alone keeps the session for ever
		}
	}
	if (s.resume || k.SessionExpiry == math.MaxUint32) && k.ClientID == "" {
		return usage("a session that is kept (-c, -x -1) needs a client id: -i")
	}
	if k.ClientID == "" && k.Version != mqtt.V5 {
		var b [6]byte
		_, _ = rand.Read(b[:]) // never fails
		k.ClientID = "redoubt-" + hex.EncodeToString(b[:])
	}
	return nil
}

// makeWill is the will, nil without --will-topic.
func (c *common) makeWill() (*mqtt.Will, error) {
	if c.will.topic == "" {
		for _, f := range []string{"will-payload", "will-qos", "will-retain"} {
			if c.given(f) {
				return nil, usage("--%s needs --will-topic", f)
			}
		}
		if c.add.will.given {
			return nil, usage("-D will needs --will-topic")
		}
		return nil, nil
	}
	p := c.add.will
	w := &mqtt.Will{
		Topic: c.will.topic, Payload: []byte(c.will.payload), QoS: c.will.qos, Retain: c.will.retain,
		DelaySeconds: p.delay,
	}
	if p.given {
		if err := client.VerifyProperties(&p.props); err != nil {
			return nil, err
		}
		w.Props = p.props.Append(nil)
	}
	if p.expiry != nil {
		w.MessageExpiry, w.HasMessageExpiry = *p.expiry, true
	}
	return w, client.VerifyWill(w, c.sess.version)
}

// loopback tells whether nothing leaves this machine on the way to host.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
