package config

// release is the Since of the rows that came first.
const release = "0.1"

// nameForm describes listener and chain names. The environment writes a dash
// as an underscore, and two underscores part names there.
const nameForm = "lower-case letters, digits, - and single _, starting with a letter, at most 32"

// Why keys belong to the file, where several have the same reason.
const (
	fileEarly    = "it is needed before the log is open"
	fileEntrance = "an entrance that cannot be opened would keep the broker from starting"
	fileAuthn    = "who may come in is decided where it can be reviewed"
	fileTenant   = "it keeps tenants apart, and sessions belong to it"
)

var rowsNode = []Row{
	{Key: "node", Kind: KindSection, Since: release,
		Why: "This process: what it is called and where it keeps what it knows."},
	{Key: "node.name", Kind: KindString, Default: `""`, Note: "the host name",
		Pattern: `^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$`, Form: "letters, digits, dots, dashes and underscores, at most 64",
		Why:   "Names the node in logs, in status and in the certificate it makes.",
		Since: release, Reload: Restart, File: fileEarly},
	{Key: "node.data_dir", Kind: KindPath, Default: "/var/lib/redoubt",
		Why:   "Users, rules, keys and certificates. Mode 0700, and one process at a time: a second one refuses to start. --data-dir overrides it.",
		Since: release, Reload: Restart, File: "it says where the log is"},
	{Key: "log", Kind: KindSection, Since: release,
		Why: "What the process tells its operator, on standard error."},
	{Key: "log.level", Kind: KindEnum, Default: "info", Values: []string{"debug", "info", "warn", "error"},
		Why:   "info has one line for each thing an operator acts on; lines that clients can cause are counted and rate-limited at every level.",
		Since: release, Reload: Live},
	{Key: "log.format", Kind: KindEnum, Default: "auto", Values: []string{"auto", "text", "json"},
		Why:   "auto is text on a terminal and JSON otherwise, so that a person and a collector each get their own.",
		Since: release, Reload: Restart, File: fileEarly},
}

