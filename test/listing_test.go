package test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// hostileID is a client identifier that clears a terminal, turns lines around and
// forges a line of a log.
const hostileID = "evil\x1b[2J\r\nadmin \u202e<img src=x onerror=alert(1)>"

// keepSession connects with a session that outlives the connection.
func keepSession(t *testing.T, b *testkit.Broker, name, pass, clientID string, will *mqtt.Will) *wire {
	t.Helper()
	w := dial(t, b, trust(t, b), mqtt.V5)
	w.send((&mqtt.Connect{Version: mqtt.V5, ClientID: clientID, KeepAlive: 60, HasUsername: true, Username: name, HasPassword: true, Password: []byte(pass),
		ReceiveMaximum: 65535, SessionExpiry: 3600, Will: will}).Append(nil, mqtt.V5, 0))
	w.want(mqtt.CONNACK)
	return w
}

// rowsOf is the list a command prints as JSON, by one field.
func rowsOf(t *testing.T, b *testkit.Broker, field string, words ...string) map[string]int {
	t.Helper()
	r := b.Redoubt("", append(words, "-o", "json")...)
	var list struct {
		Data []map[string]any `json:"data"`
	}
	if err := json.Unmarshal([]byte(r.Stdout), &list); err != nil || r.Code != 0 {
		t.Fatalf("%v: exit code %d, %v\n%s", words, r.Code, err, r.Text())
	}
	out := map[string]int{}
	for _, row := range list.Data {
		out[fmt.Sprint(row[field])]++
	}
	return out
}

// TestListsOfHundreds: an operator sees every client, session and subscription
// once, whatever they call themselves, in a table and as JSON.
func TestListsOfHundreds(t *testing.T) {
	t.Parallel()
	const many = 300
	b := start(t, testkit.Options{})
	for i := range many {
		w := connect(t, b, mqtt.V5, fmt.Sprint("list-", i))
		w.send((&mqtt.Subscribe{PacketID: 1, Filters: []mqtt.Subscription{{Filter: fmt.Sprintf("devices/%s/%d", user, i), QoS: 1}}}).Append(nil, mqtt.V5, 0))
		w.want(mqtt.SUBACK)
	}
	connect(t, b, mqtt.V311, hostileID)
	_ = keepSession(t, b, other, otherPassword, "list-1", nil).conn.Close()

	clients := rowsOf(t, b, "clientid", "clients", "list", "--user", user)
	if len(clients) != many+1 || clients[hostileID] != 1 || clients["list-299"] != 1 {
		t.Errorf("%d clients are listed", len(clients))
	}
	for _, c := range []struct {
		want  int
		words string
	}{
		{many + 1, "clients list --address 127.0.0.0/8 --listener mqtts --user " + user}, {0, "clients list --listener wss"}, {111, "clients list --client list-1* --user " + user},
		{1, "clients list --client list-7"}, {many, "subs list"}, {1, "subs list --match devices/dev1/42"}, {1, "subs list --filter devices/dev1/42"}, {111, "subs list --client list-1*"},
	} {
		field := "clientid"
		if n := len(rowsOf(t, b, field, strings.Fields(c.words)...)); n != c.want {
			t.Errorf("%s: %d rows, want %d", c.words, n, c.want)
		}
	}
	r := b.Redoubt("", "clients", "list", "--user", user)
	if lines := strings.Count(r.Stdout, "\n"); lines != many+2 || r.Code != 0 {
		t.Errorf("a table of %d lines\n%.2000s", lines, r.Text())
	}
	if i := strings.IndexFunc(r.Stdout, func(c rune) bool { return c != '\n' && !unicode.IsPrint(c) }); i >= 0 { // A166
		t.Errorf("the table can steer a terminal: %.100q", r.Stdout[i:])
	}
	if !strings.Contains(r.Stdout, `evil\x1b[2J\x0d\x0aadmin \u202e<img`) {
		t.Error("the hostile name is not shown")
	}
	if r := b.Redoubt("", "clients", "show", hostileID); r.Code != 0 || strings.Contains(r.Stdout, "\x1b") || !strings.Contains(r.Stdout, "MQTT 3.1.1") {
		t.Errorf("show:\n%q", r.Text())
	}
	if r := b.Redoubt("", "clients", "list", "--state", "sleeping"); r.Code != 2 {
		t.Errorf("a state that is none: exit code %d\n%s", r.Code, r.Text())
	}
}

