package test

import (
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/internal/testkit"
	"github.com/redoubtmq/redoubt/mqtt"
)

// TestBuiltinRules (A051, A107): a built-in rule counts at once for live sessions and their
// live subscriptions, stands where the order has it, and is there after a kill.
func TestBuiltinRules(t *testing.T) {
	t.Parallel()
	b := newBanned(t, start(t, testkit.Options{}))
	d := b.doors[0]
	subscribe := func(w *wire, id uint16, filter string) byte {
		t.Helper()
		w.send((&mqtt.Subscribe{PacketID: id, Filters: []mqtt.Subscription{{Filter: filter, QoS: 1}}}).Append(nil, mqtt.V5, 0))
		body := w.want(mqtt.SUBACK).Body
		return body[len(body)-1]
	}
	publish := func(w *wire, name string) byte {
		t.Helper()
		w.send((&mqtt.Publish{Topic: []byte(name), QoS: 1, PacketID: 7}).Append(nil, mqtt.V5))
		if body := w.want(mqtt.PUBACK).Body; len(body) > 2 {
			return body[2]
		}
		return 0
	}
	client, _ := b.come(d, mqtt.V5, here, "hall-1")
	if got := subscribe(client, 1, "hall/#"); got != 0x87 {
		t.Errorf("before: SUBACK %#x", got)
	}
	must(t, b.b, "acl", "add", "--user", other, "allow", "all", "hall/${clientid}/#")
	must(t, b.b, "acl", "add", "--everybody", "allow", "subscribe", "hall/#")
	if r := b.b.Redoubt("", "acl", "add", "--everybody", "allow", "subscribe", "hall/#"); r.Code != 0 || !strings.Contains(r.Stderr, "already there: rule 1 for everybody") {
		t.Errorf("the same rule again: %d, %s", r.Code, r.Text())
	}
	if got := subscribe(client, 2, "hall/#"); got != 1 {
		t.Errorf("granted: SUBACK %#x", got)
	}
	if got := publish(client, "hall/hall-2/x"); got != 0x87 {
		t.Errorf("somebody else's: PUBACK %#x", got)
	}
	if out := must(t, b.b, "acl", "list"); strings.Join(strings.Fields(out), " ") != "FOR NO RULE user "+other+" 1 allow all hall/${clientid}/# everybody 1 allow subscribe hall/#" {
		t.Errorf("listed:\n%s", out)
	}
	refused(t, b.b, "does not exist", "acl", "delete", "--everybody", "7")
	refused(t, b.b, "cannot be granted", "acl", "add", "--everybody", "allow", "all", "$SYS/#")
	must(t, b.b, "acl", "delete", "--everybody", "1")
	for began := time.Now(); !strings.Contains(b.b.Log(), `"topic":"hall/#"`) || strings.Contains(must(t, b.b, "subs", "list"), "hall/#"); {
		if time.Since(began) > patience {
			t.Fatalf("the subscription stays\n%s", b.b.Log())
		}
	}
	b.b.Signal(killed)
	b.b.Wait(patience)
	b = newBanned(t, testkit.Start(t, testkit.Options{DataDir: b.b.DataDir, Config: "authz: {order: [builtin, rules_file]}\n"}))
	client, _ = b.come(b.doors[0], mqtt.V5, here, "hall-1")
	if got := publish(client, "hall/hall-1/x"); got != 0 && got != 0x10 {
		t.Errorf("after a kill: PUBACK %#x", got)
	}
	if got := subscribe(client, 3, "hall/#"); got != 0x87 {
		t.Errorf("after a kill: SUBACK %#x", got)
	}
	must(t, b.b, "acl", "add", "--client", "hall-1", "deny", "publish", "devices/"+other+"/shut", "--first")
	if got := publish(client, "devices/"+other+"/shut"); got != 0x87 {
		t.Errorf("a built-in rule before the file's: PUBACK %#x", got)
	}
	if r := b.b.Redoubt("", "acl", "test", "--user", other, "--client", "hall-1", "publish", "devices/"+other+"/shut"); r.Code != 1 || !strings.Contains(r.Stdout, `builtin (client "hall-1", rule 1)`) {
		t.Errorf("explained: %d\n%s", r.Code, r.Text())
	}
	must(t, b.b, "acl", "delete", "--client", "hall-1", "--all")
	if got := publish(client, "devices/"+other+"/shut"); got == 0x87 {
		t.Error("what was deleted denies")
	}
}
