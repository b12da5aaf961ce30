package test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// attack is one row of the list, tried at every door.
type attack struct {
	id    string
	first bool         // before CONNECT
	v     mqtt.Version // 0: both
	times int          // at the plain door; a quarter of it behind TLS
	hex   []string     // each is sent that often
	make  func() [][]byte
	ends  []string // reasons in redoubt_connections_closed_total that count it
}

// What a refused packet is counted as.
var (
	malformed = []string{"malformed_packet"}
	protocol  = []string{"protocol_error"}
	tooLarge  = []string{"packet_too_large"}
	asRefused = []string{"malformed_packet", "protocol_error", "packet_too_large", "connect_refused"}
)

// attacks are the rows in which bytes are sent and the connection must end, with
// no answer but a refusal. Numbers the list asks for are scaled down so that all of
// it fits in a minute on two cores; the factor is in the page of the docs.
var attacks = []attack{
	{id: "A001 CONNECT of 256 MiB", first: true, times: 200, ends: tooLarge, hex: []string{"10 ff ff ff 7f"}},
	{id: "A002 another first packet of 256 MiB", first: true, times: 60, ends: protocol, hex: []string{"30 ff ff ff 7f", "82 ff ff ff 7f", "f0 ff ff ff 7f"}},
	{id: "A005 UNSUBACK of 256 MiB", first: true, times: 200, ends: asRefused, hex: []string{"80 ff ff ff 7f"}},
	{id: "A006 every malformed CONNECT we know", first: true, times: 2, ends: asRefused, make: func() [][]byte { return refusedVectors("connect", "none") }},
	{id: "A007 inner lengths beyond CONNECT", first: true, times: 20, ends: asRefused, hex: []string{
		"10 0c 00 04 4d 51 54 54 05 02 00 3c ff ff", "10 0f 00 04 4d 51 54 54 05 02 00 3c 00 ff ff 61 61",
		"10 11 00 04 4d 51 54 54 05 06 00 3c 00 00 00 00 ff ff 61", "10 0d ff ff 4d 51 54 54 05 02 00 3c 00 00 00",
		"10 10 00 04 4d 51 54 54 04 c2 00 3c 00 01 61 ff ff 61"}},
	{id: "A007 inner lengths beyond other packets", v: mqtt.V5, times: 4, ends: malformed, hex: []string{
		"30 05 ff ff 61 00 00", "82 06 00 01 00 ff ff 61", "a2 06 00 01 00 ff ff 61", "30 08 00 01 61 03 03 ff ff 61", "40 07 00 01 00 03 1f ff ff"}},
	{id: "A009 a packet behind a fifth length byte, first", first: true, times: 40, ends: asRefused, make: hiddenFirst},
	{id: "A009 a packet behind a fifth length byte", times: 8, ends: malformed, make: hidden},
	{id: "A010 property length of five bytes in CONNECT", first: true, times: 40, ends: asRefused, hex: []string{"10 10 00 04 4d 51 54 54 05 02 00 3c ff ff ff ff 01 00"}},
	{id: "A010 property length of five bytes", v: mqtt.V5, times: 4, ends: malformed, hex: []string{
		"30 09 00 01 61 ff ff ff ff 01 00", "82 0a 00 01 ff ff ff ff 01 00 01 61", "a2 0a 00 01 ff ff ff ff 01 00 01 61", "f0 07 18 ff ff ff ff 01 00", "e0 06 00 ff ff ff ff 01"}},
	{id: "A013 empty topic", v: mqtt.V5, times: 8, ends: protocol, hex: []string{"30 03 00 00 00", "30 06 00 00 03 23 00 07"}},
	{id: "A013 empty topic in 3.1.1", v: mqtt.V311, times: 8, ends: asRefused, hex: []string{"30 02 00 00"}},
	{id: "A014 what only servers send", times: 4, ends: asRefused, hex: []string{"20 02 00 00", "20 03 00 00 00", "90 03 00 01 00", "b0 02 00 01", "d0 00"}},
	{id: "A015 reserved types, first", first: true, times: 60, ends: asRefused, hex: []string{"00 00", "f0 00"}},
	{id: "A015 reserved types", v: mqtt.V311, times: 8, ends: asRefused, hex: []string{"00 00", "f0 00"}},
	{id: "A017 duplicate and misplaced properties", first: true, times: 100, ends: asRefused, hex: []string{
		"10 17 00 04 4d 51 54 54 05 02 00 3c 0a 11 00 00 00 01 11 00 00 00 01 00 00",
		"10 10 00 04 4d 51 54 54 05 02 00 3c 03 23 00 01 00 00", "10 12 00 04 4d 51 54 54 05 02 00 3c 05 02 00 00 00 01 00 00"}},
	{id: "A018 a will with properties of others", first: true, times: 100, ends: asRefused, make: wills},
	{id: "A019 200 KiB of user properties", first: true, times: 40, ends: tooLarge, make: userProperties(200 << 10)},
	{id: "A019 16 KiB of user properties", first: true, times: 40, ends: asRefused, make: userProperties(16000)},
	{id: "A022 filter without options, or past the end", v: mqtt.V5, times: 8, ends: malformed, hex: []string{"82 06 00 01 00 00 01 61", "82 06 00 01 00 ff ff 61"}},
	{id: "A022 every malformed SUBSCRIBE we know", v: mqtt.V5, times: 1, ends: asRefused, make: func() [][]byte { return refusedVectors("subscribe", "5.0") }},
	{id: "A023 QoS 3, lengths 0 and 1", times: 4, ends: asRefused, hex: []string{"36 00", "36 01 00", "30 00", "30 01 00", "36 06 00 01 61 00 01 00"}},
	{id: "A023 every malformed PUBLISH we know", v: mqtt.V5, times: 1, ends: append([]string{"not_authorized"}, asRefused...), make: func() [][]byte { return refusedVectors("publish", "5.0") }},
	{id: "A027 malformed after valid properties", v: mqtt.V5, times: 50, ends: malformed, hex: []string{
		"30 13 00 01 61 0a 26 00 01 6b 00 01 76 03 00 01 63 ff 00 00 00", "82 0f 00 01 07 26 00 01 6b 00 01 76 ff ff 61 00 00", "a2 0f 00 01 07 26 00 01 6b 00 01 76 ff ff 61 00 00"}},
	{id: "A025 a second CONNECT", times: 8, ends: protocol, hex: []string{"10 0d 00 04 4d 51 54 54 05 02 00 3c 00 00 00"}},
}

