// Package config is the schema of the configuration file: one table of keys
// with their types, defaults, ranges and reasons (rows*.go), a strict loader
// for the file and the environment, and what is generated from the table (the
// JSON Schema, the reference page, the example file, config explain).
//
// It is not wiring: it opens no socket, starts nothing, and knows no room it
// configures; where a value is a topic it asks package topic and those below it,
// which are rules and nothing else. Its structs are plain; cmd hands their values to the rooms below
// and above. It reads the file it is given and the files that secrets in it
// refer to, and nothing else; environment, time and flags are arguments.
//
// Rule book: settings are refused, not bent. An unknown key, a wrong type, a
// value out of range, or an insecure one without a waiver is an error that
// names file, line, column, key, value, range and remedy; all errors of a file
// are reported together.
package config

import (
	"regexp"
	"strings"
	"time"
)

// Config is the effective configuration: defaults, then the file, then the
// environment, then flags. It is a value: nobody changes it after Load, and
// every reader may share it. Field order is the order of the reference page.
type Config struct {
	Node         Node                `yaml:"node"`
	Log          Log                 `yaml:"log"`
	Listeners    map[string]Listener `yaml:"listeners"`
	Limits       Limits              `yaml:"limits"`
	MQTT         MQTT                `yaml:"mqtt"`
	Backends     map[string]Backend  `yaml:"backends"`
	Authn        Authn               `yaml:"authn"`
	Authz        Authz               `yaml:"authz"`
	Certificates ClientCertificates  `yaml:"certificates"`
	Flapping     Flapping            `yaml:"flapping"`
	Bans         Bans                `yaml:"bans"`
	Store        Store               `yaml:"store"`
	Enroll       Enroll              `yaml:"enroll"`
	Audit        Audit               `yaml:"audit"`
	Admin        Admin               `yaml:"admin"`
	Metrics      Metrics             `yaml:"metrics"`
	Waivers      []Waiver            `yaml:"waivers"`
}

// Node names this process and where it keeps what it knows.
type Node struct {
	Name    string `yaml:"name"` // host name unless set
	DataDir string `yaml:"data_dir"`
}

// Log is what the process tells its operator while it runs.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn or error
	Format string `yaml:"format"` // auto, text or json
}

// Listener protocols of this release.
const (
	ProtocolMQTTS = "mqtts" // MQTT over TLS
	ProtocolMQTT  = "mqtt"  // MQTT over plain TCP
	ProtocolWSS   = "wss"   // MQTT in WebSocket frames over TLS
	ProtocolWS    = "ws"    // MQTT in WebSocket frames over plain TCP
	ProtocolQUIC  = "quic"  // MQTT on a stream of QUIC
	ProtocolUnix  = "unix"  // MQTT over a unix socket
)

// Modes of the file of a unix socket.
const (
	SocketGroup = "0660" // the broker's user and its group may connect
	SocketOwner = "0600" // the broker's user, and root
)

// Listener is one entrance for clients.
type Listener struct {
	Protocol string   `yaml:"protocol"` // ProtocolMQTTS and its like
	Bind     []string `yaml:"bind"`     // "host:port", see ParseBind; of ProtocolUnix paths; empty: the listener is off
	// Advertised is how clients reach it; ParseAdvertised takes each.
	Advertised []string `yaml:"advertised"`
	Access     []string `yaml:"access"` // AccessRules takes it; empty: every address may come in
	// A proxy in front that speaks first, who that may be, and how far it is believed.
	ProxyProtocol string   `yaml:"proxy_protocol"` // ProxyOff or ProxyRequired
	ProxySources  []string `yaml:"proxy_sources"`  // ProxyNetworks takes it
	ProxyTLS      string   `yaml:"proxy_tls"`      // ProxyTLSIgnore or ProxyTLSTrust
	SocketMode    string   `yaml:"socket_mode"`    // SocketGroup or SocketOwner, of ProtocolUnix
	// Mountpoint stands before every topic of a client; template.ParseMountpoint
	// takes it. Empty: nothing does.
	Mountpoint string         `yaml:"mountpoint"`
	TLS        TLS            `yaml:"tls"`     // the zero TLS on a plaintext listener
	Path       string         `yaml:"path"`    // of a WebSocket's request; "" without one
	Origins    []string       `yaml:"origins"` // pages a browser may connect from; empty: none
	Authn      string         `yaml:"authn"`   // key of Authn.Chains
	MQTT       Offer          `yaml:"mqtt"`    // never more than MQTT.Offer
	Limits     ListenerLimits `yaml:"limits"`  // where they are not Config.Limits
}

