package harden

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/redoubtmq/redoubt/config"
	"github.com/redoubtmq/redoubt/internal/clock"
)

// What a host answers to somebody on another one. Nobody on the host itself can tell: a packet
// filter, a published port and a forgotten proxy are seen from outside only. See reachable for
// what is made of it.

// OutsidePorts are those that are tried on every host: where brokers are known to have listeners,
// dashboards and their cluster.
var OutsidePorts = []uint16{1883, 4369, 4370, 5370, 8083, 8084, 8883, 9100, 14567, 18083, 18084}

// forNodes are those of them that are for administration, metrics and other nodes.
var forNodes = map[uint16]string{4369: "EPMD", 4370: "the cluster of a broker", 5370: "the cluster of a broker", 9100: "metrics", 18083: "a dashboard", 18084: "a dashboard"}

const (
	// OutsidePortsMax bounds how many ports of a host are tried, OutsidePorts included.
	OutsidePortsMax = 64
	outsideStep     = 2 * time.Second // for one connection, and for one answer
	outsideAtOnce   = 8
	outsideKind     = "redoubt-outside-report"
	outsideBytesMax = 1 << 20
	outsideListMax  = 2 * addressesMax * OutsidePortsMax
)

// States of a port, as somebody outside has it.
const (
	portOpen    = "open"
	portClosed  = "closed" // refused by the host or something before it
	portSilent  = "silent" // nobody answers: filtered, or nobody is there
	portUntried = "untried"
)

// Words of a port that is open.
const (
	speaksTLS  = "tls"
	speaksMQTT = "mqtt" // in plain text
	speaksHTTP = "http" // the same; WebSocket begins so
	speaksQUIC = "quic"
)

// Outside is what one host answered.
type Outside struct {
	Schema  string        `json:"schema"`
	Kind    string        `json:"kind"`
	Target  string        `json:"target"`
	Started time.Time     `json:"started_at"`
	Took    int64         `json:"duration_ms"`
	Checker string        `json:"checker"`
	Ports   []OutsidePort `json:"ports"`
}

// OutsidePort is one port of one address.
type OutsidePort struct {
	Address netip.Addr `json:"address"`
	Port    uint16     `json:"port"`
	Network string     `json:"network"` // tcp, udp
	State   string     `json:"state"`
	Speaks  []string   `json:"speaks"`
	// SPKI is the SHA-256 of the public key that was shown, in hexadecimal digits.
	SPKI string `json:"spki_sha256,omitempty"`
	Why  string `json:"why,omitempty"`
}

// ErrOwnHost: what is tried is the host it is tried from.
var ErrOwnHost = errors.New("it is an address of this host, and what is seen from here is not seen from outside; run it on another one")

// LookFromOutside connects to ports of a host and tells what answers. It sends a ClientHello, a
// CONNECT without a name and a request for /, each on a connection of its own, and no
// credentials to anybody.
func LookFromOutside(ctx context.Context, clk clock.Clock, host, checker string, more []uint16) (*Outside, error) {
	e := &Env{Clock: clk, Config: &config.Config{}, Step: outsideStep}
	ports := slices.Concat(OutsidePorts, more)
	slices.Sort(ports)
	ports = slices.Compact(ports)
	if len(ports) > OutsidePortsMax {
		return nil, fmt.Errorf("%d ports are more than %d", len(ports), OutsidePortsMax)
	}
	addrs, err := e.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	if len(addrs) > addressesMax {
		return nil, fmt.Errorf("%s has %d addresses, more than the %d that are tried; name one", host, len(addrs), addressesMax)
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if a.IsLoopback() || slices.ContainsFunc(own, func(n net.Addr) bool {
			p, err := netip.ParsePrefix(n.String())
			return err == nil && p.Addr().Unmap() == a
		}) {
			return nil, fmt.Errorf("%s: %w", a, ErrOwnHost)
		}
	}
	o := &Outside{Schema: schemaVersion, Kind: outsideKind, Target: host, Started: clk.Now().UTC(), Checker: checker}
	for _, a := range addrs {
		for _, port := range ports {
			o.Ports = append(o.Ports, OutsidePort{Address: a, Port: port, Network: "tcp", State: portUntried, Speaks: []string{}})
			if port == quicPort || slices.Contains(more, port) {
				o.Ports = append(o.Ports, OutsidePort{Address: a, Port: port, Network: networkUDP, State: portUntried, Speaks: []string{}})
			}
		}
	}
	var all sync.WaitGroup
	next := make(chan *OutsidePort)
	for range outsideAtOnce {
		all.Go(func() {
			for p := range next {
				e.tryPort(ctx, host, p)
			}
		})
	}
	for i := range o.Ports {
		next <- &o.Ports[i]
	}
	close(next)
	all.Wait()
	o.Took = clk.Now().Sub(o.Started).Milliseconds()
	return o, nil
}

