package harden

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/clock"
)

// What answers at a port is told apart, whatever its number says, and an own address is no outside.
func TestWhatAPortAnswers(t *testing.T) {
	t.Parallel()
	f := newFake(t, flaws{})
	tls := f.listen("mqtts", "mqtts", "127.0.0.1:0")
	plain := f.listen("mqtt", "mqtt", "127.0.0.1:0")
	page := httptest.NewServer(http.NotFoundHandler())
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(page.Close)
	t.Cleanup(secure.Close)
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := dead.Addr().String()
	_ = dead.Close()
	e := f.env()
	for _, c := range []struct {
		at, state string
		speaks    []string
		shown     bool
		judged    State
	}{
		{tls.String(), portOpen, []string{speaksTLS}, true, Pass},
		{plain.String(), portOpen, []string{speaksMQTT}, false, Fail},
		{strings.TrimPrefix(page.URL, "http://"), portOpen, []string{speaksHTTP}, false, Fail},
		{strings.TrimPrefix(secure.URL, "https://"), portOpen, []string{speaksTLS}, true, Pass},
		{closed, portClosed, nil, false, Pass},
	} {
		at := netip.MustParseAddrPort(c.at)
		p := OutsidePort{Address: at.Addr(), Port: at.Port(), Network: "tcp"}
		e.tryPort(t.Context(), "localhost", &p)
		if state, _ := p.judge(nil); p.State != c.state || !slices.Equal(p.Speaks, c.speaks) || (p.SPKI != "") != c.shown || state != c.judged {
			t.Errorf("%s: %+v, %s", c.at, p, state)
		}
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	p := OutsidePort{Address: netip.MustParseAddr("127.0.0.1"), Port: 1, Network: "tcp", State: portUntried}
	if e.tryPort(over, "localhost", &p); p.State != portUntried {
		t.Errorf("without time: %+v", p)
	}
	if _, err := LookFromOutside(t.Context(), clock.System{}, "127.0.0.1", "9.9", nil); !errors.Is(err, ErrOwnHost) {
		t.Errorf("%v", err)
	}
	many := make([]uint16, OutsidePortsMax)
	for i := range many {
		many[i] = uint16(20000 + i)
	}
	if _, err := LookFromOutside(t.Context(), clock.System{}, "192.0.2.1", "9.9", many); err == nil || !strings.Contains(err.Error(), "more than 64") {
		t.Errorf("%v", err)
	}
}

// With what somebody outside saw, a listener in plain text on loopback is settled; what is old, of another
// host, or does not name its port settles nothing, and what answers there is a finding.
func TestSeenFromOutside(t *testing.T) {
	t.Parallel()
	f := newFake(t, flaws{})
	tls := f.listen("mqtts", "mqtts", "127.0.0.1:0")
	plain := f.listen("plain", "mqtt", "127.0.0.1:0")
	host := netip.MustParseAddr("192.0.2.1")
	type seen struct {
		outside, plain State
		confidence     Confidence
	}
	for name, c := range map[string]struct {
		change func(e *Env, o *Outside)
		want   seen
		says   string
	}{
		"nothing else answers": {func(*Env, *Outside) {}, seen{Pass, Pass, External}, "none of 3 ports"},
		"it is passed on": {func(_ *Env, o *Outside) { o.Ports[1].State, o.Ports[1].Speaks = portOpen, []string{speaksMQTT} },
			seen{Fail, Fail, Kernel}, "answers in plain text"},
		"it is passed on at another port": {func(_ *Env, o *Outside) { o.Ports[2].State, o.Ports[2].Speaks = portOpen, []string{speaksHTTP} },
			seen{Fail, Fail, Kernel}, "HTTP in plain text"},
		"a dashboard":     {func(_ *Env, o *Outside) { o.Ports[2].State, o.Ports[2].Speaks = portOpen, []string{speaksTLS} }, seen{Fail, Pass, External}, "no business there"},
		"another port":    {func(_ *Env, o *Outside) { o.Ports[2].Port, o.Ports[2].State = 22, portOpen }, seen{Warn, Pass, External}, "no listener of the broker"},
		"yesterday":       {func(_ *Env, o *Outside) { o.Started = o.Started.Add(-25 * time.Hour) }, seen{Unknown, Unknown, Kernel}, "nothing about now"},
		"tomorrow":        {func(_ *Env, o *Outside) { o.Started = o.Started.Add(time.Hour) }, seen{Unknown, Unknown, Kernel}, "nothing about now"},
		"another host":    {func(_ *Env, o *Outside) { o.Ports[0].SPKI = strings.Repeat("0", 64) }, seen{Unknown, Unknown, Kernel}, "another host"},
		"no key at all":   {func(_ *Env, o *Outside) { o.Ports[0].SPKI = "" }, seen{Unknown, Unknown, Kernel}, "another host"},
		"not its port":    {func(_ *Env, o *Outside) { o.Ports[1].Port++ }, seen{Pass, Unknown, Kernel}, "only be seen from another host"},
		"its time is out": {func(_ *Env, o *Outside) { o.Ports[1].State = portUntried }, seen{Unknown, Unknown, Kernel}, "its time ran out"},
		"not everywhere": {func(_ *Env, o *Outside) {
			p := o.Ports[1]
			p.Address, p.State = netip.MustParseAddr("2001:db8::1"), portUntried
			o.Ports = append(o.Ports, p)
		}, seen{Unknown, Unknown, Kernel}, "its time ran out"},
	} {
		t.Run(name, func(t *testing.T) {
			row := f.reach(func(e *Env) {
				at := spot{AddrPort: tls, network: "tcp"}
				shown, err := e.present(t.Context(), at, handshakeAs{name: "localhost"})
				if err != nil {
					t.Fatal(err)
				}
				e.Outside = &Outside{Target: "broker.example", Started: e.Clock.Now(), Ports: []OutsidePort{
					{Address: host, Port: tls.Port(), Network: "tcp", State: portOpen, Speaks: []string{speaksTLS}, SPKI: spkiOf(shown)},
					{Address: host, Port: plain.Port(), Network: "tcp", State: portSilent},
					{Address: host, Port: 18083, Network: "tcp", State: portClosed},
				}}
				c.change(e, e.Outside)
			})
			said := ""
			for i := range row.Results {
				r := &row.Results[i]
				for _, o := range r.Observations {
					said += o.What + ": " + o.Actual + "\n"
				}
				if c.says == "nothing about now" && r.Scope == "outside:broker.example" && !strings.Contains(r.Fix, "doctor --from outside") {
					t.Errorf("no remedy: %q", r.Fix)
				}
				switch {
				case r.Scope == "outside:broker.example" && r.State != c.want.outside,
					r.Key == "listeners.plain" && (r.State != c.want.plain || (r.Confidence == External) != (c.want.plain != Unknown)):
					t.Errorf("%s is %s by %s: %s", r.Scope, r.State, r.Confidence, r.Summary)
				case r.Key == "listeners.mqtts" && (r.State != Pass || (r.Confidence == External) != (c.want.outside != Unknown || strings.Contains(c.says, "time ran out"))):
					t.Errorf("%s is %s by %s: %s", r.Scope, r.State, r.Confidence, r.Summary)
				}
			}
			if !strings.Contains(said, c.says) {
				t.Errorf("nobody says %q\n%s", c.says, said)
			}
		})
	}
}

// A report from outside is read back as it was written; what is none is refused, and told by its exit code.
func TestReportsFromOutside(t *testing.T) {
	o := Outside{Schema: "1", Kind: outsideKind, Target: "x", Started: t0, Ports: []OutsidePort{{Address: netip.MustParseAddr("2001:db8::1"), Port: 8883, Network: "tcp", State: portOpen, Speaks: []string{speaksTLS}, SPKI: strings.Repeat("aa", 32)}}}
	var b, text bytes.Buffer
	if err := errors.Join(o.WriteJSON(&b), o.WriteText(&text)); err != nil || !strings.Contains(text.String(), "2001:db8::1  tcp/8883  open   tls     it answers") {
		t.Fatalf("%v\n%s", err, text.String())
	}
	back, err := ReadOutside(bytes.NewReader(b.Bytes()))
	if err != nil || back.Ports[0].SPKI != o.Ports[0].SPKI || !back.Started.Equal(t0) {
		t.Fatalf("%v, %+v", err, back)
	}
	for name, spoil := range map[string]func(*OutsidePort){
		"a state that passes for none": func(p *OutsidePort) { p.State = "Open" },
		"a zone for a terminal":        func(p *OutsidePort) { p.Address = netip.MustParseAddr("fe80::1").WithZone("\x1b[2J") },
		"a long zone":                  func(p *OutsidePort) { p.Address = netip.MustParseAddr("fe80::1").WithZone(strings.Repeat("z", 16)) },
		"no address":                   func(p *OutsidePort) { p.Address = netip.Addr{} },
		"no port":                      func(p *OutsidePort) { p.Port = 0 },
		"a network":                    func(p *OutsidePort) { p.Network = "TCP" },
		"words":                        func(p *OutsidePort) { p.Speaks = []string{"MQTT"} },
		"a key":                        func(p *OutsidePort) { p.SPKI = "aa" },
	} {
		odd := o
		odd.Ports = slices.Clone(o.Ports)
		spoil(&odd.Ports[0])
		text, err := json.Marshal(odd)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ReadOutside(bytes.NewReader(text)); err == nil || !strings.Contains(err.Error(), "port 1 of 1") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for words, code := range map[string]int{speaksTLS: ExitClean, speaksMQTT: ExitFindings} {
		if o.Ports[0].Speaks = []string{words}; o.ExitCode() != code {
			t.Errorf("%s: exit code %d", words, o.ExitCode())
		}
	}
	o.Ports[0] = OutsidePort{State: portSilent}
	text.Reset()
	if err := o.WriteText(&text); err != nil || o.ExitCode() != ExitUnknown || !strings.Contains(text.String(), "Nothing spoke TLS") || strings.Contains(text.String(), "--outside FILE") {
		t.Errorf("nobody was there: exit code %d, %v\n%s", o.ExitCode(), err, text.String())
	}
	o.Ports = make([]OutsidePort, outsideListMax+1)
	long, _ := json.Marshal(o)
	for want, text := range map[string]string{"no report": "{}", "schema": `{"kind":"` + outsideKind + `","schema":"7"}`, "larger": strings.Repeat(" ", outsideBytesMax+1), "more than": string(long)} {
		if _, err := ReadOutside(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