// TestKickAndDelete: an operator says whose session is meant, the client hears
// 0x98, its will is published, and the log says who did it.
func TestKickAndDelete(t *testing.T) {
	t.Parallel()
	b := start(t, testkit.Options{})
	watch := connect(t, b, mqtt.V5, "watch")
	watch.send((&mqtt.Subscribe{PacketID: 1, Filters: []mqtt.Subscription{{Filter: "devices/" + user + "/#"}}}).Append(nil, mqtt.V5, 0))
	watch.want(mqtt.SUBACK)
	will := &mqtt.Will{Topic: "devices/" + user + "/dead", Payload: []byte("dead"), DelaySeconds: 600}
	mine := keepSession(t, b, user, password, "pump-1", will)
	theirs := keepSession(t, b, other, otherPassword, "pump-1", nil)

	r := b.Redoubt("", "clients", "kick", "pump-1")
	if r.Code != 1 || !strings.Contains(r.Stderr, user) || !strings.Contains(r.Stderr, other) {
		t.Errorf("two identities: exit code %d\n%s", r.Code, r.Text())
	}
	if r = b.Redoubt("", "clients", "kick", "pump-1", "--identity", user); r.Code != 0 || !strings.Contains(r.Stdout, "connected from 127.0.0.1:") {
		t.Errorf("kick: exit code %d\n%s", r.Code, r.Text())
	}
	mine.wantDisconnect(mqtt.AdministrativeAction)
	if p := watch.want(mqtt.PUBLISH); !strings.Contains(string(p.Body), "dead") {
		t.Errorf("not the will: %q", p.Body)
	}
	theirs.wantAlive()
	if log := b.Log(); !strings.Contains(log, `"msg":"client kicked by an operator","peer_uid":`) {
		t.Errorf("the log does not say who kicked whom:\n%s", log)
	}

	_ = theirs.conn.Close()
	show := func() (connected bool, code int) {
		r := b.Redoubt("", "sessions", "show", "pump-1", "-o", "json")
		var c struct{ Connected bool }
		_ = json.Unmarshal([]byte(r.Stdout), &c)
		return c.Connected, r.Code
	}
	for connected, code := show(); connected && code == 0; connected, code = show() {
	}
	if n := rowsOf(t, b, "identity", "sessions", "list", "--state", "disconnected"); n[other] != 1 {
		t.Errorf("sessions without a client: %v", n)
	}
	if r := b.Redoubt("", "sessions", "delete", "pump-1"); r.Code != 0 || !strings.Contains(r.Stdout, "was not connected") {
		t.Errorf("delete: exit code %d\n%s", r.Code, r.Text())
	}
	if r := b.Redoubt("", "sessions", "delete", "pump-1"); r.Code != 1 || !strings.Contains(r.Stderr, "there is no session") {
		t.Errorf("delete again: exit code %d\n%s", r.Code, r.Text())
	}
}

// TestRetainedCommands lists, shows and clears.
func TestRetainedCommands(t *testing.T) {
	t.Parallel()
	b := start(t, testkit.Options{})
	w := connect(t, b, mqtt.V5, "writer")
	for i := range 200 {
		w.send((&mqtt.Publish{Topic: fmt.Appendf(nil, "devices/%s/%d/x", user, i), Payload: fmt.Appendf(nil, "21.%d\x1b[2J", i), Retain: true}).Append(nil, mqtt.V5))
	}
	if code := w.tell("devices/"+user+"/end", "", 1); code >= 0x80 { // answered when all before it are retained
		t.Fatalf("PUBACK %v", code)
	}
	if n := len(rowsOf(t, b, "topic", "retained", "list", "devices/#")); n != 200 {
		t.Errorf("%d retained messages", n)
	}
	if n := len(rowsOf(t, b, "topic", "retained", "list")); n < 200 { // and what the broker says of itself
		t.Errorf("%d retained messages in all", n)
	}
	if n := len(rowsOf(t, b, "topic", "retained", "list", "devices/+/7/#")); n != 1 {
		t.Errorf("%d retained messages match", n)
	}
	one := "devices/" + user + "/7/x"
	if r := b.Redoubt("", "retained", "show", one); r.Code != 0 || !strings.Contains(r.Stdout, `21.7\x1b[2J`) || !strings.Contains(r.Stdout, one) {
		t.Errorf("show:\n%q", r.Text())
	}
	for _, c := range []struct {
		code  int
		want  string
		words string
	}{
		{0, "1 retained message removed", one}, {1, "no retained message", one}, {2, "--yes", "devices/#"}, {0, "199 retained messages removed", "devices/# --yes"},
		{0, "\n 0 retained messages removed", "# --yes"}, {2, "'#' must", "a#"},
	} {
		r := b.Redoubt("", append([]string{"retained", "clear"}, strings.Fields(c.words)...)...)
		if r.Code != c.code || !strings.Contains("\n "+r.Text(), c.want) {
			t.Errorf("clear %s: exit code %d\n%s", c.words, r.Code, r.Text())
		}
	}
}

// TestLogLevelCommand: the level changes while the broker runs and stays over a
// reload; a level that the file owns is not changed from elsewhere.
func TestLogLevelCommand(t *testing.T) {
	t.Parallel()
	free, pinned := start(t, testkit.Options{}), start(t, testkit.Options{Config: "log:\n  level: info\n"})
	for _, c := range []struct {
		b     *testkit.Broker
		code  int
		want  string
		words string
	}{
		{free, 0, "info (default)", "log level"}, {free, 0, "debug (api)", "log level set debug"}, {free, 0, "", "reload"}, {free, 0, "debug (api)", "log level get"},
		{free, 2, "loud", "log level set loud"}, {pinned, 1, pinned.Config + ":", "log level set debug"}, {pinned, 0, "info (" + pinned.Config + ":", "log level"},
	} {
		if r := c.b.Redoubt("", strings.Fields(c.words)...); r.Code != c.code || !strings.Contains(r.Text(), c.want) {
			t.Errorf("%s: exit code %d, want %d and %q\n%s", c.words, r.Code, c.code, c.want, r.Text())
		}
	}
	if log := free.Log(); !strings.Contains(log, `"level":"DEBUG"`) || !strings.Contains(log, `"msg":"log level changed by an operator"`) {
		t.Errorf("the log:\n%s", log)
	}
}