var rowsListeners = []Row{
	{Key: "listeners", Kind: KindNames, Default: `{mqtts: {protocol: mqtts, bind: [":8883"]}, wss: {protocol: wss, bind: [":8084"]}}`, Form: nameForm, Since: release,
		Why: "Entrances for clients, by name. An entry named as a default one changes only the keys it has; a new name is a new listener. The default ones are MQTT over TLS and, for browsers, MQTT over WebSocket over TLS; nothing is plain text unless configured."},
	{Key: "listeners.<name>.protocol", Kind: KindEnum, Values: []string{ProtocolMQTTS, ProtocolWSS, ProtocolMQTT, ProtocolWS}, Need: true,
		Why:   "mqtts is MQTT over TLS, wss the same in WebSocket frames, which browsers need. mqtt and ws are plain TCP: passwords and payloads can be read and changed on the way, so off loopback they need a waiver of P1.4.",
		Since: release, Reload: Restart, File: fileEntrance},
	{Key: "listeners.<name>.bind", Kind: KindBinds, Need: true,
		Note:  "`address:port` or `interface:port`; `:port` is every address; `[]` turns the listener off; port 0 lets the kernel choose",
		Why:   "Host names are not taken: what they resolve to may change between one start and the next.",
		Since: release, Reload: Restart, File: fileEntrance},
	{Key: "listeners.<name>.mountpoint", Kind: KindString, Default: `""`, Note: "none",
		Pattern: `^[^+#]*/$`, Form: "whole levels without + and #, with / at the end, such as tenants/${username}/",
		Why:   "Stands before every topic of a client of this listener, which does not see it: what it publishes, subscribes to, is sent and leaves as its will. Rules see the topic with it. ${clientid}, ${username} and ${listener} are the client's; one whose name holds / + or #, starts with $ or is empty is refused where the mountpoint needs it.",
		Since: release, Reload: NewConnections, File: fileTenant},
	{Key: "listeners.<name>.tls", Kind: KindSection, Since: release,
		Why: "Transport security of a TLS listener. On protocols mqtt and ws these keys are refused."},
	{Key: "listeners.<name>.tls.profile", Kind: KindEnum, Default: ProfileIntermediate, Values: []string{ProfileIntermediate, ProfileModern},
		Why:   "intermediate is TLS 1.2 with AEAD and forward secrecy, and TLS 1.3: devices of the last ten years. modern is TLS 1.3 only. RFC 8996 retired what is older.",
		Since: release, Reload: Restart, File: fileEntrance},
	{Key: "listeners.<name>.tls.certificates", Kind: KindItems, Default: "[]", Note: "a leaf of the built-in server CA", Since: release, Reload: NewConnections, File: fileEntrance,
		Why: "Server certificates; the client's server name chooses among several. Files are read again at every reload."},
	{Key: "listeners.<name>.tls.certificates[].cert", Kind: KindPath, Need: true,
		Why: "The chain in PEM, leaf first.", Since: release, Reload: NewConnections},
	{Key: "listeners.<name>.tls.certificates[].key", Kind: KindSecret, Need: true,
		Why: "The private key in PEM, always by reference: a configuration is copied into tickets and repositories.", Since: release, Reload: NewConnections},
	{Key: "listeners.<name>.path", Kind: KindString, Default: "/mqtt",
		Pattern: `^(/[A-Za-z0-9._~-]+)+/?$|^/$`, Form: "a path of letters, digits and . _ ~ -, such as /mqtt",
		Why:   "Where a WebSocket is asked for; any other path is answered 404. For protocols wss and ws.",
		Since: release, Reload: Restart, File: fileEntrance},
	{Key: "listeners.<name>.origins", Kind: KindOrigins, Default: "[]", Note: "no browser",
		Form:  "scheme, host and, unless it is the scheme's own, port, such as https://app.example.com",
		Why:   "Web pages whose scripts may connect; anybody else's page is answered 403, or it could use what a visitor's browser can reach. Devices send no Origin and are not asked, but for libraries that make one up from the address, such as paho for Python: list https://HOST:PORT for those. For protocols wss and ws.",
		Since: release, Reload: Restart, File: fileEntrance},
	{Key: "listeners.<name>.authn", Kind: KindName, Default: "default",
		Why:   "The chain of authn.chains that asks who the client is. Every listener has one; there is no anonymous access.",
		Since: release, Reload: NewConnections, File: fileAuthn},
	{Key: "listeners.<name>.mqtt", Kind: KindSection, Since: release,
		Why: "What the clients of this listener may use of the protocol. A listener may offer less than mqtt does and never more."},
	{Key: "listeners.<name>.mqtt.max_qos", Kind: KindInt, Default: "2", Min: "0", Max: "2",
		Why: "mqtt.max_qos for the clients of this listener; not written, it is the same.", Since: release, Reload: NewConnections},
	{Key: "listeners.<name>.mqtt.retain", Kind: KindBool, Default: "true",
		Why: "mqtt.retain for the clients of this listener; not written, it is the same.", Since: release, Reload: NewConnections},
	{Key: "listeners.<name>.mqtt.wildcard_subscriptions", Kind: KindBool, Default: "true",
		Why: "mqtt.wildcard_subscriptions for the clients of this listener; not written, it is the same.", Since: release, Reload: NewConnections},
	{Key: "listeners.<name>.mqtt.shared_subscriptions", Kind: KindBool, Default: "true",
		Why: "mqtt.shared_subscriptions for the clients of this listener; not written, it is the same.", Since: release, Reload: NewConnections},
}

