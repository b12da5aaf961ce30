package main

// connectRows are about clients that come.
var connectRows = []row{
	{name: "connect-tls", title: "TLS connects", unit: "CPU s per 10,000", must: 1.05, aim: .95, tls: true, clients: 3000, args: load("conn", "-c"), value: cpuPerConnects},
}

func cpuPerConnects(u *usage) float64 {
	n := u.report.Connections.Connected
	if n == 0 {
		return 0
	}
	return u.report.Broker.CPUSeconds / float64(n) * 10000
}
