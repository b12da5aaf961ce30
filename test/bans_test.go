package test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// banned is a broker with two doors, for bans.
type banned struct {
	t     *testing.T
	b     *testkit.Broker
	doors []door
}

func newBanned(t *testing.T, b *testkit.Broker) *banned {
	web := trust(t, b)
	web.NextProtos = []string{"http/1.1"}
	return &banned{t, b, []door{{name: "mqtts", port: b.Port, tls: trust(t, b)}, {name: "wss", port: b.WebSocket, tls: web, web: true}}}
}

// come connects other from an address, and answers what CONNACK says.
func (b *banned) come(d door, v mqtt.Version, from, clientID string, change ...func(*mqtt.Connect)) (*wire, byte) {
	b.t.Helper()
	conn, err := d.dial(net.ParseIP(from))
	if err != nil {
		b.t.Fatalf("%s: %v\n%s", d.name, err, b.b.Log())
	}
	b.t.Cleanup(func() { _ = conn.Close() })
	w := &wire{t: b.t, conn: conn, in: newReader(conn), v: v}
	w.send(connectOf(v, clientID, func(c *mqtt.Connect) {
		for _, ch := range change {
			ch(c)
		}
	}))
	return w, w.want(mqtt.CONNACK).Body[1]
}

func (b *banned) told(what string, d door, v mqtt.Version, from, clientID string, want byte, change ...func(*mqtt.Connect)) {
	b.t.Helper()
	if w, code := b.come(d, v, from, clientID, change...); code != want {
		b.t.Errorf("%s at %s: CONNACK %#x, want %#x", what, d.name, code, want)
	} else {
		_ = w.conn.Close()
	}
}

// out fails unless the connection is closed in two seconds.
func (b *banned) out(what string, w *wire, since time.Time) {
	b.t.Helper()
	if w.v == mqtt.V5 {
		w.wantDisconnect(mqtt.AdministrativeAction)
	} else {
		w.wantClosed()
	}
	if took := time.Since(since); took > 10*time.Second {
		b.t.Errorf("%s: closed after %v", what, took)
	}
}

func (b *banned) stays(what string, w *wire) {
	b.t.Helper()
	w.send([]byte{0xc0, 0})
	if p, err := w.next(); err != nil || p.Type != mqtt.PINGRESP {
		b.t.Errorf("%s is out: %v %v\n%s", what, p.Type, err, b.b.Log())
	}
}

// refusedAtDoor tells whether a connection from there ends before a handshake.
func (d door) refusedAtDoor(from string) bool {
	conn, err := d.socket(net.ParseIP(from))
	if err == nil {
		_ = conn.Close()
	}
	return err != nil
}

const (
	wrongPassword = 0x86
	bannedV5      = 0x8a
	bannedV3      = 5
	here          = "127.90.1.1"
	elsewhere     = "127.91.1.1"
)

func asVictim(c *mqtt.Connect) { c.Username, c.Password = user, []byte(password) }

// stranger has a secret of the right form, which costs less to refuse.
func asStranger(c *mqtt.Connect) { c.Password = []byte(oldSecret) }