var rowsAccess = []Row{
	{Key: "authn", Kind: KindSection, Since: release,
		Why: "Who may connect."},
	{Key: "authn.chains", Kind: KindNames, Default: "{default: [builtin]}", Form: nameForm, Since: release,
		Why: "Ordered lists of authenticators, by name. Each answers allow, deny or ignore; the first that does not ignore decides, and the end of a chain is deny."},
	{Key: "authn.chains.<name>", Kind: KindNameList, Note: "`builtin` is the only authenticator so far",
		Why:   "An empty chain would let nobody in and is refused.",
		Since: release, Reload: NewConnections, File: fileAuthn},
	{Key: "authn.builtin", Kind: KindSection, Since: release,
		Why: "The authenticator named builtin: users of `redoubt user add`, kept in the data directory."},
	{Key: "authn.builtin.type", Kind: KindEnum, Default: "builtin", Values: []string{"builtin"},
		Why: "Which kind of authenticator this is.", Since: release, Reload: Restart, File: fileAuthn},
	{Key: "authn.builtin.identity", Kind: KindEnum, Default: "username", Values: []string{"username"},
		Why:   "What a session belongs to: two users never share one, whatever client identifiers they choose.",
		Since: release, Reload: Restart, File: fileAuthn},
	{Key: "authz", Kind: KindSection, Since: release,
		Why: "Who may publish and subscribe to what. The last rule is deny and cannot be removed."},
	{Key: "authz.rules_file", Kind: KindPath, Default: `""`, Note: "`<data_dir>/rules.yaml`, which gives a user `devices/${username}/#` and nothing else",
		Why:   "The ordered rules, with their own tests: a file whose tests fail is refused. Its content is read again at every reload.",
		Since: release, Reload: Restart, File: "the rules are a file themselves"},
	{Key: "authz.deny_action", Kind: KindEnum, Default: DenyReply, Values: []string{DenyReply, DenyDisconnect},
		Why:   "What a version 5 client sees when it may not: a reason code, or the end of its connection. Version 3.1.1 has no reason code, so there a denied QoS 1 or 2 publish always closes [MQTT-3.3.5-2].",
		Since: release, Reload: NewConnections},
}

var rowsAdmin = []Row{
	{Key: "admin", Kind: KindSection, Since: release,
		Why: "How the process is administered. The operating system says who is asking; there is no administrator's password."},
	{Key: "admin.socket", Kind: KindPath, Default: `""`, Note: "`<data_dir>/admin.sock`",
		Why:   "Unix socket of the administration API, mode 0600, for the same user and root. At most 107 bytes, which is what the kernel takes.",
		Since: release, Reload: Restart, File: "it is where run-time settings are asked for"},
	{Key: "metrics", Kind: KindSection, Since: release,
		Why: "/metrics, /livez and /readyz, over plain HTTP and without a password, therefore on loopback."},
	{Key: "metrics.bind", Kind: KindBinds, Default: `["127.0.0.1:18084"]`, Note: "as in listeners.<name>.bind; `[]` turns it off",
		Why:   "Off loopback it needs a waiver of P1.4 with the scope metrics.",
		Since: release, Reload: Restart, File: fileEntrance},
	{Key: "waivers", Kind: KindItems, Default: "[]", Since: release, Reload: Live,
		Note: `such as {id: P1.4, scope: listeners.mqtt, reason: "sensors without TLS until March", owner: "ops@example.com", expires: 2027-03-31}`,
		Why:  "Accepted exceptions. Each says what, why, who and until when; one that has expired, or that nothing needs, is refused."},
	{Key: "waivers[].id", Kind: KindString, Need: true, Pattern: `^P[0-9]+\.[0-9]+(-[a-z0-9-]+)?$`, Form: "the id of a row of the hardening checklist, such as P1.4",
		Why: "The row that is not kept.", Since: release, Reload: Live},
	{Key: "waivers[].scope", Kind: KindString, Need: true, Pattern: `^[a-z][a-z0-9_.-]{0,127}$`, Form: "a key, such as listeners.mqtt or metrics",
		Why: "The one place it is not kept at.", Since: release, Reload: Live},
	{Key: "waivers[].reason", Kind: KindString, Need: true, Pattern: `^.{4,500}$`, Form: "4 to 500 characters",
		Why: "For the person who finds it later.", Since: release, Reload: Live},
	{Key: "waivers[].owner", Kind: KindString, Need: true, Pattern: `^.{2,200}$`, Form: "2 to 200 characters",
		Why: "Who answers for it.", Since: release, Reload: Live},
	{Key: "waivers[].expires", Kind: KindDate, Need: true, Note: "its last day, in UTC, at most 180 days ahead",
		Why: "An exception without an end is the rule.", Since: release, Reload: Live},
}
