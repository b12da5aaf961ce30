package main

import "math"

// memoryRows are about resident memory: what one of many takes.
var memoryRows = []row{
	{name: "idle-tcp", title: "idle TCP connections, 1 subscription", unit: kilobytes, must: 1.0, aim: .75, often: half, clients: 15000, args: memoryOf("connection"), value: each},
	{name: "idle-tls", title: "idle TLS 1.3 connections, 1 subscription", unit: kilobytes, must: .75, aim: .65, tls: true, often: half, clients: 10000, args: memoryOf("connection"), value: each},
	{name: "idle-mtls", title: "idle mTLS connections, 1 subscription", unit: kilobytes, must: .80, aim: .65, over: overMTLS, often: half, clients: 2500, args: memoryOf("connection"), value: each},
	{name: "idle-wss", title: "idle WSS connections, 1 subscription", unit: kilobytes, must: .75, aim: .65, over: overWSS, passwords: true, often: half, clients: 5000, args: memoryOf("connection"), value: each},
	{name: "sub-exact", title: "exact subscriptions", unit: kilobytes, must: .6, aim: .4, often: half, clients: 100000, args: memoryOf("exact"), value: each},
	{name: "sub-wildcard", title: "wildcard subscriptions", unit: kilobytes, must: .6, aim: .4, often: half, clients: 100000, args: memoryOf("wildcard"), value: each},
	{name: "retained", title: "retained messages of 64 bytes", unit: kilobytes, must: .6, aim: .4, often: half, clients: 100000, args: memoryOf("retained"), value: each},
	{name: "session", title: "sessions that are away, 1 subscription", unit: kilobytes, must: 1.0, aim: .7, zero: true, often: half, clients: 20000, args: memoryOf("session"), value: each},
	{name: "queued", title: "messages of 64 bytes for sessions that are away", unit: kilobytes, zero: true, often: half, clients: 100000, args: memoryOf("queued"), value: each},
}

// settle is how long memory must not fall to have settled.
const settle = "2s"

// settling is what goes before a reading: Redoubt is asked for a collection. Mosquitto has no collector, and
// takes the same signal to save.
func settling(ours bool) []string {
	args := []string{"--settle", settle, "--visitors", "0"}
	if ours {
		args = append(args, "--collect")
	}
	return args
}

func memoryOf(kind string) func(int) []string { return load("memory", "-c", "--kind", kind) }

// each is what one takes. One that takes nothing of the memory may come out as less than that.
func each(u *usage) float64 {
	m := u.report.Memory
	if m == nil {
		return math.NaN()
	}
	return max(0, m.Each/1024)
}
