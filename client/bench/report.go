package bench

import (
	"fmt"

	"github.com/redoubtmq/redoubt/client"
)

// result is what a run has to tell beside its counts.
type result struct {
	phase    string
	seconds  float64 // measured
	window   counts  // of that time
	hist     Hist
	tardy    Hist
	cpu      float64 // of the broker's process, in seconds
	resident int64   // bytes
	own      float64 // processor time of ours, in seconds
	unsent   uint64
	offline  *OfflineReport
	flood    *FloodReport
	retained *RetainedReport
	rogue    *RogueReport
	memory   *MemoryReport
}

// perSecond is how many of n there were in a second of the measured time.
func (m *result) perSecond(n uint64) float64 {
	if m.seconds == 0 {
		return 0
	}
	return round(float64(n) / m.seconds)
}

// Report is what a run found. Its JSON is that of `redoubt bench -o json`; docs/cli-bench.md
// has every key.
type Report struct {
	Scenario    Scenario          `json:"scenario"`
	Version     string            `json:"mqtt_version"`
	Transport   string            `json:"transport"`
	Engine      string            `json:"engine"`
	QoS         int               `json:"qos"`
	Payload     int               `json:"payload_bytes"`
	Connections ConnectionsReport `json:"connections"`
	Seconds     float64           `json:"seconds"`
	Sent        *SentReport       `json:"sent,omitempty"`
	Delivered   *DeliveredReport  `json:"delivered,omitempty"`
	Latency     *Latency          `json:"latency_ms,omitempty"`
	Late        *Latency          `json:"late_ms,omitempty"` // we sent later than due, by a rate
	Offline     *OfflineReport    `json:"offline,omitempty"`
	Flood       *FloodReport      `json:"flood,omitempty"`
	Retained    *RetainedReport   `json:"retained,omitempty"`
	Rogue       *RogueReport      `json:"rogue,omitempty"`
	Memory      *MemoryReport     `json:"memory,omitempty"`
	Broker      *BrokerReport     `json:"broker,omitempty"`
	Generator   *GeneratorReport  `json:"generator,omitempty"`
	Interrupted bool              `json:"interrupted"`
}

// ConnectionsReport is how connecting went.
type ConnectionsReport struct {
	Connected int            `json:"connected"`
	Failed    int            `json:"failed"`
	Reasons   map[string]int `json:"failed_by_reason,omitempty"`
	Ended     map[string]int `json:"ended_by_reason,omitempty"` // that were ready, before we left
	PerSecond float64        `json:"per_second"`
	Resumed   int            `json:"resumed,omitempty"`    // went on with an earlier TLS session
	Latency   *Latency       `json:"latency_ms,omitempty"` // until CONNACK
}

// SentReport is what the publishers did. Per second is of the measured time, the rest of
// the whole run.
type SentReport struct {
	Messages     uint64         `json:"messages"`
	PerSecond    float64        `json:"per_second"`
	Acknowledged uint64         `json:"acknowledged"`
	AckedPerSec  float64        `json:"acknowledged_per_second"`
	Refused      uint64         `json:"refused"`
	Refusals     map[string]int `json:"refused_by_reason,omitempty"`
	Unsent       uint64         `json:"unsent"` // due by the rate when the time was over
	Stalls       uint64         `json:"stalls"` // times a window waited a second for what did not come
}

// DeliveredReport is what the subscribers saw.
type DeliveredReport struct {
	Messages   uint64  `json:"messages"`
	PerSecond  float64 `json:"per_second"`
	Lost       uint64  `json:"lost"`
	Duplicated uint64  `json:"duplicated"`
	Reordered  uint64  `json:"reordered"`
	Foreign    uint64  `json:"foreign"` // messages of others on our topics
}

// BrokerReport is of the broker's process in the measured time.
type BrokerReport struct {
	CPUSeconds    float64 `json:"cpu_seconds"`
	CPUPerMillion float64 `json:"cpu_seconds_per_million_deliveries,omitempty"`
	Busy          float64 `json:"busy_cores"`
	ResidentBytes int64   `json:"resident_bytes"`
}

// GeneratorReport is of our own process in the measured time. One that is busy all the time measures
// itself.
type GeneratorReport struct {
	CPUSeconds    float64 `json:"cpu_seconds"`
	CPUPerMillion float64 `json:"cpu_seconds_per_million_deliveries,omitempty"`
	Busy          float64 `json:"busy_cores"`
}

