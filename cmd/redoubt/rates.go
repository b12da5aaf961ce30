package main

import (
	"maps"
	"slices"
	"time"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/limit"
)

// From the rates of the configuration to those of the broker.

func rates(l *config.RateLimits) broker.Rates {
	return broker.Rates{
		PublishRate: publishRate(&l.PublishRate), SubscribeRate: subscribeRate(&l.SubscribeRate), PublishRateTotal: totalRate(&l.PublishRateTotal),
		RetainedRate: broker.RetainedRate{Messages: l.RetainedRate.Messages, Bytes: int64(l.RetainedRate.Bytes), Burst: time.Duration(l.RetainedRate.Burst)},
		ConnectRate:  broker.ConnectRate{Connects: l.ConnectRate.Connects, Burst: time.Duration(l.ConnectRate.Burst)},
	}
}

func entranceRates(l *config.ListenerLimits) *broker.EntranceRates {
	return &broker.EntranceRates{
		PublishRate: publishRate(&l.PublishRate), SubscribeRate: subscribeRate(&l.SubscribeRate), PublishRateTotal: totalRate(&l.PublishRateTotal),
	}
}

func publishRate(r *config.PublishRate) broker.PublishRate {
	return broker.PublishRate{Messages: r.Messages, Bytes: int64(r.Bytes), Burst: time.Duration(r.Burst), Disconnect: r.Excess == config.ExcessDisconnect}
}

func subscribeRate(r *config.SubscribeRate) broker.SubscribeRate {
	return broker.SubscribeRate{Filters: r.Filters, Burst: time.Duration(r.Burst), Disconnect: r.Excess == config.ExcessDisconnect}
}

func totalRate(r *config.PublishRateTotal) limit.FairRate {
	return limit.FairRate{Messages: int64(r.Messages), Bytes: int64(r.Bytes), Burst: time.Duration(r.Burst)}
}

// Limits implements admin.Limits: what clients of this moment get.
func (n *node) Limits() admin.LimitsReport {
	s := n.broker.Settings()
	r := admin.LimitsReport{ClientLimits: admin.ClientLimits{
		PacketBytes: int64(s.PacketBytes), ConnectPacketBytes: int64(s.ConnectPacketBytes), TopicLevels: int64(s.TopicLevels),
		TopicBytes: int64(s.TopicBytes), ClientIDBytes: int64(s.ClientIDBytes), UserProperties: int64(s.UserProperties),
		Inflight: int64(s.Session.ReceiveMaximum), AwaitingRel: int64(s.Session.AwaitingRelMax),
		MqueueMessages: int64(s.Session.MqueueMessages), MqueueBytes: s.Session.MqueueBytes,
		Subscriptions: int64(s.Subscriptions), WildcardSubscriptions: int64(s.WildcardSubscriptions), TopicAliases: int64(s.Session.AliasInMax),
		SessionExpiryMaxSeconds: int64(s.SessionExpiryMax), ConnectDeadlineMillis: n.door.Deadline(time.Time{}).Sub(time.Time{}).Milliseconds(),
	}, Total: totalShown(&s.PublishRateTotal), Connects: int64(s.ConnectRate.Connects)}
	for _, name := range slices.Sorted(maps.Keys(s.Entrances)) {
		r.Listeners = append(r.Listeners, ratesShown(name, s))
	}
	return r
}

// ratesShown are the rates of the clients of a listener, for who asks.
func ratesShown(name string, s *broker.Settings) admin.ListenerRates {
	e := s.Entrances[name].Rates
	p, f := &e.PublishRate, &e.SubscribeRate
	return admin.ListenerRates{
		Name: name, MessagesPerSecond: int64(p.Messages), MessagesBurst: int64(float64(p.Messages) * p.Burst.Seconds()), BytesPerSecond: p.Bytes,
		PublishExcess: excess(p.Disconnect), FiltersPerSecond: int64(f.Filters), FiltersBurst: max(int64(float64(f.Filters)*f.Burst.Seconds()), int64(s.Subscriptions)),
		SubscribeExcess: excess(f.Disconnect), Total: totalShown(&e.PublishRateTotal),
	}
}

func totalShown(r *limit.FairRate) admin.TotalRate {
	return admin.TotalRate{MessagesPerSecond: r.Messages, BytesPerSecond: r.Bytes}
}

func excess(disconnect bool) string {
	if disconnect {
		return config.ExcessDisconnect
	}
	return config.ExcessPause
}

func newcomers(same string, most int) broker.Newcomers {
	return broker.Newcomers{Refuse: same == config.SameClientRefuse, Most: most}
}
