package cli

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/redoubtmq/redoubt/client"
	"github.com/redoubtmq/redoubt/mqtt"
)

// common are the flags of both commands.
type common struct {
	fs     *pflag.FlagSet
	where  whereFlags
	who    whoFlags
	trust  client.TLS
	osCA   bool // --tls-use-os-certs
	sess   sessionFlags
	will   willFlags
	add    properties
	props  []string // -D
	wait   time.Duration
	window int
	debug  bool
	quiet  bool
}

type whereFlags struct {
	host     string
	port     int
	url      string
	protocol string
	path     string // of a WebSocket
	socket   string
	timeout  time.Duration
}

type whoFlags struct {
	id, idPrefix       string
	username, password string
	passwordFile       string
}

type sessionFlags struct {
	version     mqtt.Version
	resume      bool // -c
	expiry      uint32
	expiryGiven bool
	keepAlive   int
}

type willFlags struct {
	topic, payload string
	qos            mqtt.QoS
	retain         bool
}

// aliases are other names of our flags: mosquitto's second names and MQTTX's.
var aliases = map[string]pflag.NormalizedName{
	"hostname":     "host",
	"pw":           "password",
	"client-id":    "id",
	"mqtt-version": "protocol-version",
	"ca":           "cafile",
	"keep-alive":   "keepalive",
	"no-clean":     "disable-clean-session",
	"will-message": "will-payload",
	"max-inflight": "inflight",
	"file-read":    "file",
}

func normalize(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	if a, ok := aliases[name]; ok {
		return a
	}
	return pflag.NormalizedName(name)
}

// notHere are mosquitto's flags that this tool refuses, and why.
var notHere = []struct{ name, short, why string }{
	{"bind-address", "A", "binding to a local address is not built"},
	{"srv", "S", "SRV lookups are not built: name the host with -h"},
	{"proxy", "", "SOCKS proxies are not built"},
	{"psk", "", "TLS with pre-shared keys is not supported: use a client certificate, or a user name with a password"},
	{"psk-identity", "", "TLS with pre-shared keys is not supported: use a client certificate, or a user name with a password"},
	{"ciphers", "", "cipher suites are not configurable: TLS 1.3, and TLS 1.2 with ECDHE and authenticated encryption"},
	{"tls-version", "", "the version of TLS is not configurable: the highest that both sides have of 1.3 and 1.2"},
	{"tls-alpn", "", "ALPN is not built"},
	{"tls-engine", "", "OpenSSL engines do not exist here: give key files in PEM"},
	{"tls-engine-kpass-sha1", "", "OpenSSL engines do not exist here: give key files in PEM"},
	{"keyform", "", "OpenSSL engines do not exist here: give key files in PEM"},
}

// register declares the common flags on fs.
func (c *common) register(fs *pflag.FlagSet) {
	c.registerConnection(fs)
	c.window = client.DefaultInflight

	fs.StringVarP(&c.who.id, "id", "i", "", "client `ID` (default: the server's choice; random before MQTT 5.0)")
	fs.StringVarP(&c.who.idPrefix, "id-prefix", "I", "", "client id made of this `PREFIX` and the process id")
	fs.BoolVarP(&c.sess.resume, "disable-clean-session", "c", false, "resume the session of this client id, and keep it afterwards")
	fs.VarP(expiryValue(&c.sess.expiry, &c.sess.expiryGiven), "session-expiry-interval", "x", "how long the server keeps the session after the end; -1: for ever")
	fs.VarP(wholeValue(&c.window, 1, 65535, "COUNT"), "inflight", "M", "most unacknowledged QoS 1 and 2 messages of ours")
	fs.StringArrayVarP(&c.props, "property", "D", nil, "`PACKET` IDENTIFIER VALUE, or PACKET user-property NAME VALUE; may be repeated")

	fs.StringVar(&c.will.topic, "will-topic", "", "`TOPIC` of the will")
	fs.StringVar(&c.will.payload, "will-payload", "", "`PAYLOAD` of the will")
	fs.Var(qosValue(&c.will.qos), "will-qos", "QoS of the will")
	fs.BoolVar(&c.will.retain, "will-retain", false, "retain the will")

	fs.VarP(durationValue(&c.wait, false), "timeout", "W", "give up after this time, with exit code 27")
	fs.BoolVarP(&c.debug, "debug", "d", false, "tell every packet on standard error")
	fs.BoolVar(&c.quiet, "quiet", false, "tell no failures; the exit code does")

	for _, f := range notHere {
		c.refuse(f.name, f.short, f.why)
	}
}

