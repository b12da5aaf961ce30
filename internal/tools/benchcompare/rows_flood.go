package main

import (
	"math"
	"slices"
)

// floodRows are about strangers that never say who they are: each kind is one run with three
// figures.
var floodRows = slices.Concat(
	flood("silent", "silent", false, 1, .6),
	flood("hello", "half-hello", true, 1.5, 1),
	flood("stalled", "stalled", true, 40, 25),
)

// A stranger may stay ten seconds, and has to be seen for longer. Before it is ten, so that p99 of a
// thousand messages a second has a hundred above it.
const floodBefore, floodDuring = "10s", "12s"

func flood(name, kind string, tls bool, must, aim float64) []row {
	what := map[string]string{"silent": "sockets that say nothing", "half-hello": "sockets with half a ClientHello", "stalled": "sockets that stall after ClientHello"}[kind]
	r := row{
		unit: kilobytes, must: must, aim: aim, own: true, zero: true, fewer: true, tls: tls, clients: 3000, group: "flood-" + name,
		args: load("flood", "-c", "--kind", kind, "--before", floodBefore, "--duration", floodDuring),
	}
	size, life, latency := r, r, r
	size.name, size.title, size.value = "flood-"+name, what, strangerSize
	life.name, life.title, life.unit, life.must, life.aim, life.worst, life.value = "flood-"+name+"-life", what+": longest life", "s", 10, 10, true, strangerLife
	latency.name, latency.title, latency.unit, latency.must, latency.aim, latency.worst, latency.value = "flood-"+name+"-p99", what+": p99 of others", "times before", 2, 1.3, true, strangerLatency
	return []row{size, life, latency}
}

// strangerSize is what each takes. Less than nothing is a broker that gave memory back meanwhile: that
// is no figure of strangers.
func strangerSize(u *usage) float64 {
	f := u.report.Flood
	if f == nil || f.Open == 0 || f.Resident < 0 {
		return math.NaN()
	}
	return float64(f.Resident) / 1024
}

// strangerLife is that of the one that was open longest, whether or not it was closed in the end.
func strangerLife(u *usage) float64 {
	f := u.report.Flood
	if f == nil || f.Opened == 0 {
		return math.NaN()
	}
	return math.Round(max(f.LifeMax, f.Oldest)*10) / 10 // a timer of ten seconds ends some milliseconds later
}

func strangerLatency(u *usage) float64 {
	f := u.report.Flood
	if f == nil || f.P99Ratio == 0 {
		return math.NaN()
	}
	return f.P99Ratio
}
