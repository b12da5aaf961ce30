package test

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// topRow is what this test wants to know of a row of redoubt top -o json.
type topRow struct {
	ClientID  string  `json:"clientid"`
	Username  string  `json:"username"`
	Network   string  `json:"network"`
	IPAddress string  `json:"ip_address"`
	AtLeast   int     `json:"at_least"`
	Share     float64 `json:"share_at_least"`
	Ban       struct {
		As, Who, Identity string
	} `json:"ban"`
}

// topsOf is the first of each measure, and every name that is in the report.
func topsOf(t *testing.T, b *testkit.Broker) (first map[string]topRow, text string) {
	t.Helper()
	r := b.Redoubt("", "top", "-o", "json", "-n", "100")
	var report struct {
		Lists []struct {
			Measure string
			Rows    []topRow
		}
	}
	if err := json.Unmarshal([]byte(r.Stdout), &report); err != nil || r.Code != 0 {
		t.Fatalf("exit code %d, %v\n%s", r.Code, err, r.Text())
	}
	first = make(map[string]topRow)
	for _, l := range report.Lists {
		if len(l.Rows) > 0 {
			first[l.Measure] = l.Rows[0]
		}
	}
	return first, r.Stdout
}

// TestTopNamesWhoItIs: one loud publisher among quiet ones, a client that connects over and
// over, one that is denied, and a stranger who guesses passwords with the name of a quiet
// client: each is first on his list, the stranger by his network only, and the ban that is
// shown shuts him out.
func TestTopNamesWhoItIs(t *testing.T) {
	t.Parallel()
	b := start(t, testkit.Options{})
	home := newBanned(t, b)
	mqtts := home.doors[0]
	message := func(topic string) []byte {
		return (&mqtt.Publish{Topic: []byte(topic), Payload: []byte("12345678")}).Append(nil, mqtt.V5)
	}
	for i := range 5 {
		w := connect(t, b, mqtt.V5, fmt.Sprint("quiet-", i))
		w.send(message("devices/" + user + "/x"))
	}
	loud := connect(t, b, mqtt.V5, hostileID)
	for range 200 {
		loud.send(message("devices/" + user + "/x"))
	}
	denied := connect(t, b, mqtt.V5, "denied")
	for range 3 {
		denied.send(message("devices/" + other + "/x"))
	}
	for range 8 {
		_ = connect(t, b, mqtt.V5, "again").conn.Close()
	}
	for range 4 {
		w, code := home.come(mqtts, mqtt.V5, "127.77.7.7", "quiet-0", func(c *mqtt.Connect) { c.Password = []byte("a guess") })
		if code != byte(mqtt.BadUserNameOrPassword) {
			t.Fatalf("a guess: CONNACK %#x", code)
		}
		_ = w.conn.Close()
	}
	for range 3 { // without TLS to a port of TLS
		c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.88.8.8")}}).Dial("tcp", b.Addr())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte("hello hello hello"))
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, _ = c.Read(make([]byte, 100))
		_ = c.Close()
	}
	loud.send([]byte{0xc0, 0})
	loud.want(mqtt.PINGRESP)

	var first map[string]topRow
	var text string
	for deadline := time.Now().Add(15 * time.Second); ; { // what is counted comes within a second or two
		first, text = topsOf(t, b)
		if first["messages"].AtLeast >= 200 && first["denied"].AtLeast >= 3 && first["connects"].AtLeast >= 8 && first["refused"].AtLeast >= 3 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("still not there: %s", text)
		}
	}
	if r := first["messages"]; r.ClientID != hostileID || r.Username != user || r.Share < 0.9 || r.Ban.As != "clientid" || r.Ban.Identity == "" {
		t.Errorf("messages: %+v", r)
	}
	if r := first["connects"]; r.ClientID != "again" {
		t.Errorf("connects: %+v", r)
	}
	if r := first["denied"]; r.ClientID != "denied" {
		t.Errorf("denied: %+v", r)
	}
	if r := first["refused"]; r.Network != "127.88.8.0/24" || r.ClientID != "" {
		t.Errorf("refused: %+v", r)
	}
	r := first["logins"]
	if r.Network != "127.77.7.0/24" || r.IPAddress != "127.77.7.7" || r.AtLeast != 4 || r.ClientID+r.Username != "" {
		t.Errorf("logins: %+v", r)
	}
	if shown := b.Redoubt("", "top"); shown.Code != 0 || strings.ContainsFunc(shown.Stdout, func(c rune) bool { return c != '\n' && !unicode.IsPrint(c) }) || !strings.Contains(shown.Stdout, `evil\x1b[2J`) {
		t.Errorf("exit code %d\n%q", shown.Code, shown.Text())
	}
	if by := b.Redoubt("", "top", "logins", "--by", "client"); by.Code != 0 || !strings.Contains(by.Stdout, "nothing: logins") {
		t.Errorf("names of strangers: %s", by.Text())
	}
	if ban := b.Redoubt("", "ban", "add", "--for", "1h", r.Ban.As, r.Ban.Who); ban.Code != 0 || !mqtts.refusedAtDoor("127.77.7.7") {
		t.Errorf("the ban that is shown: %s", ban.Text())
	}
}