// Plaintext tells whether passwords cross this listener unencrypted. Of a unix socket
// they do not leave the host.
func (l *Listener) Plaintext() bool {
	return l.Protocol == ProtocolMQTT || l.Protocol == ProtocolWS || l.Protocol == ProtocolUnix
}

// WebSocket tells whether packets travel in WebSocket frames.
func (l *Listener) WebSocket() bool { return l.Protocol == ProtocolWSS || l.Protocol == ProtocolWS }

// TLS profiles.
const (
	ProfileIntermediate = "intermediate" // TLS 1.2 with AEAD and forward secrecy, and 1.3
	ProfileModern       = "modern"       // TLS 1.3 only
)

// TLS is a listener's transport security.
type TLS struct {
	Profile      string        `yaml:"profile"`
	Certificates []Certificate `yaml:"certificates"` // empty: a leaf of the built-in server CA
	ClientCert   string        `yaml:"client_cert"`  // none, optional or required
	ClientCA     []string      `yaml:"client_ca"`    // files; empty only where ClientCert is none
	ChainDepth   int           `yaml:"chain_depth"`
	Identity     string        `yaml:"identity"` // cn, san_dns, san_uri, san_email or fingerprint
	CRL          CRL           `yaml:"crl"`
	OCSP         OCSP          `yaml:"ocsp"`
	OCSPStapling string        `yaml:"ocsp_stapling"` // StaplingAuto or StaplingOff
	FetchFrom    []string      `yaml:"fetch_from"`    // Networks takes it
	ACME         ACME          `yaml:"acme"`
}

// ACME is how a listener gets certificates from a CA by itself.
type ACME struct {
	Names         []string `yaml:"names"` // empty: it does not
	Agree         bool     `yaml:"agree"`
	Email         string   `yaml:"email"`
	Directory     string   `yaml:"directory"`    // empty: Let's Encrypt
	DirectoryCA   string   `yaml:"directory_ca"` // file; empty: the roots of the system
	ChallengeBind string   `yaml:"challenge_bind"`
}

// Whether answers of OCSP responders go with server certificates.
const (
	StaplingAuto = "auto" // where a certificate names a responder
	StaplingOff  = "off"
)

// CRL is where a listener looks whether certificates of clients were revoked.
type CRL struct {
	Files              []string `yaml:"files"`
	DistributionPoints bool     `yaml:"distribution_points"`
	Refresh            Duration `yaml:"refresh"`
	Stale              string   `yaml:"stale"` // Grace takes it
}

// What becomes of a client of whom no OCSP responder has said anything that counts.
const (
	OCSPOff  = "off"  // nobody is asked
	OCSPSoft = "soft" // it is let in
	OCSPHard = "hard" // it is not
)

// OCSP is whether responders are asked about certificates of clients.
type OCSP struct {
	Check   string   `yaml:"check"` // OCSPOff, OCSPSoft or OCSPHard
	Refresh Duration `yaml:"refresh"`
}

// Grace is how long a list counts after it should have been followed by another.
func (c *CRL) Grace() time.Duration {
	if text, ok := strings.CutPrefix(c.Stale, "grace "); ok {
		if d, err := time.ParseDuration(text); err == nil {
			return d
		}
	}
	return 0
}

// Certificate is a chain in PEM and its private key.
type Certificate struct {
	Cert string `yaml:"cert"` // path
	Key  Secret `yaml:"key"`
}

// Limits are per client unless the name says otherwise. The five embedded
// structs are one flat section in the file.
type Limits struct {
	PacketLimits  `yaml:",inline"`
	SessionLimits `yaml:",inline"`
	Newcomers     `yaml:",inline"`
	RateLimits    `yaml:",inline"`
	DelayLimits   `yaml:",inline"`
	NodeLimits    `yaml:",inline"`
}

// PacketLimits bound what one packet may ask for.
type PacketLimits struct {
	PacketBytes        Size `yaml:"packet_bytes"`
	ConnectPacketBytes Size `yaml:"connect_packet_bytes"` // before CONNECT was accepted
	TopicLevels        int  `yaml:"topic_levels"`
	TopicBytes         Size `yaml:"topic_bytes"`
	ClientIDBytes      Size `yaml:"client_id_bytes"`
	UserProperties     int  `yaml:"user_properties"`
}

