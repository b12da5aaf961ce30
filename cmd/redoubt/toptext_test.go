package main

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/limit/top"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/retain"
	"github.com/redoubtmq/redoubt/router"
)

// Names are clients' to choose: what is shown as a command is one that does what it says, and
// what cannot be typed is not shown as one.
func TestTopCommandsAreSafe(t *testing.T) {
	for name, want := range map[string]string{
		"pump-7":          "redoubt ban add --for 1h --identity alice clientid pump-7",
		"-n":              "redoubt ban add --for 1h --identity alice -- clientid -n",
		"x; rm -rf /":     "redoubt ban add --for 1h --identity alice clientid 'x; rm -rf /'",
		"it's":            `redoubt ban add --for 1h --identity alice clientid 'it'\''s'`,
		"$(id)`id`":       "redoubt ban add --for 1h --identity alice clientid '$(id)`id`'",
		"":                "redoubt ban add --for 1h --identity alice clientid ''",
		"\x1b[2J":         "",
		"a\nb":            "",
		"right\u202eleft": "",
	} {
		l := admin.TopList{Measure: "messages", By: "client", Rows: []admin.TopRow{{
			ClientID: name, Identity: "alice", TopFigures: admin.TopFigures{ShareAtLeast: 1, Share: 1}, Ban: &admin.TopBan{As: "clientid", Who: name, Identity: "alice"}}}}
		list, nameless := topCommands([]*admin.TopList{&l}, true)
		got := ""
		if len(list) > 0 {
			got = list[0].ban
		}
		if got != want || (nameless > 0) != (want == "") {
			t.Errorf("%q: %s, %d nameless; want %s", name, got, nameless, want)
		}
	}
}

// Above the commands for one measure stands who they are for: a name that is a command itself
// is not one there.
func TestTopHeadingsAreNoCommands(t *testing.T) {
	const trap = "  redoubt ban add peerhost 192.0.2.1"
	r := admin.TopReport{WindowSeconds: 42, Lists: []admin.TopList{{Measure: "messages", By: "client", PerSecond: 9, Rows: []admin.TopRow{{
		ClientID: trap, Identity: "alice", TopFigures: admin.TopFigures{ShareAtLeast: 1, Share: 1}, Ban: &admin.TopBan{As: "clientid", Who: trap, Identity: "alice"}}}}}}
	var b bytes.Buffer
	if err := printTop(&b, &r, &admin.TopQuery{Measure: "messages"}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "\n"+trap) || !strings.Contains(b.String(), "\n'"+trap+"'\n") {
		t.Errorf("%s", &b)
	}
}

// Of a network nearly all of which is one address the commands are about that one; neighbours
// of his may be anybody.
func TestTopOneOfANetwork(t *testing.T) {
	row := admin.TopRow{Network: "192.0.2.0/24", IPAddress: "192.0.2.7", Several: true, FromIP: 90, Listener: "mqtts", TopFigures: admin.TopFigures{AtLeast: 100, AtMost: 100}}
	l := admin.TopList{Measure: "logins", By: "network"}
	for from, want := range map[uint64]string{90: "192.0.2.7 and others", 10: "192.0.2.0/24"} {
		row.FromIP = from
		address, _, _ := strings.Cut(want, " ")
		if cells, look := topCells(&l, &row), lookCommand(l.By, &row); cells[6] != want || look != "redoubt clients list --address "+address {
			t.Errorf("%d of 100: %q, %s", from, cells[6], look)
		}
	}
}