func (r *run) report() *Report {
	o, m, c := r.opt, &r.result, &r.crowd
	rep := &Report{
		Scenario: o.Scenario, Version: r.version.String(), Transport: transport(&o.Client), Engine: r.eng.name(),
		QoS: int(o.QoS), Payload: o.Payload, Seconds: round(m.seconds), Offline: m.offline, Flood: m.flood, Memory: m.memory, Retained: m.retained, Rogue: m.rogue,
		Connections: ConnectionsReport{Connected: c.connected, Failed: c.failed, Reasons: c.reasons, Ended: c.ends, Resumed: int(r.opener.Resumed()), Latency: c.hist.Latency()},
		Latency:     m.hist.Latency(), Late: m.tardy.Latency(),
	}
	if c.spent > 0 {
		rep.Connections.PerSecond = round(float64(c.connected) / (float64(c.spent) / 1e9))
	}
	t := &r.total
	if len(r.pubs) > 0 {
		rep.Sent = &SentReport{
			Messages: t.sent, PerSecond: m.perSecond(m.window.sent), Acknowledged: t.acked, AckedPerSec: m.perSecond(m.window.acked),
			Refused: t.refused, Refusals: t.refusals, Unsent: m.unsent, Stalls: t.stalls,
		}
	}
	if len(r.subs) > 0 && o.Scenario != Conn && o.Scenario != Memory {
		rep.Delivered = &DeliveredReport{
			Messages: t.delivered, PerSecond: m.perSecond(m.window.delivered), Lost: r.lost(), Duplicated: t.twice, Reordered: t.late, Foreign: t.foreign,
		}
	}
	if m.own > 0 && m.seconds > 0 {
		rep.Generator = &GeneratorReport{CPUSeconds: round(m.own), Busy: round(m.own / m.seconds)}
		if n := m.window.delivered; n > 0 {
			rep.Generator.CPUPerMillion = round(m.own / float64(n) * 1e6)
		}
	}
	if o.Process > 0 {
		rep.Broker = &BrokerReport{CPUSeconds: round(m.cpu), ResidentBytes: m.resident}
		if m.seconds > 0 {
			rep.Broker.Busy = round(m.cpu / m.seconds)
		}
		if n := m.window.delivered; n > 0 {
			rep.Broker.CPUPerMillion = round(m.cpu / float64(n) * 1e6)
		}
	}
	if m.offline != nil {
		rep.Delivered.Lost = m.offline.Lost
		rep.Seconds = round(m.offline.FillSeconds + m.offline.DrainSecs)
		rep.Sent.PerSecond, rep.Sent.AckedPerSec, rep.Delivered.PerSecond = m.offline.FillPerSec, m.offline.FillPerSec, m.offline.DrainPerSec
		rep.Latency = nil // it would be how long they were away
	}
	if k := m.retained; k != nil {
		rep.Latency = nil // it would be how long they were there
		rep.Sent.PerSecond, rep.Sent.AckedPerSec = k.FillPerSec, k.FillPerSec
		rep.Delivered.PerSecond, rep.Delivered.Lost = k.PerSec, k.Lost
		if k.Times == 0 {
			rep.Delivered = nil
		}
	}
	if o.Scenario == Offline && o.Offline.Undrained {
		rep.Delivered = nil // nobody asked
	}
	if m.flood != nil {
		rep.Latency = nil // it is in there, before and during
	}
	return rep
}

func transport(c *client.Options) string {
	name := "tcp"
	switch {
	case c.Socket != "":
		return "unix"
	case c.WebSocket != "" && c.TLS != nil:
		name = "wss"
	case c.WebSocket != "":
		name = "ws"
	case c.TLS != nil:
		name = "tls"
	}
	if c.TLS != nil && c.TLS.CertFile != "" {
		name = "m" + name
	}
	return name
}

// Measured tells whether there is anything to report.
func (r *Report) Measured() bool {
	return r.Seconds > 0 && r.Scenario != Memory || r.Memory != nil || r.Scenario == Conn && r.Connections.Connected+r.Connections.Failed > 0
}

// verdict is an error when the broker broke a promise, or nothing worked.
func (r *Report) verdict() error {
	bad := func(kind client.Kind, format string, args ...any) error {
		return &client.Error{Kind: kind, What: fmt.Sprintf(format, args...)}
	}
	switch d := r.Delivered; {
	case r.Connections.Connected == 0 && r.Connections.Failed > 0:
		return bad(client.KindNoConnack, "none of %d connections came about", r.Connections.Failed)
	case d == nil || r.Sent == nil:
	case r.Interrupted && (r.Offline != nil || r.Retained != nil): // nothing had to be there yet
	case r.Sent.Messages > 0 && d.Messages == 0:
		e := &client.Error{Kind: client.KindPublishRefused, What: fmt.Sprintf("of %d messages none arrived", r.Sent.Messages)}
		e.Help = append(e.Help, "may this user publish there? Another place is -t TOPIC; `redoubt why CLIENT` tells the operator the reason")
		return e
	case r.Retained != nil && d.Lost > 0:
		return bad(client.KindProtocol, "%d retained messages were acknowledged, and lost", d.Lost)
	case r.QoS > 0 && d.Lost > 0:
		return bad(client.KindProtocol, "%d messages of QoS %d were sent, not refused, and lost", d.Lost, r.QoS)
	case r.QoS == 2 && d.Duplicated > 0:
		return bad(client.KindProtocol, "%d messages of QoS 2 came twice", d.Duplicated)
	}
	return nil
}
