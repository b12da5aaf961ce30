package config

// What happens to a client over its rate.
const (
	ExcessPause      = "pause"      // stop reading until it is back under the rate
	ExcessDisconnect = "disconnect" // 0x96, Message rate too high
)

// RateLimits bound how often something happens.
type RateLimits struct {
	PublishRate      PublishRate      `yaml:"publish_rate"`
	PublishRateTotal PublishRateTotal `yaml:"publish_rate_total"` // of the node
	SubscribeRate    SubscribeRate    `yaml:"subscribe_rate"`
	RetainedRate     RetainedRate     `yaml:"retained_rate"`
	ConnectRate      ConnectRate      `yaml:"client_connect_rate"`
}

// PublishRate is a token bucket per client, in messages and in bytes.
type PublishRate struct {
	Messages int      `yaml:"messages"` // per second; 0: counted, not limited
	Bytes    Size     `yaml:"bytes"`    // per second; 0: counted, not limited
	Burst    Duration `yaml:"burst"`    // the bucket holds this much of the rate
	Excess   string   `yaml:"excess"`   // ExcessPause or ExcessDisconnect
}

// PublishRateTotal is what many clients may publish together.
type PublishRateTotal struct {
	Messages int      `yaml:"messages"` // per second; 0: counted, not limited
	Bytes    Size     `yaml:"bytes"`    // per second; 0: counted, not limited
	Burst    Duration `yaml:"burst"`
}

// SubscribeRate is a token bucket per client for the filters of SUBSCRIBE and UNSUBSCRIBE.
type SubscribeRate struct {
	Filters int      `yaml:"filters"` // per second; 0: not limited
	Burst   Duration `yaml:"burst"`   // SessionLimits.Subscriptions may come in any case
	Excess  string   `yaml:"excess"`  // ExcessPause or ExcessDisconnect
}

// RetainedRate is a token bucket per client for the retained messages that it is sent
// because it subscribed.
type RetainedRate struct {
	Messages int      `yaml:"messages"` // per second; 0: not limited
	Bytes    Size     `yaml:"bytes"`    // per second; 0: not limited
	Burst    Duration `yaml:"burst"`
}

// ConnectRate is a token bucket per proven identity and client identifier.
type ConnectRate struct {
	Connects int      `yaml:"connects"` // per second; 0: not limited
	Burst    Duration `yaml:"burst"`
}

// ListenerLimits bound the clients of one listener, within Limits: together those whose
// name ends in _total and of connections, each the others.
type ListenerLimits struct {
	Connections      int              `yaml:"connections"`  // 0: only the total
	ConnectRate      int              `yaml:"connect_rate"` // new connections per second; 0: not limited
	PublishRate      PublishRate      `yaml:"publish_rate"`
	SubscribeRate    SubscribeRate    `yaml:"subscribe_rate"`
	PublishRateTotal PublishRateTotal `yaml:"publish_rate_total"`
	SameClient       string           `yaml:"same_client"`              // as Newcomers
	PerIdentity      int              `yaml:"connections_per_identity"` // as Newcomers
}

// inherit gives a listener everybody's rates where it has none of its own.
func (l *loader) inherit(key string, o *ListenerLimits, all *Limits) {
	take(l, key+".publish_rate.messages", &o.PublishRate.Messages, all.PublishRate.Messages)
	take(l, key+".publish_rate.bytes", &o.PublishRate.Bytes, all.PublishRate.Bytes)
	take(l, key+".publish_rate.burst", &o.PublishRate.Burst, all.PublishRate.Burst)
	take(l, key+".publish_rate.excess", &o.PublishRate.Excess, all.PublishRate.Excess)
	take(l, key+".subscribe_rate.filters", &o.SubscribeRate.Filters, all.SubscribeRate.Filters)
	take(l, key+".subscribe_rate.burst", &o.SubscribeRate.Burst, all.SubscribeRate.Burst)
	take(l, key+".subscribe_rate.excess", &o.SubscribeRate.Excess, all.SubscribeRate.Excess)
	take(l, key+".same_client", &o.SameClient, all.SameClient)
	take(l, key+".connections_per_identity", &o.PerIdentity, all.PerIdentity)
}

// take sets what nobody wrote.
func take[V any](l *loader, key string, to *V, from V) {
	if !l.origins[key].written() {
		*to = from
	}
}
