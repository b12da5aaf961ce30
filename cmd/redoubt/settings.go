package main

import (
	"fmt"
	"maps"
	"syscall"
	"time"

	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/memory"
	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/retain"
	"github.com/redoubtmq/redoubt/session"
)

// From the configuration's plain structs to the options of the rooms.

func brokerSettings(c *config.Config, held *session.Account) *broker.Settings {
	l := &c.Limits
	return &broker.Settings{
		Session: &session.Limits{
			InflightMax: l.Inflight, MqueueMessages: l.MqueueMessages, MqueueBytes: int64(l.MqueueBytes),
			AwaitingRelMax: l.AwaitingRel, ReceiveMaximum: l.Inflight, AliasInMax: l.TopicAliases, AliasOutMax: l.TopicAliases,
			Account: held, WaitMax: time.Duration(l.MessageExpiryMax) * time.Second,
		},
		PacketLimits: broker.PacketLimits{
			PacketBytes: int(l.PacketBytes), ConnectPacketBytes: int(l.ConnectPacketBytes), UserProperties: l.UserProperties,
			TopicLevels: l.TopicLevels, TopicBytes: int(l.TopicBytes), ClientIDBytes: int(l.ClientIDBytes),
		},
		Subscriptions: l.Subscriptions, WildcardSubscriptions: l.WildcardSubscriptions, SessionsTotal: l.SessionsTotal, SubscriptionsTotal: l.SubscriptionsTotal, IdentityShare: l.IdentityShare, Takeovers: broker.TakeoversMax,
		KeepAliveMax: uint16(l.KeepAliveMax), KeepAliveMaxV3: uint16(l.KeepAliveMaxV3),
		SessionExpiryMax: uint32(l.SessionExpiryMax), WillDelayMax: uint32(l.WillDelayMax), MessageExpiryMax: uint32(l.MessageExpiryMax),
		Rates:    rates(&l.RateLimits),
		Flapping: broker.Flapping{Connects: c.Flapping.Connects, Window: c.Flapping.Window.Std(), Ban: c.Flapping.Ban.Std()},
		Versions: versions(c.MQTT.Versions),
		Offer:    offer(&c.MQTT.Offer), Entrances: entrances(c), Extensions: extensions(c),
		DenyDisconnect: c.Authz.DenyAction == config.DenyDisconnect,
	}
}

func versions(names []string) (out []mqtt.Version) {
	for _, n := range names {
		for _, v := range []mqtt.Version{mqtt.V31, mqtt.V311, mqtt.V5} {
			if v.String() == n {
				out = append(out, v)
			}
		}
	}
	return out
}

// retainedMemory is what of the retained messages is in memory: never more than a quarter of
// what the process may have, because more would be shed from clients who are connected.
func retainedMemory(c *config.Config, b memory.Budget) int64 {
	return min(int64(c.Limits.RetainedMemory), max(b.Bytes/4, 1))
}

func retainOptions(c *config.Config, b memory.Budget, rows retain.Rows) retain.Options {
	return retain.Options{
		MessagesMax: c.Limits.RetainedMessagesTotal, BytesMax: int64(c.Limits.RetainedBytesTotal),
		Rows: rows, MemoryMax: retainedMemory(c, b),
	}
}

// filesReserve is how many open files the process needs beside its clients.
const filesReserve = 256

// connectionsMax is how many connections fit: what the operator asked for, or
// what the open file limit allows with a fifth to spare. A number the limit
// cannot hold refuses the start, with the sum.
func connectionsMax(c *config.Config) (connections int64, sum string, err error) {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return 0, "", fmt.Errorf("read the open file limit: %w", err)
	}
	fit := (int64(min(files.Cur, 1<<31)) - filesReserve) * 10 / 12
	if fit < 1 {
		return 0, "", fmt.Errorf("the open file limit of %d leaves nothing for clients: %d are reserved. Raise it (ulimit -n, or LimitNOFILE= in the unit); see P1.1", files.Cur, filesReserve)
	}
	sum = fmt.Sprintf("(%d open files - %d reserved) / 1.2 = %d connections", files.Cur, filesReserve, fit)
	if c.Limits.ConnectionsTotal == config.Auto {
		return min(fit, 850_000), sum, nil
	}
	want := int64(c.Limits.ConnectionsTotal)
	if want > fit {
		return 0, "", fmt.Errorf("limits.connections_total is %d, but the open file limit holds fewer: %s. Raise the limit (ulimit -n, or LimitNOFILE= in the unit) or lower the number; see P1.1", want, sum)
	}
	return want, sum, nil
}

// handshakeRates are those of the configuration, and for the lengths it does not name two
// fifths of the rate of connections: who lets more in from one network means their handshakes, too.
func handshakeRates(l *config.Limits) map[string]int {
	rates := maps.Clone(l.HandshakeRatePrefix)
	if rates == nil {
		rates = make(map[string]int)
	}
	for length, n := range l.ConnectRatePerPrefix {
		if _, named := rates[length]; !named {
			rates[length] = max(1, n*2/5)
		}
	}
	return rates
}

// gateLimits bound one listener.
func gateLimits(c *config.Config, name string) listener.GateLimits {
	l := c.Listeners[name].Limits
	return listener.GateLimits{Connections: int64(l.Connections), ConnectRate: int64(l.ConnectRate), KnownShare: c.Limits.KnownShare}
}

func doorLimits(c *config.Config, connections int64) listener.DoorLimits {
	l := &c.Limits
	return listener.DoorLimits{
		ConnectionsTotal: connections, UnauthenticatedTotal: int64(l.UnauthenticatedTotal), HandshakesTotal: int64(l.HandshakesTotal),
		PerPrefix: l.ConnectionsPerPrefix, RatePerPrefix: l.ConnectRatePerPrefix, ShakeRatePerPrefix: handshakeRates(l), ShakeCPU: l.HandshakeCPU,
		KnownShare: l.KnownShare, ConnectDeadline: time.Duration(l.ConnectDeadline),
	}
}