// SessionLimits bound what one session may hold.
type SessionLimits struct {
	Inflight              int     `yaml:"inflight"` // both directions: Receive Maximum
	MqueueMessages        int     `yaml:"mqueue_messages"`
	MqueueBytes           Size    `yaml:"mqueue_bytes"`
	AwaitingRel           int     `yaml:"awaiting_rel"`
	Subscriptions         int     `yaml:"subscriptions"`
	WildcardSubscriptions int     `yaml:"wildcard_subscriptions"`
	TopicAliases          int     `yaml:"topic_aliases"` // each direction
	KeepAliveMax          Seconds `yaml:"keep_alive_max"`
	KeepAliveMaxV3        Seconds `yaml:"keep_alive_max_v3"`
	SessionExpiryMax      Seconds `yaml:"session_expiry_max"`
	WillDelayMax          Seconds `yaml:"will_delay_max"`
	MessageExpiryMax      Seconds `yaml:"message_expiry_max"`
}

// DelayLimits bound messages that wait under $delayed/. The first two are per
// identity, over all its connections.
type DelayLimits struct {
	DelayedMessages      int     `yaml:"delayed_messages"`
	DelayedBytes         Size    `yaml:"delayed_bytes"`
	DelayedMax           Seconds `yaml:"delayed_max"` // longest delay
	DelayedMessagesTotal int     `yaml:"delayed_messages_total"`
	DelayedBytesTotal    Size    `yaml:"delayed_bytes_total"`
}

// NodeLimits bound the whole process, and source addresses before it knows who
// they are.
type NodeLimits struct {
	Memory                SizeOrAuto     `yaml:"memory"` // AutoSize: 75 % of what the system gives the process
	SessionsTotal         int            `yaml:"sessions_total"`
	SubscriptionsTotal    int            `yaml:"subscriptions_total"`
	MqueueBytesTotal      Size           `yaml:"mqueue_bytes_total"`
	RetainedMessagesTotal int            `yaml:"retained_messages_total"`
	RetainedBytesTotal    Size           `yaml:"retained_bytes_total"`
	IdentityShare         int            `yaml:"identity_share"`    // percent
	RetainedMemory        Size           `yaml:"retained_memory"`   // of RetainedBytesTotal; the rest is read from the store
	ConnectionsTotal      Count          `yaml:"connections_total"` // Auto: from the open file limit
	HandshakesTotal       int            `yaml:"handshakes_total"`
	ConnectionsPerPrefix  map[string]int `yaml:"connections_per_prefix"`    // "/24": connections; up to /32 is IPv4, beyond IPv6
	ConnectRatePerPrefix  map[string]int `yaml:"connect_rate_per_prefix"`   // "/24": new connections per second
	HandshakeRatePrefix   map[string]int `yaml:"handshake_rate_per_prefix"` // "/24": handshakes per second; what is not named follows ConnectRatePerPrefix
	HandshakeCPU          int            `yaml:"handshake_cpu"`             // percent of the cores
	KnownShare            int            `yaml:"known_share"`               // percent
	UnauthenticatedTotal  int            `yaml:"unauthenticated_total"`
	ConnectDeadline       Duration       `yaml:"connect_deadline"` // accept to accepted CONNECT
}

// Offer is what clients may use of the protocol.
type Offer struct {
	MaxQoS                int  `yaml:"max_qos"`
	Retain                bool `yaml:"retain"`
	WildcardSubscriptions bool `yaml:"wildcard_subscriptions"`
	SharedSubscriptions   bool `yaml:"shared_subscriptions"`
}

// How a shared subscription chooses the member that gets a message.
const (
	StrategyRandom       = "random"
	StrategyRoundRobin   = "round_robin"
	StrategySticky       = "sticky"
	StrategyHashClientID = "hash_clientid"
	StrategyHashTopic    = "hash_topic"
)

// MQTT says which parts of the protocol are offered, and what there is beyond it.
type MQTT struct {
	Versions               []string `yaml:"versions"` // "3.1", "3.1.1", "5.0"
	Offer                  `yaml:",inline"`
	SharedStrategy         string          `yaml:"shared_strategy"`
	ExclusiveSubscriptions bool            `yaml:"exclusive_subscriptions"` // $exclusive/
	Delayed                bool            `yaml:"delayed"`                 // $delayed/, within DelayLimits
	Rewrite                []Rewrite       `yaml:"rewrite"`                 // rewrite.Compile takes RewriteRules
	AutoSubscribe          []AutoSubscribe `yaml:"auto_subscribe"`
	ResponseInformation    string          `yaml:"response_information"` // empty: none
	ServerReference        string          `yaml:"server_reference"`     // empty: none
	SysInterval            Seconds         `yaml:"sys_interval"`         // 0: never
	Events                 bool            `yaml:"events"`               // $events/
}

