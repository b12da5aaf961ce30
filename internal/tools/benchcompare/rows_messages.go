package main

import (
	"slices"

	"github.com/redoubtmq/redoubt/client/bench"
)

const (
	secondsPerMillion  = "CPU s per million"
	secondsPerGigabyte = "CPU s per GB"
)

// messageRows are about messages that flow.
var messageRows = slices.Concat([]row{
	{name: "p2p-q0", title: "pairs, QoS 0", unit: secondsPerMillion, must: .25, aim: .17, clients: 1000, args: load("pair", "-c", "-q", "0"), value: cpuPerMillion},
	{name: "p2p-q1", title: "pairs, QoS 1", unit: secondsPerMillion, must: .21, aim: .14, clients: 1000, args: load("pair", "-c", "-q", "1"), value: cpuPerMillion},
	{name: "p2p-q2", title: "pairs, QoS 2", unit: secondsPerMillion, must: .12, aim: .09, clients: 1000, args: load("pair", "-c", "-q", "2"), value: cpuPerMillion},
	{name: "fanout-q0", title: "subscribers of one publisher, QoS 0", unit: secondsPerMillion, must: .29, aim: .21, clients: 1000, args: load("fan", "--fan-out", "-q", "0"), value: cpuPerMillion},
	{name: "fanout-q1", title: "subscribers of one publisher, QoS 1", unit: secondsPerMillion, must: .31, aim: .22, clients: 1000, args: load("fan", "--fan-out", "-q", "1"), value: cpuPerMillion},
	{name: "fanin-q1", title: "publishers to one subscriber, QoS 1", unit: secondsPerMillion, must: .13, aim: .10, clients: 50, args: load("fan", "--fan-in", "-q", "1"), value: cpuPerMillion},
	{name: "share-q1", title: "publishers to a $share of 5, QoS 1", unit: secondsPerMillion, must: .28, aim: .18, clients: 50, args: load("fan", "--fan-in", "--share", "5", "-q", "1"), value: cpuPerMillion},
	{name: "p2p-tls", title: "pairs over TLS, QoS 1", unit: secondsPerMillion, must: .23, aim: .15, tls: true, clients: 100, args: load("pair", "-c", "-q", "1"), value: cpuPerMillion},
	{name: "wildcard", title: "pairs with 2,000 wildcard filters each, QoS 0", unit: secondsPerMillion, must: .23, aim: .17, clients: 50, args: load("pair", "-c", "-q", "0", "--wildcards", "2000"), value: cpuPerMillion},
	{name: "durable", title: "sessions that are away, QoS 1: acknowledged", unit: "a second", must: 1.0, aim: 2.0, higher: true, disk: true, clients: 1000, group: "durable", args: load("offline", "-c", "--messages", "100", "-q", "1"), value: filled},
	{name: "durable-cpu", title: "sessions that are away, QoS 1: publishing", unit: secondsPerMillion, disk: true, clients: 1000, group: "durable", args: load("offline", "-c", "--messages", "100", "-q", "1"), value: fillCost},
	{name: "retained-cpu", title: "retained messages of 64 bytes, for who subscribes to all", unit: secondsPerMillion, must: .8, aim: .6, clients: 100000, args: load("retained", "-c", "-S", "64", "--keep"), value: cpuPerMillion},
	{name: "p2p-v5", title: "pairs, QoS 1, MQTT 5.0 with two user properties", unit: secondsPerMillion, clients: 1000, args: load("pair", "-c", "-q", "1", "-V", "5", "--user-property", "unit=K", "--user-property", "site=north-12"), value: cpuPerMillion},
	{name: "p2p-alias", title: "pairs, QoS 1, MQTT 5.0 with a topic alias", unit: secondsPerMillion, clients: 1000, args: load("pair", "-c", "-q", "1", "-V", "5", "--topic-alias"), value: cpuPerMillion},
}, sizeRows)

// sizeRows are pairs whose messages have another size, with fewer pairs where it is large. What a
// large one costs is its bytes.
var sizeRows = []row{
	{name: "p2p-16", title: "pairs, QoS 0, 16 bytes", unit: secondsPerMillion, clients: 1000, args: load("pair", "-c", "-q", "0", "-S", "16"), value: cpuPerMillion},
	{name: "p2p-4k", title: "pairs, QoS 0, 4 KiB", unit: secondsPerMillion, clients: 1000, args: load("pair", "-c", "-q", "0", "-S", "4096"), value: cpuPerMillion},
	{name: "p2p-64k", title: "pairs, QoS 0, 64 KiB", unit: secondsPerGigabyte, clients: 100, args: load("pair", "-c", "-q", "0", "-S", "65536"), value: cpuPerGigabyte},
	{name: "p2p-1m", title: "pairs, QoS 0, packets of 1 MiB", unit: secondsPerGigabyte, clients: 10, args: load("pair", "-c", "-q", "0", "-S", mebibyte), value: cpuPerGigabyte},
}

// mebibyte is the payload of a packet that is as large as Redoubt takes by itself: its head has
// less than a hundred bytes.
const mebibyte = "1048476"

func cpuPerMillion(u *usage) float64 { return u.report.Broker.CPUPerMillion }

// cpuPerGigabyte is for a thousand million bytes of payload.
func cpuPerGigabyte(u *usage) float64 { return cpuPerMillion(u) * 1000 / float64(u.report.Payload) }

func filled(u *usage) float64 { return u.report.Offline.FillPerSec }

// fillCost is what a million acknowledged messages cost.
func fillCost(u *usage) float64 { return costOfFill(u.report) }

func costOfFill(rep *bench.Report) float64 {
	if rep.Offline == nil || rep.Sent == nil || rep.Sent.Acknowledged == 0 {
		return 0
	}
	return rep.Offline.CPUFill / float64(rep.Sent.Acknowledged) * 1e6
}