// TestBans (A126, S-02): a ban closes live clients at once on every listener and publishes
// no will; they come back no more, also after a kill; others notice nothing.
func TestBans(t *testing.T) {
	t.Parallel()
	b := newBanned(t, start(t, testkit.Options{WebSocket: true}))
	watch, _ := b.come(b.doors[0], mqtt.V5, elsewhere, "watch")
	watch.send((&mqtt.Subscribe{PacketID: 1, Filters: []mqtt.Subscription{{Filter: "devices/" + other + "/#", QoS: 1}}}).Append(nil, mqtt.V5, 0))
	watch.want(mqtt.SUBACK)
	last := func(delay uint32) func(*mqtt.Connect) {
		return func(c *mqtt.Connect) {
			c.Will = &mqtt.Will{Topic: "devices/" + other + "/will", Payload: []byte(c.ClientID), DelaySeconds: delay}
		}
	}
	var loud []*wire
	for i, d := range b.doors {
		for _, v := range []mqtt.Version{mqtt.V5, mqtt.V311} {
			w, code := b.come(d, v, here, fmt.Sprintf("loud-%d-%v", i, v), last(0))
			if code != 0 {
				t.Fatalf("%s: %#x", d.name, code)
			}
			loud = append(loud, w)
		}
	}
	w, _ := b.come(b.doors[1], mqtt.V5, here, "loud-away", last(30), func(c *mqtt.Connect) { c.SessionExpiry = 60 })
	_ = w.conn.Close()
	must(t, b.b, "ban", "add", "clientid", "spare", "--for", "1h", "--reason", "lost")
	began := time.Now()
	if out := must(t, b.b, "ban", "add", "clientid_re", "^loud-", "--reason", "too loud"); out != "clientid_re ^loud- is banned until it is deleted\n" {
		t.Errorf("said %q", out)
	}
	for i, w := range loud {
		b.out(fmt.Sprint("client ", i), w, began)
	}
	for _, d := range b.doors {
		b.told("a banned client", d, mqtt.V5, elsewhere, "loud-0", bannedV5)
		b.told("a banned client", d, mqtt.V311, elsewhere, "loud-0", bannedV3)
		b.told("who only knows the name", d, mqtt.V5, here, "loud-0", wrongPassword, asStranger)
		b.told("another client", d, mqtt.V5, here, "quiet", 0)
	}
	watch.send((&mqtt.Publish{Topic: []byte("devices/" + other + "/mark")}).Append(nil, mqtt.V5))
	if p := watch.want(mqtt.PUBLISH); !strings.Contains(string(p.Body), "/mark") {
		t.Errorf("a will was published: %q", p.Body)
	}
	if log := b.b.Log(); !strings.Contains(log, `"msg":"ban made by an operator","peer_uid":`) || !strings.Contains(log, "too loud") || !strings.Contains(log, "client closed by a ban") {
		t.Errorf("the log does not say who and why\n%s", log)
	}

	refused(t, b.b, "it is this machine's own address", "ban", "add", "peerhost", "127.0.0.1")
	refused(t, b.b, "it is every address", "ban", "add", "peerhost_net", "0.0.0.0/0")
	near, _ := b.come(b.doors[1], mqtt.V5, here, "near")
	began = time.Now()
	must(t, b.b, "ban", "add", "peerhost_net", "127.90.0.0/16")
	b.out("a client there", near, began)
	for _, d := range b.doors {
		if !d.refusedAtDoor(here) {
			t.Errorf("%s: a handshake with a banned address", d.name)
		}
	}
	b.stays("a client elsewhere", watch)
	if s := pageOf(t, b.b); s[`redoubt_connections_refused_total{reason="banned"}`] < 2 || s[`redoubt_bans_closed_total`] != 5 || s[`redoubt_bans_silenced_total`] != 5 || s[`redoubt_bans{source="operator"}`] != 3 ||
		s[`redoubt_bans_refused_total{kind="clientid_re"}`] != 4 {
		t.Errorf("counted: %v", s)
	}

	file := filepath.Join(testkit.TempDir(t), "bans.csv")
	testkit.WriteFile(t, file, "as,who\nusername,"+user+"\n")
	b.b.Signal(killed)
	b.b.Wait(patience)
	b = newBanned(t, testkit.Start(t, testkit.Options{DataDir: b.b.DataDir, WebSocket: true, Config: "bans: {file: " + file + "}\n"}))
	b.told("after a kill: a banned client", b.doors[1], mqtt.V5, elsewhere, "loud-0", bannedV5)
	if !b.doors[0].refusedAtDoor(here) {
		t.Error("after a kill a banned address is let in")
	}
	b.told("who is in the file", b.doors[0], mqtt.V5, elsewhere, "x", bannedV5, asVictim)
	refused(t, b.b, "belongs to the bans file", "ban", "delete", "username", user)
	testkit.WriteFile(t, file, "as,who\nusername,"+user+"\nclient,x\n")
	refused(t, b.b, file+`:3: "client" is no kind of ban`, "reload")
	b.told("a file that is refused", b.doors[0], mqtt.V5, elsewhere, "x", bannedV5, asVictim)
	live, _ := b.come(b.doors[1], mqtt.V5, elsewhere, "filed")
	testkit.WriteFile(t, file, "as,who\nclientid,filed\n")
	began = time.Now()
	must(t, b.b, "reload")
	b.out("who has come into the file", live, began)
	b.told("who has left the file", b.doors[0], mqtt.V5, elsewhere, "x", 0, asVictim)
	b.exchange()
}