// What is printed is what somebody on call reads.
func TestTopText(t *testing.T) {
	loud := admin.TopRow{ClientID: "lo\x1bud", Username: "alice", Identity: "alice", IPAddress: "192.0.2.7", Listener: "mqtts",
		TopFigures: admin.TopFigures{PerSecondAtLeast: 1400, PerSecond: 1500.4, ShareAtLeast: 0.93, Share: 0.999}, Ban: &admin.TopBan{As: "clientid", Who: "lo\x1bud", Identity: "alice"}}
	r := admin.TopReport{WindowSeconds: 42.4, Lists: []admin.TopList{
		{Measure: "messages", By: "client", PerSecond: 1502, Rows: []admin.TopRow{loud}},
		{Measure: "bytes", By: "client"},
		{Measure: "logins", By: "network", PerSecond: 0.5, Rows: []admin.TopRow{{Network: "198.51.100.0/24", IPAddress: "198.51.100.3", Several: true, FromIP: 3, Listener: "mqtts",
			TopFigures: admin.TopFigures{AtLeast: 20, AtMost: 20, PerSecondAtLeast: 0.5, PerSecond: 0.5, ShareAtLeast: 1, Share: 1}, Ban: &admin.TopBan{As: "peerhost_net", Who: "198.51.100.0/24"}}}},
	}}
	var b bytes.Buffer
	if err := printTop(&b, &r, &admin.TopQuery{}); err != nil {
		t.Fatal(err)
	}
	if want := `each second, over the last 42 s
MEASURE   OF ALL  EACH SECOND  SHARE    CLIENT     USER   ADDRESS          LISTENER
messages  1,502   1,400-1,500  93-99 %  lo\x1bud   alice  192.0.2.7        mqtts
logins    0.50    0.50         100 %    -          -      198.51.100.0/24  mqtts
nothing: bytes

logins
  redoubt clients list --address 198.51.100.0/24
  redoubt ban add --for 1h peerhost_net 198.51.100.0/24

1 of these have a name that no shell takes, or one that is not whole here; try --by user and --by network
`; strings.ReplaceAll(b.String(), " ", "") != strings.ReplaceAll(want, " ", "") {
		t.Errorf("got\n%s\nwant\n%s", &b, want)
	}
}

// An alarm names who does most as far as somebody stands out, and only who has proved a name.
func TestLoudestIsNamedInAlarms(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	reg := metrics.New()
	b := broker.New(broker.Options{Homes: 1, Settings: &broker.Settings{}, Index: router.New(), Retained: retain.New(retain.Options{}),
		Authorizer: &auth.Authorizer{}, Log: audit.New(slog.New(slog.DiscardHandler), reg.NewShard())})
	n := &node{broker: b, clock: clock.NewManual(now)}
	const rest = "; redoubt top says more"
	if got := n.loudest(top.AnyLoop, top.Packets, top.Refused); got != rest {
		t.Errorf("nobody: %q", got)
	}
	addr := netip.MustParseAddr("192.0.2.7")
	room := b.Top().Room()
	for i := range 100 {
		room.Add(now, &top.Client{Identity: "crowd", ClientID: string(rune('a' + i%5))}, addr, "mqtts", &top.Counts{Messages: 1000})
	}
	room.Add(now, &top.Client{Identity: "alice", Username: "alice", ClientID: "pump\n7" + strings.Repeat("x", 100)}, addr, "mqtts", &top.Counts{Packets: 9000})
	for range 9 {
		b.Top().Stranger(now, addr, "mqtts", top.Logins) // less than ten a second
	}
	for range 5000 {
		b.Top().Stranger(now, addr, "mqtts", top.Refused)
	}
	room.Add(now, &top.Client{Identity: "by its client id", ClientID: "x"}, netip.Addr{}, "local", &top.Counts{Denied: 3000})
	for range 3000 {
		b.Top().Stranger(now, netip.Addr{}, "local", top.Logins)
	}
	if got, want := n.loudest(top.AnyLoop, top.Denied, top.Logins), `; most denied: client "x" of "by its client id", 100 a second, 100 % of all; most logins: whoever uses unix socket local, 100 a second, 99 % of all`+rest; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	got := n.loudest(top.AnyLoop, top.Packets, top.Messages, top.Refused)
	want := `; most packets: client "pump\n7` + strings.Repeat("x", 58) + `..." of "alice", 300 a second, 100 % of all; most refused: network 192.0.2.0/24, 167 a second, 100 % of all` + rest
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	// Who is on another loop is no cause of a lag of this one, however much he does.
	b.Top().RoomOf(1).Add(now, &top.Client{Identity: "bob", ClientID: "b"}, addr, "mqtts", &top.Counts{Packets: 600})
	if got, want := n.loudest(1, top.Packets), `; most packets on loop 1: client "b" of "bob", 20 a second, 100 % of all on loop 1`+rest; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got := n.loudest(2, top.Packets); got != rest {
		t.Errorf("a loop where nobody is: %q", got)
	}
}