// Rewrite is one rule that gives topics another name; package topic/rewrite has
// the meaning.
type Rewrite struct {
	Action string `yaml:"action"` // publish, subscribe or all
	Source string `yaml:"source"` // topic filter
	RE     string `yaml:"re"`
	Dest   string `yaml:"dest"`
}

// AutoSubscribe is a subscription that every client has from its start.
type AutoSubscribe struct {
	Topic             string `yaml:"topic"` // template.ParseFilter takes it
	QoS               int    `yaml:"qos"`
	NoLocal           bool   `yaml:"no_local"`
	RetainAsPublished bool   `yaml:"retain_as_published"`
	RetainHandling    int    `yaml:"retain_handling"` // 0, 1 or 2 as in SUBSCRIBE
}

// What a version 5 client sees when it may not.
const (
	DenyReply      = "reply"      // a reason code in the acknowledgement
	DenyDisconnect = "disconnect" // 0x87, Not authorized
)

// Authz is who may publish and subscribe to what.
type Authz struct {
	RulesFile  string   `yaml:"rules_file"`  // <data_dir>/rules.yaml unless set
	Order      []string `yaml:"order"`       // names of sources of rules
	DenyAction string   `yaml:"deny_action"` // DenyReply or DenyDisconnect

	ReportOnly ReportOnly             `yaml:"report_only"`
	Lookup     map[string]AuthzLookup `yaml:"lookup"`
}

// ClientCertificates is what holds for certificates of clients on every listener.
type ClientCertificates struct {
	Denied []string `yaml:"denied"` // revoke.ParseDenied takes it
}

// Flapping is when a client is banned because it connects over and over.
type Flapping struct {
	Connects int      `yaml:"connects"` // 0: never
	Window   Duration `yaml:"window"`
	Ban      Duration `yaml:"ban"`
}

// Bans are who is shut out besides those that are banned at run time.
type Bans struct {
	File string `yaml:"file"` // "": none
}

// Store is what survives power loss, in the data directory.
type Store struct {
	MaxBytes     Size `yaml:"max_bytes"`
	SegmentBytes Size `yaml:"segment_bytes"`
}

// Enroll is where devices get certificates over the network.
type Enroll struct {
	Bind     []string `yaml:"bind"`     // empty: nowhere
	Listener string   `yaml:"listener"` // whose certificates and profile; "": the built-in CA's
	Life     Duration `yaml:"life"`
	Claims   []Claim  `yaml:"claims"`
}

// Claim is who may enrol with a claim certificate.
type Claim struct {
	CA     string   `yaml:"ca"`    // path
	Names  string   `yaml:"names"` // regular expression; NamesPattern takes it
	CRL    []string `yaml:"crl"`   // paths
	PerDay int      `yaml:"per_day"`
}

// NamesPattern matches the names that may be enrolled, from beginning to end.
func (c *Claim) NamesPattern() (*regexp.Regexp, error) {
	if _, err := regexp.Compile(c.Names); err != nil {
		return nil, err // about what is written; and "a)|(?:b" would become one, and match in the middle
	}
	return regexp.Compile(`\A(?:` + c.Names + `)\z`)
}

// Admin is how the process is administered.
type Admin struct {
	Socket string `yaml:"socket"` // <data_dir>/admin.sock unless set
}

// Metrics is where /metrics, /livez and /readyz are served.
type Metrics struct {
	Bind []string `yaml:"bind"` // empty: nowhere
}

// Waiver is one accepted exception from a hardening row, by name and for a
// limited time.
type Waiver struct {
	ID      string `yaml:"id"`    // row of the checklist: P1.4
	Scope   string `yaml:"scope"` // key it is about: listeners.<name>, metrics
	Reason  string `yaml:"reason"`
	Owner   string `yaml:"owner"`
	Expires Date   `yaml:"expires"` // its last day, in UTC
	// Approver is somebody else who has agreed; empty: nobody was asked.
	Approver string `yaml:"approver"`
	// Compensating is what keeps the harm small meanwhile; empty: nothing is named.
	Compensating string `yaml:"compensating_control"`
}
