package bench

import (
	"math/bits"
	"time"
)

// Hist counts durations in a fixed number of places, whose width grows with the
// value: below 128 ns they are exact, above they are 1/128 of the value wide, so
// that what is read from them is wrong by 0.8 % at most. Its size does not depend
// on what is counted.
type Hist struct {
	places [histPlaces]uint32
	count  uint64
	sum    float64
	max    int64
}

const (
	histBits   = 7
	histSpan   = 1 << histBits
	histTop    = 42 // 2^42 ns is more than an hour; longer counts as that
	histPlaces = (histTop - histBits + 1) * histSpan
)

// Add counts one duration, in nanoseconds. A negative one is a clock that was set back: 0.
func (h *Hist) Add(ns int64) {
	ns = max(ns, 0)
	h.max = max(h.max, ns)
	h.count++
	h.sum += float64(ns)
	h.places[placeOf(min(ns, 1<<histTop-1))]++
}

func placeOf(ns int64) int {
	if ns < histSpan {
		return int(ns)
	}
	e := bits.Len64(uint64(ns)) - 1 - histBits // the value has e bits more than a place tells
	return (e+1)*histSpan + int(ns>>e) - histSpan
}

// valueOf is the middle of a place.
func valueOf(place int) int64 {
	if place < 2*histSpan {
		return int64(place)
	}
	e := place/histSpan - 1
	return int64(place%histSpan+histSpan)<<e + 1<<e/2
}

// Quantile is the duration that the share q of all did not pass.
func (h *Hist) Quantile(q float64) time.Duration {
	if h.count == 0 {
		return 0
	}
	rank := uint64(q * float64(h.count))
	var sum uint64
	for i, n := range h.places {
		if sum += uint64(n); sum > rank {
			return time.Duration(min(valueOf(i), h.max))
		}
	}
	return time.Duration(h.max)
}

// Latency is what a report says of a Hist, in milliseconds.
type Latency struct {
	Count uint64  `json:"count"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p999"`
	Max   float64 `json:"max"`
}

// Latency is nil when nothing was counted.
func (h *Hist) Latency() *Latency {
	if h.count == 0 {
		return nil
	}
	q := func(p float64) float64 { return millis(h.Quantile(p)) }
	return &Latency{Count: h.count, Mean: round(h.sum / float64(h.count) / 1e6), P50: q(.5), P90: q(.9), P99: q(.99), P999: q(.999), Max: millis(time.Duration(h.max))}
}

func millis(d time.Duration) float64 { return round(float64(d) / 1e6) }
