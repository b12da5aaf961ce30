package main

// memoryRows are about resident memory: what one of many takes.
var memoryRows = []row{
	{name: "idle-tcp", title: "idle TCP connections, 1 subscription", unit: kilobytes, must: 1.0, aim: .75, clients: 15000, args: load("conn", "-c", "--subscribe", "--hold", hold), value: perConnection},
	{name: "idle-tls", title: "idle TLS 1.3 connections, 1 subscription", unit: kilobytes, must: .75, aim: .65, tls: true, clients: 10000, args: load("conn", "-c", "--subscribe", "--hold", hold), value: perConnection},
}

// hold is how long idle connections stay before memory is read, so that a collector can give back
// what the ramp left.
const hold = "20s"

func perConnection(u *usage) float64 {
	n := u.report.Connections.Connected
	if n == 0 {
		return 0
	}
	return float64(u.report.Broker.ResidentBytes-u.quiet) / float64(n) / 1024
}