// TestAttackRows tries them one after the other, at each door. The race detector sees
// each once, at one door after the other: it takes the same packets many times as long.
func TestAttackRows(t *testing.T) {
	t.Parallel()
	s, watched := besiege(t, testkit.Options{Repeats: true}), besiege(t, testkit.Options{})
	defer s.report(t)
	for row, a := range attacks {
		packets := a.packets(t)
		for _, d := range s.doors {
			t.Run(a.id+" "+d.name, func(t *testing.T) { s.try(t, row, a, d, packets) })
		}
		a.times = 1
		d := watched.doors[row%len(watched.doors)]
		t.Run(a.id+" watched "+d.name, func(t *testing.T) { watched.try(t, row, a, d, packets) })
	}
}

func (a *attack) packets(t *testing.T) (packets [][]byte) {
	t.Helper()
	if a.make != nil {
		packets = a.make()
	}
	for _, h := range a.hex {
		packets = append(packets, bytesOf(t, h))
	}
	if len(packets) == 0 {
		t.Fatalf("%s sends nothing", a.id)
	}
	return packets
}

// try sends every packet a.times over, eight connections at a time.
func (s *siege) try(t *testing.T, row int, a attack, d door, packets [][]byte) {
	times := a.times
	if d.tls != nil {
		times = max(1, times/8)
	}
	m := s.mark(t)
	versions := []mqtt.Version{a.v}
	if a.v == 0 && !a.first {
		versions = []mqtt.Version{mqtt.V311, mqtt.V5}
	}
	type job struct {
		packet []byte
		v      mqtt.Version
		n      int
	}
	jobs := make(chan job)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed []error
	total, spread := 0, 1
	if times*len(packets) > 400 { // the door lets 500 a second in from one /24
		spread = 8
	}
	for worker := range 8 {
		wg.Go(func() {
			for j := range jobs {
				if err := s.hit(a, d, j.v, source(row, d, j.n%spread), fmt.Sprintf("attacker-%d", worker), j.packet); err != nil {
					mu.Lock()
					failed = append(failed, fmt.Errorf("%v % x: %w", j.v, j.packet[:min(len(j.packet), 24)], err))
					mu.Unlock()
				}
			}
		})
	}
	for range times {
		for _, p := range packets {
			for _, v := range versions {
				jobs <- job{p, v, total}
				total++
			}
		}
	}
	close(jobs)
	wg.Wait()
	for i, err := range failed {
		if i < 3 {
			t.Error(err)
		}
	}
	said := []string{"closed"}
	if a.first {
		said = []string{"CONNECT refused"}
	}
	s.survived(t, m, a.id+" "+d.name, total, closedFor(a.ends...), said, source(row, d, 0))
}

// hit is one attempt; an error says that it was not refused.
func (s *siege) hit(a attack, d door, v mqtt.Version, from net.IP, clientID string, packet []byte) error {
	conn, err := d.dial(from)
	if err != nil {
		return err
	}
	defer conn.Close()
	w := &wire{conn: conn, in: newReader(conn), v: v}
	if a.first {
		w.v = mqtt.V5
	} else {
		if _, err := conn.Write(connectOf(v, clientID, func(*mqtt.Connect) {})); err != nil {
			return err
		}
		if p, err := w.next(); err != nil || p.Type != mqtt.CONNACK || p.Body[1] != 0 {
			return fmt.Errorf("not let in: %v % x %w", p.Type, p.Body, err)
		}
	}
	if _, err := conn.Write(packet); err != nil && len(packet) < 16<<10 {
		return err
	}
	for {
		p, err := w.next()
		switch {
		case errors.Is(err, errClosed):
			return nil
		case err != nil:
			return fmt.Errorf("not closed: %w", err)
		case p.Type == mqtt.DISCONNECT && v == mqtt.V5 && !a.first:
		case p.Type == mqtt.CONNACK && len(p.Body) >= 2 && p.Body[1] != 0 && a.first:
		default:
			return fmt.Errorf("answered with %v % x", p.Type, p.Body)
		}
	}
}

