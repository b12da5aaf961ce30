package main

// connectRows are about clients that come. All of them are asked for a password or a certificate,
// by both brokers.
var connectRows = []row{
	{name: "connect-tcp", title: "TCP connects", unit: secondsOfConnects, must: 1.05, aim: .95, passwords: true, clients: 5000, args: load("conn", "-c"), value: cpuPerConnects},
	{name: "connect-tls", title: "TLS connects", unit: secondsOfConnects, must: 1.05, aim: .95, tls: true, passwords: true, clients: 3000, args: load("conn", "-c"), value: cpuPerConnects},
	{name: "connect-mtls", title: "mTLS connects", unit: secondsOfConnects, must: 1.05, aim: .95, over: overMTLS, clients: 2000, args: load("conn", "-c"), value: cpuPerConnects},
	{name: "connect-resumed", title: "TLS connects that resume a session", unit: secondsOfConnects, must: 1.05, aim: .95, tls: true, passwords: true, clients: 3000, args: load("conn", "-c", "--resume"), value: cpuPerResumed},
}

const secondsOfConnects = "CPU s per 10,000"

func cpuPerConnects(u *usage) float64 {
	n := u.report.Connections.Connected
	if n == 0 {
		return 0
	}
	return u.report.Broker.CPUSeconds / float64(n) * 10000
}

// cpuPerResumed is none where the broker resumes less than nearly all.
func cpuPerResumed(u *usage) float64 {
	if c := &u.report.Connections; c.Resumed*10 < c.Connected*9 {
		return 0
	}
	return cpuPerConnects(u)
}