// registerConnection declares the flags that say where to connect and as whom.
func (c *common) registerConnection(fs *pflag.FlagSet) {
	c.fs = fs
	fs.SetNormalizeFunc(normalize)
	fs.SortFlags = false
	c.where = whereFlags{timeout: client.DefaultConnectTimeout}
	c.sess = sessionFlags{version: mqtt.V5, keepAlive: client.DefaultKeepAlive}

	fs.StringVarP(&c.where.host, "host", "h", "localhost", "`HOST` to connect to")
	fs.VarP(wholeValue(&c.where.port, 1, 65535, "PORT"), "port", "p", "port to connect to (default 8883 with TLS, 1883 without, 8084 and 8083 with WebSocket, 14567 with QUIC)")
	fs.StringVar(&c.where.protocol, "protocol", "mqtts", "`mqtts|mqtt|wss|ws|quic`: TLS, plaintext, WebSocket with TLS or without, or TLS over QUIC")
	fs.StringVar(&c.where.path, "ws-path", client.DefaultWebSocketPath, "`PATH` of the WebSocket")
	fs.StringVar(&c.where.socket, "unix", "", "connect to a unix socket, `PATH`, in place of a host")
	fs.StringVarP(&c.where.url, "url", "L", "", "all at once: `mqtts://[user[:password]@]host[:port]/topic`")
	fs.Var(durationValue(&c.where.timeout, false), "connect-timeout", "longest time until CONNACK")
	fs.StringVarP(&c.who.username, "username", "u", "", "user `NAME`")
	fs.StringVarP(&c.who.password, "password", "P", "", "`PASSWORD`; others on this machine can read the command line: prefer the next one, or the variable REDOUBT_PASSWORD")
	fs.StringVar(&c.who.passwordFile, "password-file", "", "`FILE` whose first line is the password; - is standard input")
	fs.StringVar(&c.trust.CAFile, "cafile", "", "PEM `FILE` of the CA to trust (default: <data-dir>/certs/ca.pem if it can be read, else the system's)")
	fs.StringVar(&c.trust.CAPath, "capath", "", "`DIRECTORY` of such files")
	fs.BoolVar(&c.osCA, "tls-use-os-certs", false, "trust the CAs of the system")
	fs.StringVar(&c.trust.CertFile, "cert", "", "PEM `FILE` of our own certificate")
	fs.StringVar(&c.trust.KeyFile, "key", "", "PEM `FILE` of our own key")
	fs.BoolVar(&c.trust.SkipHostName, "insecure", false, "do not compare the host name with the server's certificate; its chain is verified all the same")
	fs.VarP(versionValue(&c.sess.version), "protocol-version", "V", "version of MQTT")
	fs.VarP(wholeValue(&c.sess.keepAlive, 0, 65535, "SECONDS"), "keepalive", "k", "keep alive interval; 0 turns it off")
	fs.Bool("nodelay", true, "accepted for compatibility: small packets are never held back")
	_ = fs.MarkHidden("nodelay")
	fs.Bool("help", false, "this help")
}

// refuse declares a flag of mosquitto's that ends in words.
func (c *common) refuse(name, short, why string) {
	c.fs.VarP(refused(why), name, short, why)
	f := c.fs.Lookup(name)
	f.Hidden = true
	if short == "S" || name == "random-filter" || name == "remove-retained" || name == "pretty" {
		f.NoOptDefVal = "true"
	}
}

// given tells whether a flag was on the command line.
func (c *common) given(name string) bool { return c.fs.Changed(name) }