// refusedVectors are the packets of a client that package mqtt's own table says
// are refused.
func refusedVectors(file, version string) (packets [][]byte) {
	text, err := os.ReadFile(filepath.Join("..", "mqtt", "testdata", file+".txt"))
	if err != nil {
		panic(err)
	}
	for _, block := range strings.Split(string(text), "\n\n") {
		head, out, _ := strings.Cut(block, "\n----")
		if !strings.Contains(head, "version "+version+"\n") || !strings.Contains(head, "from client") || !strings.Contains(out, "refused") {
			continue
		}
		if strings.Contains(out, "too many") { // of more than that file's own small limits
			continue
		}
		var packet []byte
		for line := range strings.Lines(head) {
			if h, ok := strings.CutPrefix(strings.TrimSpace(line), "hex "); ok {
				var b []byte
				if _, err := fmt.Sscanf(strings.ReplaceAll(h, " ", ""), "%x", &b); err != nil {
					panic(err)
				}
				packet = append(packet, b...)
			}
		}
		packets = append(packets, packet)
	}
	return packets
}

// hiddenPublish goes to the bystander's own topic, where he would not miss it.
func hiddenPublish() []byte {
	return (&mqtt.Publish{Topic: []byte("devices/" + user + "/steady"), Payload: []byte("hidden")}).Append(nil, mqtt.V311)
}

// hidden is a length that never ends in front of a packet that is whole.
func hidden() [][]byte {
	return [][]byte{append([]byte("\x30\xff\xff\xff\xff\x01"), hiddenPublish()...), append([]byte("\x30\xff\xff\xff\xff\x7f"), hiddenPublish()...)}
}

// hiddenFirst has a CONNECT of the bystander's own user behind it.
func hiddenFirst() [][]byte {
	connect := connectOf(mqtt.V311, "hidden", func(c *mqtt.Connect) { c.Username, c.Password = user, []byte(password) })
	connect = append(connect, hiddenPublish()...)
	return [][]byte{append([]byte("\x10\xff\xff\xff\xff\x01"), connect...), append([]byte("\x10\xff\xff\xff\xff\x7f"), connect...)}
}

// wills are CONNECTs whose will has a Topic Alias, a Subscription Identifier, a
// Receive Maximum or a session's own expiry.
func wills() (packets [][]byte) {
	for _, property := range []string{"\x23\x00\x01", "\x0b\x05", "\x21\x00\x05", "\x11\x00\x00\x00\x05"} {
		body := "\x00\x04MQTT\x05\x06\x00\x3c\x00\x00\x01w" + string(rune(len(property))) + property + "\x00\x01t\x00\x01p"
		packets = append(packets, append([]byte{0x10, byte(len(body))}, body...))
	}
	return packets
}

// userProperties is a CONNECT with that many bytes of the smallest ones.
func userProperties(size int) func() [][]byte {
	return func() [][]byte {
		c := &mqtt.Connect{Version: mqtt.V5, ClientID: "many", CleanStart: true, ReceiveMaximum: 65535, RequestProblemInformation: true}
		c.UserProperties = make([]mqtt.UserProperty, size/5)
		return [][]byte{c.Append(nil, mqtt.V5, 0)}
	}
}

// TestControlPoints: U+0001, U+FFFF and U+FDD0 in a topic pass unchanged, which is
// the choice the page of the specification documents (A021).
func TestControlPoints(t *testing.T) {
	t.Parallel()
	s := besiege(t, testkit.Options{})
	for row, d := range s.doors {
		m := s.mark(t)
		w := s.enter(t, d, mqtt.V5, source(row, d, 0), "points")
		w.subscribe("devices/"+other+"/#", 1)
		for _, point := range []string{"\u0001", "\uffff", "\ufdd0", "\u200b", "\U0001ffff"} {
			topic := []byte("devices/" + other + "/" + point)
			w.send((&mqtt.Publish{Topic: topic, Payload: []byte(point)}).Append(nil, mqtt.V5))
			if p := w.want(mqtt.PUBLISH); !bytes.Contains(p.Body, topic) {
				t.Errorf("%s: %U came as %q", d.name, []rune(point), p.Body)
			}
		}
		_ = w.conn.Close()
		s.survived(t, m, "A021 control characters "+d.name, 0, nil, nil)
	}
}