// quicPort is where QUIC is by custom; on other ports it is tried where they were asked for.
const quicPort = 14567

func (e *Env) tryPort(ctx context.Context, host string, p *OutsidePort) {
	if ctx.Err() != nil {
		return // untried
	}
	a := spot{AddrPort: netip.AddrPortFrom(p.Address, p.Port), network: p.Network}
	name := (&socket{host: host}).serverName()
	if p.Network == networkUDP {
		p.State = portSilent
		if shown, err := e.present(ctx, a, handshakeAs{name: name}); err == nil {
			p.State, p.Speaks, p.SPKI = portOpen, []string{speaksQUIC}, spkiOf(shown)
		}
		return
	}
	c, err := e.dial(ctx, a)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		p.State = portClosed
		return
	case err != nil && ctx.Err() != nil:
		return
	case err != nil:
		p.State, p.Why = portSilent, shortened(err.Error())
		return
	}
	_ = c.Close()
	p.State = portOpen
	if shown, err := e.present(ctx, a, handshakeAs{name: name}); err == nil {
		p.Speaks, p.SPKI = append(p.Speaks, speaksTLS), spkiOf(shown)
	}
	if plain := e.anonymousPlain(ctx, a); plain.packet != nil && plain.packet.typ == typeConnack {
		p.Speaks = append(p.Speaks, speaksMQTT)
	}
	if e.answersHTTP(ctx, a, name, p.SPKI != "") {
		p.Speaks = append(p.Speaks, speaksHTTP)
	}
}

// answersHTTP tells whether a request in plain text gets an answer, whatever it says; but that
// a server of TLS has no ears for it is what some say in HTTP (400).
func (e *Env) answersHTTP(ctx context.Context, a spot, name string, secured bool) bool {
	c, err := e.dial(ctx, a)
	if err != nil {
		return false
	}
	defer c.Close()
	if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", name); err != nil {
		return false
	}
	line, _ := bufio.NewReader(io.LimitReader(c, 256)).ReadString('\n')
	return strings.HasPrefix(line, "HTTP/1.") && !(secured && strings.Contains(line, " 400 "))
}

