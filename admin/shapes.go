package admin

import (
	"time"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/conn"
	"github.com/redoubtmq/redoubt/limit"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

// ClientInfo is one session and the connection it has, in EMQX's words where it
// has them. Names are the client's own and may hold anything but U+0000.
type ClientInfo struct {
	SessionName
	ClientConnection
	SessionState
	Memory ClientMemory `json:"memory" doc:"What the broker keeps in memory for the client, in bytes, about."`
}

// ClientMemory is what one client makes the broker keep in memory, in bytes. A message that
// several sessions share counts for each of them.
type ClientMemory struct {
	Sum           int64 `json:"sum" doc:"All of it."`
	Connection    int64 `json:"connection" doc:"The connection: a packet that came in part, what is on its way to the socket, TLS."`
	Queue         int64 `json:"queue" doc:"Messages that wait in memory."`
	Inflight      int64 `json:"inflight" doc:"Messages sent and not acknowledged."`
	Pending       int64 `json:"pending" doc:"Publishes received and not settled."`
	Subscriptions int64 `json:"subscriptions" doc:"Subscriptions, here and in the index."`
	Names         int64 `json:"names" doc:"Topic aliases, and identifiers of QoS 2."`
	Will          int64 `json:"will" doc:"The will."`
	Session       int64 `json:"session" doc:"The session itself."`
}

func memoryOf(c *conn.ClientInfo) ClientMemory {
	h := &c.SessionInfo.Held
	return ClientMemory{
		Sum: h.Sum() + c.Connection.Held, Connection: c.Connection.Held, Queue: h.Queue, Inflight: h.Inflight, Pending: h.Pending,
		Subscriptions: h.Subscriptions, Names: h.Names, Will: h.Will, Session: h.Base,
	}
}

// SessionName says whose session it is: it belongs to the identity and the client
// identifier together.
type SessionName struct {
	ClientID   string `json:"clientid" doc:"Client identifier."`
	Identity   string `json:"identity" doc:"The identity that was proven. Two identities may have clients of one identifier."`
	Username   string `json:"username" doc:"The user name that was proven; empty: none."`
	Mountpoint string `json:"mountpoint,omitempty" doc:"Prefix of the client's topics."`
}

// ClientConnection is the connection, or the last one.
type ClientConnection struct {
	Connected      bool       `json:"connected" doc:"Whether the client is connected now."`
	ConnectedAt    *time.Time `json:"connected_at,omitempty" doc:"Since when."`
	DisconnectedAt *time.Time `json:"disconnected_at,omitempty" doc:"Since when not; absent for a session that never expires."`
	IPAddress      string     `json:"ip_address" doc:"Address of the client, the last one."`
	Port           int        `json:"port,omitempty" doc:"Its port, while connected."`
	Listener       string     `json:"listener" doc:"Name of the listener."`
	ProtoName      string     `json:"proto_name" doc:"Always MQTT."`
	ProtoVer       int        `json:"proto_ver" doc:"Protocol level: 3 (3.1), 4 (3.1.1) or 5."`
	KeepAlive      int        `json:"keepalive,omitempty" doc:"Keep alive in force, seconds."`
	CleanStart     bool       `json:"clean_start" doc:"Whether the connection asked for a new session; false while not connected."`
	PausedBy       []string   `json:"paused_by,omitempty" enum:"publish_rate,subscribe_rate,listener_publish_rate_total,publish_rate_total,other_home,unread_answers" doc:"Why the connection is not read now: it is over its publish_rate or subscribe_rate; all clients of its listener, or of the node, are over their publish_rate_total, and it has more than its part of it; what it published waits for another loop; it does not read its answers."`
	PausedLimit    string     `json:"paused_limit,omitempty" doc:"The setting that says how much, where it is a rate."`
	PausedSince    *time.Time `json:"paused_since,omitempty" doc:"Since when it is over that rate, without a pause in between."`
	PausedUntil    *time.Time `json:"paused_until,omitempty" doc:"When it is read again, if nothing changes."`
	Congested      bool       `json:"congested,omitempty" doc:"The client does not take what it is sent; messages wait in the mqueue."`
	TLSVersion     string     `json:"tls_version,omitempty" doc:"TLS version of the connection, such as TLS 1.3; absent without TLS and while not connected."`
	TLSCipher      string     `json:"tls_cipher,omitempty" doc:"Its cipher suite."`
	TLSGroup       string     `json:"tls_group,omitempty" doc:"The group that its keys were agreed on with; absent where a TLS 1.2 session was resumed."`
	SendPend       int        `json:"send_pend,omitempty" doc:"Bytes on their way to its socket."`
}

// SessionState is what outlives the connection.
type SessionState struct {
	ExpiryInterval   uint32     `json:"expiry_interval" doc:"Seconds the session outlives its connection; 4294967295: for ever."`
	ExpiresAt        *time.Time `json:"expires_at,omitempty" doc:"When the session ends, if nobody connects."`
	WillTopic        string     `json:"will_topic,omitempty" doc:"Topic of the will that is armed."`
	HasWill          bool       `json:"has_will" doc:"Whether a will is armed."`
	SubscriptionsCnt int        `json:"subscriptions_cnt" doc:"Subscriptions."`
	InflightCnt      int        `json:"inflight_cnt" doc:"Messages sent and not acknowledged."`
	InflightMax      int        `json:"inflight_max" doc:"The most of them."`
	MqueueLen        int        `json:"mqueue_len" doc:"Messages that wait."`
	MqueueMax        int        `json:"mqueue_max" doc:"The most of them."`
	MqueueBytes      int64      `json:"mqueue_bytes" doc:"Their bytes."`
	MqueueBytesMax   int64      `json:"mqueue_bytes_max" doc:"The most of them."`
	MqueueDropped    uint64     `json:"mqueue_dropped" doc:"Messages this session lost, for all reasons."`
	AwaitingRelCnt   int        `json:"awaiting_rel_cnt" doc:"QoS 2 messages received whose PUBREL has not come."`
	AwaitingRelMax   int        `json:"awaiting_rel_max" doc:"The most of them."`
	PendingCnt       int        `json:"pending_cnt" doc:"Publishes received and not settled."`
	Dropped          Dropped    `json:"dropped" doc:"Messages this session lost, by reason."`
	Rates            []RateUse  `json:"rates,omitempty" doc:"What the client has spent of its own rates; those without a limit are left out."`
	User             UserHas    `json:"user_has" doc:"About how much the user has of what all share on the disk (limits.identity_share)."`
}

// UserHas is what an identity has on the disk, whatever number of clients it has.
type UserHas struct {
	RetainedMessages int   `json:"retained_messages" doc:"Retained messages that it has published."`
	RetainedBytes    int64 `json:"retained_bytes" doc:"Their bytes."`
	StoredBytes      int64 `json:"stored_bytes" doc:"Bytes that it has published and the store keeps apart for sessions that have not come for them."`
}

// RateUse is how much of a rate is spent.
type RateUse struct {
	Limit     string `json:"limit" doc:"Its name, below limits or the limits of the listener."`
	PerSecond int64  `json:"per_second" doc:"How much comes again each second."`
	Burst     int64  `json:"burst" doc:"How much may be spent at once."`
	Spent     int64  `json:"spent" doc:"How much of it is spent now; more than burst while the client is over the rate."`
}

// Dropped is why messages did not reach a client.
type Dropped struct {
	QueueFull uint64 `json:"queue_full" doc:"The mqueue was full."`
	Expired   uint64 `json:"expired" doc:"They expired before they could be sent."`
	TooLarge  uint64 `json:"too_large" doc:"They are over the client's Maximum Packet Size."`
	Offline   uint64 `json:"qos0_offline" doc:"QoS 0 while nobody was connected."`
	Overload  uint64 `json:"overload" doc:"The broker was short of memory."`
}

// SubscriptionInfo is one subscription, in EMQX's words where it has them.
type SubscriptionInfo struct {
	SessionName
	Connected bool   `json:"connected" doc:"Whether the client is connected now."`
	Topic     string `json:"topic" doc:"Topic filter."`
	QoS       int    `json:"qos" doc:"Maximum QoS that was granted."`
	NL        int    `json:"nl" doc:"1: No Local."`
	RAP       int    `json:"rap" doc:"1: Retain As Published."`
	SubID     uint32 `json:"sub_id,omitempty" doc:"Subscription Identifier."`
	Partly    bool   `json:"partly,omitempty" doc:"A deny rule overlaps the filter; each delivery is judged."`
}

func nameOf(k session.Key, username string) SessionName {
	return SessionName{ClientID: k.ClientID, Identity: k.Identity, Username: username, Mountpoint: k.Mountpoint}
}

func clientInfo(c *conn.ClientInfo) ClientInfo {
	f := &c.Flow
	out := ClientInfo{SessionName: nameOf(c.Key, c.By.Username), ClientConnection: connectionOf(c), SessionState: SessionState{
		ExpiryInterval: c.ExpirySeconds, ExpiresAt: moment(c.EndsAt), HasWill: c.HasWill, WillTopic: c.WillTopic,
		SubscriptionsCnt: c.Info.Subscriptions, InflightCnt: f.Inflight, InflightMax: f.InflightMax,
		MqueueLen: f.Mqueue, MqueueMax: f.MqueueMax, MqueueBytes: f.MqueueBytes, MqueueBytesMax: f.MqueueBytesMax,
		MqueueDropped: c.Dropped.Total(), AwaitingRelCnt: f.AwaitingRel, AwaitingRelMax: f.AwaitingRelMax, PendingCnt: f.Pending,
		Dropped: Dropped{QueueFull: c.Dropped.QueueFull, Expired: c.Dropped.Expired, TooLarge: c.Dropped.TooLarge, Offline: c.Dropped.Offline, Overload: c.Dropped.Overload},
		Rates:   ratesOf(c),
		User:    UserHas(c.Has),
	}, Memory: memoryOf(c)}
	return out
}

func connectionOf(c *conn.ClientInfo) ClientConnection {
	out := ClientConnection{
		Connected: c.Online, ConnectedAt: moment(c.Since), DisconnectedAt: moment(c.LeftAt), Listener: c.By.Listener,
		ProtoName: "MQTT", ProtoVer: int(c.Info.Version), KeepAlive: int(c.KeepAlive / time.Second), CleanStart: c.CleanStart, PausedSince: moment(c.Rates.Since),
		Congested: c.Congested, SendPend: c.OutBytes, TLSVersion: c.TLS.Version, TLSCipher: c.TLS.Suite, TLSGroup: c.TLS.Group, PausedUntil: moment(c.Paused.Until),
	}
	if c.By.Addr.IsValid() {
		out.IPAddress = c.By.Addr.String()
	}
	if c.From.IsValid() {
		out.IPAddress, out.Port = c.From.Addr().String(), int(c.From.Port())
	}
	if c.Rates.By != broker.NoQuota {
		out.PausedBy, out.PausedLimit = append(out.PausedBy, quotaWords[c.Rates.By]), c.Rates.By.Key(c.By.Listener, c.Rates.Own)
	}
	for _, p := range []struct {
		is   bool
		word string
	}{{c.Paused.Home, "other_home"}, {c.Paused.Unread, "unread_answers"}} {
		if p.is {
			out.PausedBy = append(out.PausedBy, p.word)
		}
	}
	return out
}

var quotaWords = map[broker.Quota]string{
	broker.PublishQuota: "publish_rate", broker.SubscribeQuota: "subscribe_rate",
	broker.EntranceQuota: "listener_publish_rate_total", broker.NodeQuota: "publish_rate_total",
}

// ratesOf is what a client has spent of its own rates.
func ratesOf(c *conn.ClientInfo) (out []RateUse) {
	r := &c.Rates
	for _, u := range []struct {
		name string
		b    *limit.Bucket
	}{{"publish_rate.messages", &r.Messages}, {"publish_rate.bytes", &r.Bytes}, {"subscribe_rate.filters", &r.Filters}, {"retained_rate.messages", &r.RetainedMessages}, {"retained_rate.bytes", &r.RetainedBytes}} {
		if u.b.PerSecond > 0 {
			out = append(out, RateUse{Limit: u.name, PerSecond: u.b.PerSecond, Burst: u.b.Burst, Spent: u.b.Spent(c.At)})
		}
	}
	return out
}

func subscriptionInfo(s *broker.SubscriptionInfo) SubscriptionInfo {
	return SubscriptionInfo{
		SessionName: nameOf(s.Key, s.Username), Connected: s.Online, Topic: s.Filter, QoS: int(s.QoS),
		NL: bit(s.NoLocal), RAP: bit(s.RetainAsPublished), SubID: s.Sub.ID, Partly: s.Check,
	}
}

// VersionName is the protocol version as people write it.
func (c *ClientConnection) VersionName() string { return mqtt.Version(c.ProtoVer).String() }

// moment is t for JSON; the zero time is absent.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
