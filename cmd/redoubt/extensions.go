package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/delay"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/router"
	rewriting "github.com/redoubtmq/redoubt/topic/rewrite"
	"github.com/redoubtmq/redoubt/topic/template"
)

// strategies are the configuration's words for those of package router.
var strategies = map[string]router.Strategy{
	config.StrategyRandom: router.Random, config.StrategyRoundRobin: router.RoundRobin, config.StrategySticky: router.Sticky,
	config.StrategyHashClientID: router.HashClientID, config.StrategyHashTopic: router.HashTopic,
}

func offer(o *config.Offer) broker.Offer {
	return broker.Offer{
		MaxQoS: mqtt.QoS(o.MaxQoS), RetainAvailable: o.Retain,
		WildcardAvailable: o.WildcardSubscriptions, SharedAvailable: o.SharedSubscriptions,
	}
}

// judged is for what config has compiled once already to judge it.
func judged[T any](v T, err error) T {
	if err != nil {
		panic("BUG: the configuration was accepted and is not valid: " + err.Error())
	}
	return v
}

// entrances are what differs between listeners.
func entrances(c *config.Config) map[string]*broker.Entrance {
	out := make(map[string]*broker.Entrance, len(c.Listeners))
	for name, l := range c.Listeners {
		e := &broker.Entrance{Offer: offer(&l.MQTT), Rates: entranceRates(&l.Limits)}
		arrivals := newcomers(l.Limits.SameClient, l.Limits.PerIdentity)
		e.Newcomers = &arrivals
		if l.Mountpoint != "" {
			e.Mountpoint = judged(template.ParseMountpoint(l.Mountpoint))
		}
		out[name] = e
	}
	return out
}

func extensions(c *config.Config) broker.Extensions {
	m := &c.MQTT
	x := broker.Extensions{
		SharedStrategy: strategies[m.SharedStrategy], Exclusive: m.ExclusiveSubscriptions,
		ResponseInformation: m.ResponseInformation, ServerReference: m.ServerReference,
		SysInterval: time.Duration(m.SysInterval) * time.Second, Events: m.Events,
		Newcomers: newcomers(c.Limits.SameClient, c.Limits.PerIdentity), MostAttribute: c.Limits.MostAttribute,
	}
	if m.Delayed {
		x.DelayMax = uint32(c.Limits.DelayedMax)
	}
	if len(m.Rewrite) > 0 {
		x.Rewrite = judged(rewriting.Compile(m.RewriteRules()))
	}
	for i := range m.AutoSubscribe {
		a := &m.AutoSubscribe[i]
		x.AutoSubscribe = append(x.AutoSubscribe, broker.AutoSubscription{
			Filter: judged(template.ParseFilter(a.Topic)),
			Options: mqtt.Subscription{
				QoS: mqtt.QoS(a.QoS), NoLocal: a.NoLocal, RetainAsPublished: a.RetainAsPublished, RetainHandling: byte(a.RetainHandling),
			},
		})
	}
	return x
}

func delayLimits(c *config.Config) delay.Limits {
	l := &c.Limits
	return delay.Limits{
		Messages: l.DelayedMessagesTotal, Bytes: int64(l.DelayedBytesTotal),
		OwnerMessages: l.DelayedMessages, OwnerBytes: int64(l.DelayedBytes),
	}
}

// sysTopics are what the broker says of itself under $SYS/broker/, in the words
// of Mosquitto where it has one.
func (n *node) sysTopics(now time.Time) []broker.SysTopic {
	sum := func(ids metrics.Range, from, to int) (total int64) {
		for i := from; i <= to; i++ {
			total += n.metrics.Value(ids.At(i))
		}
		return total
	}
	dropped := int64(0)
	for _, id := range []metrics.ID{
		metrics.MessagesDroppedQueueFull, metrics.MessagesDroppedExpired, metrics.MessagesDroppedTooLarge,
		metrics.MessagesDroppedInboxFull, metrics.MessagesDroppedNoSession, metrics.MessagesDroppedQoS0Offline,
	} {
		dropped += n.metrics.Value(id)
	}
	out := []broker.SysTopic{
		{Name: "version", Value: "redoubt version " + version},
		{Name: "uptime", Value: fmt.Sprintf("%d seconds", int64(now.Sub(n.started).Seconds()))},
	}
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"clients/connected", n.metrics.Value(metrics.Connections)},
		{"clients/total", n.metrics.Value(metrics.Sessions)},
		{"clients/expired", n.metrics.Value(metrics.SessionsExpired)},
		{"subscriptions/count", n.metrics.Value(metrics.Subscriptions)},
		{"retained messages/count", n.metrics.Value(metrics.RetainedMessages) + n.metrics.Value(metrics.RetainedOwn)},
		{"delayed messages/count", n.metrics.Value(metrics.DelayedMessages)},
		{"publish/messages/received", sum(metrics.MessagesReceived, 0, 2)},
		{"publish/messages/sent", sum(metrics.MessagesSent, 0, 2)},
		{"publish/messages/dropped", dropped},
		{"messages/received", sum(metrics.PacketsReceived, 1, 15)},
		{"messages/sent", sum(metrics.PacketsSent, 1, 15)},
		{"bytes/received", n.metrics.Value(metrics.BytesReceived)},
		{"bytes/sent", n.metrics.Value(metrics.BytesSent)},
		{"store/messages/bytes", n.metrics.Value(metrics.MqueueBytes)},
	} {
		out = append(out, broker.SysTopic{Name: f.name, Value: strconv.FormatInt(f.value, 10)})
	}
	if score, known := hardeningTopic(n.hardeningStatus()); known {
		out = append(out, score)
	}
	for i := range out {
		out[i].Name = "$SYS/broker/" + out[i].Name
	}
	return out
}