func spkiOf(p *presented) string {
	sum := sha256.Sum256(p.leaf().RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// WriteJSON writes it for redoubt doctor --outside.
func (o *Outside) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(o)
}

// WriteText writes it for a person, with what ought not to answer clients.
func (o *Outside) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, from here, %s: %d ports tried\n\n", printable(o.Target), o.Started.Format("2006-01-02 15:04:05 UTC"), len(o.Ports))
	t := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "ADDRESS\tPORT\tSTATE\tSPEAKS\tWHAT")
	for i := range o.Ports {
		p := &o.Ports[i]
		_, what := p.judge(nil)
		fmt.Fprintf(t, "%s\t%s/%d\t%s\t%s\t%s\n", p.Address, p.Network, p.Port, p.State, orDash(strings.Join(p.Speaks, ",")), orDash(what))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if o.ExitCode() == ExitUnknown {
		b.WriteString("\nNothing spoke TLS: nothing proves that the broker's host was reached. Look at the name, at the way there, and at --ports, if it listens on another one.\n")
	} else {
		b.WriteString("\nWhether the broker is behind what answers is judged there: redoubt doctor --from outside -o json > FILE, and redoubt doctor --outside FILE on its host.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// ExitCode is 1 where something answers that ought not to, 3 where nothing speaks TLS, so that
// nothing proves that the host was reached, and 0 otherwise.
func (o *Outside) ExitCode() int {
	reached := false
	for i := range o.Ports {
		p := &o.Ports[i]
		if state, _ := p.judge(nil); state == Fail {
			return ExitFindings
		}
		reached = reached || p.SPKI != ""
	}
	if !reached {
		return ExitUnknown
	}
	return ExitClean
}

// plain tells whether somebody is answered there without TLS.
func (p *OutsidePort) plain() bool {
	return slices.Contains(p.Speaks, speaksMQTT) || slices.Contains(p.Speaks, speaksHTTP)
}

// judge says what it means that a port answers clients. meant are those that are for them; nil: it
// is not known which are.
func (p *OutsidePort) judge(meant map[uint16]bool) (State, string) {
	switch {
	case p.State != portOpen:
		return Pass, ""
	case slices.Contains(p.Speaks, speaksMQTT):
		return Fail, "MQTT in plain text is answered"
	case slices.Contains(p.Speaks, speaksHTTP):
		return Fail, "HTTP in plain text is answered"
	case forNodes[p.Port] != "" && !meant[p.Port]:
		return Fail, "a port of " + forNodes[p.Port] + " answers, and clients have no business there"
	case meant != nil && !meant[p.Port]:
		return Warn, "it answers, and is no listener of the broker: nobody needs to reach it with clients"
	}
	return Pass, "it answers"
}

// sound tells whether a port that was read is one that was written here. A state of another
// name would pass for a port that does not answer, and the zone of an address is any text.
func (p *OutsidePort) sound() bool {
	known := func(s string, all ...string) bool { return slices.Contains(all, s) }
	for _, s := range p.Speaks {
		if !known(s, speaksTLS, speaksMQTT, speaksHTTP, speaksQUIC) {
			return false
		}
	}
	spki, err := hex.DecodeString(p.SPKI)
	zone := p.Address.Zone()
	return known(p.State, portOpen, portClosed, portSilent, portUntried) && known(p.Network, "tcp", networkUDP) &&
		p.Address.IsValid() && p.Port != 0 && len(zone) <= zoneMax && printable(zone) == zone &&
		err == nil && (p.SPKI == "" || len(spki) == sha256.Size)
}

// zoneMax is as long as the name of an interface may be.
const zoneMax = 15

// ReadOutside reads what WriteJSON wrote on another host. It answers an error for what is none, without
// repeating what is in there.
func ReadOutside(r io.Reader) (*Outside, error) {
	text, err := io.ReadAll(io.LimitReader(r, outsideBytesMax+1))
	if err != nil {
		return nil, err
	}
	var o Outside
	switch {
	case len(text) > outsideBytesMax:
		return nil, fmt.Errorf("it is larger than %d MiB, which no report from outside is", outsideBytesMax>>20)
	case json.Unmarshal(text, &o) != nil, o.Kind != outsideKind:
		return nil, errors.New("it is no report of redoubt doctor --from outside -o json")
	case o.Schema != schemaVersion:
		return nil, fmt.Errorf("its schema is %q, and this program knows %q", printable(o.Schema), schemaVersion)
	case len(o.Ports) > outsideListMax:
		return nil, fmt.Errorf("it lists %d ports, more than %d", len(o.Ports), outsideListMax)
	}
	o.Target = printable(o.Target)
	for i := range o.Ports {
		if p := &o.Ports[i]; !p.sound() {
			return nil, fmt.Errorf("its port %d of %d is none that redoubt doctor --from outside writes", i+1, len(o.Ports))
		}
		o.Ports[i].Why = ""
	}
	return &o, nil
}