// exchange: what is exported is imported as the same, all or nothing.
func (b *banned) exchange() {
	t := b.t
	if list := rowsOf(t, b.b, "who", "ban", "list"); len(list) != 4 || list["^loud-"] != 1 || list["filed"] != 1 {
		t.Errorf("listed: %v", list)
	}
	if out := must(t, b.b, "ban", "list", "--kind", "clientid", "--who", "spa"); !strings.Contains(out, "spare") || !strings.Contains(out, fmt.Sprintf("uid %d", os.Getuid())) || strings.Count(out, "\n") != 2 {
		t.Errorf("listed:\n%s", out)
	}
	exported := must(t, b.b, "ban", "export")
	must(t, b.b, "ban", "delete", "clientid_re", "^loud-")
	b.told("a ban that was deleted", b.doors[0], mqtt.V5, elsewhere, "loud-0", 0)
	file := filepath.Join(testkit.TempDir(t), "bans.csv")
	testkit.WriteFile(t, file, strings.Replace(exported, "127.90.0.0/16", "127.90.0.1/16", 1))
	refused(t, b.b, file+":3: ", "ban", "import", file)
	b.told("an import that was refused", b.doors[0], mqtt.V5, elsewhere, "loud-0", 0)
	testkit.WriteFile(t, file, exported)
	if out := must(t, b.b, "ban", "import", file); out != "3 bans imported, of which 2 replace another; 0 rows were over\n" {
		t.Errorf("said %q", out)
	}
	b.told("an imported ban", b.doors[0], mqtt.V5, elsewhere, "loud-0", bannedV5)
	if again := must(t, b.b, "ban", "export"); again != exported {
		t.Errorf("exported\n%s\nand after an import\n%s", exported, again)
	}
	if out := must(t, b.b, "ban", "add", "clientid", "spare"); !strings.Contains(out, "was banned already; the new ban replaces the old one") {
		t.Errorf("said %q", out)
	}
	refused(t, b.b, "there is no such ban", "ban", "delete", "clientid", "nobody")
	if r := b.b.Redoubt("", "ban", "add", "client", "x"); r.Code != 2 {
		t.Errorf("%s", r.Text())
	}
}

// TestFlappingBans (A058): who connects over and over is banned, and nobody else is, whatever
// he calls himself, wherever he is.
func TestFlappingBans(t *testing.T) {
	t.Parallel()
	b := newBanned(t, start(t, testkit.Options{WebSocket: true, Config: "flapping: {connects: 3, window: 1m, ban: 1h}\n"}))
	d := b.doors[0]
	victim, _ := b.come(d, mqtt.V5, here, "pump", asVictim)
	for range 5 { // behind the same address, without credentials
		b.told("a stranger", d, mqtt.V5, here, "pump", wrongPassword, asVictim, asStranger)
	}
	for i := range 5 { // and with its own
		want := byte(0)
		if i >= 3 {
			want = bannedV5
		}
		b.told("an attacker who flaps", b.doors[i%2], mqtt.V5, here, "pump", want)
	}
	b.told("the attacker from elsewhere", d, mqtt.V5, elsewhere, "pump", 0)
	b.told("another client of it", d, mqtt.V5, here, "valve", 0)
	b.stays("the victim", victim)
	b.told("the victim", d, mqtt.V5, here, "pump", 0, asVictim)

	if list := rowsOf(t, b.b, "network", "ban", "list", "--by", "flapping"); len(list) != 1 || list["127.90.1.0/24"] != 1 {
		t.Errorf("listed: %v", list)
	}
	if log := b.b.Log(); strings.Count(log, "client banned for flapping") != 1 || !strings.Contains(log, "more than 3 connects in 1m0s") {
		t.Errorf("the log does not say it once\n%s", log)
	}
	if _, ok := b.b.Stderr.WaitFor(patience, 0, `"alarm":"flapping"`); !ok {
		t.Error("there is no alarm")
	}
	must(t, b.b, "ban", "delete", "clientid", "pump")
	b.told("after the ban was deleted", d, mqtt.V5, here, "pump", 0)
}
