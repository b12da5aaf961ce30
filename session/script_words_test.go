package session

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/topic"
)

// scriptWords are the commands of a script.
var scriptWords = map[string]func(r *runner, w *words){
	"session": (*runner).wordSession, "limits": (*runner).wordLimits, "attach": (*runner).wordAttach,
	"detach": (*runner).wordDetach, "disconnect": (*runner).wordDisconnect, "clean-start": (*runner).wordCleanStart,
	"tick": (*runner).wordTick, "deadline": (*runner).wordDeadline,
	"publish": (*runner).wordPublish, "settle": (*runner).wordSettle, "pubrel": (*runner).wordPubrel,
	"puback": (*runner).wordPuback, "pubrec": (*runner).wordPubrec, "pubcomp": (*runner).wordPubcomp,
	"deliver": (*runner).wordDeliver, "congest": (*runner).wordCongest, "writable": (*runner).wordWritable,
	"last-id": (*runner).wordLastID, "purge": (*runner).wordPurge, "room-for-replay": (*runner).wordRoomForReplay,
	"unshare":   (*runner).wordUnshare,
	"subscribe": (*runner).wordSubscribe, "unsubscribe": (*runner).wordUnsubscribe, "subscriptions": (*runner).wordSubscriptions,
	"live": (*runner).wordLive, "state": (*runner).wordState,
}

func (r *runner) wordSession(w *words) {
	r.close()
	r.s = New(Key{ClientID: "c", Mountpoint: w.text("mountpoint", "")}, 1, r.limits(w))
}

func (r *runner) wordLimits(w *words) { r.s.Limit(r.limits(w)) }

func (r *runner) limits(w *words) *Limits {
	return &Limits{
		InflightMax:    w.count("inflight", 10),
		MqueueMessages: w.count("mqueue", 100),
		MqueueBytes:    int64(w.count("mqueue-bytes", 1<<20)),
		AwaitingRelMax: w.count("awaiting-rel", 10),
		ReceiveMaximum: w.count("receive-maximum", 10),
		AliasInMax:     w.count("aliases", 5),
		AliasOutMax:    w.count("aliases-out", 5),
		WaitMax:        w.duration("wait"),
	}
}

var scriptVersions = map[string]mqtt.Version{"3.1": mqtt.V31, "3.1.1": mqtt.V311, "5": mqtt.V5}

func (r *runner) wordAttach(w *words) {
	a := Attachment{
		Version:           scriptVersions[w.text("v", "5")],
		ReceiveMaximum:    uint16(w.count("rm", 65535)),
		MaximumPacketSize: uint32(w.count("max", 0)),
		ExpirySeconds:     w.expiry("expiry", 60),
		AliasMaximum:      uint16(w.count("alias-maximum", 0)),
	}
	if will := w.text("will", ""); will != "" {
		name, payload, _ := strings.Cut(will, ":")
		a.Will = &mqtt.Will{Topic: name, Payload: []byte(payload), DelaySeconds: uint32(w.count("will-delay", 0))}
	}
	r.send(r.s.Attach(r.now, a, nil))
}

func (r *runner) wordDetach(*words) { r.due(r.s.Detach(r.now, true)) }

func (r *runner) wordDisconnect(w *words) {
	if w.has("expiry") && r.refused(r.s.SetExpiry(w.expiry("expiry", 0))) {
		r.due(r.s.Detach(r.now, true))
		return
	}
	r.due(r.s.Detach(r.now, w.reason() != mqtt.Success))
}

func (r *runner) wordCleanStart(*words) { r.due(r.s.End()) }

func (r *runner) wordTick(w *words) {
	d, err := time.ParseDuration(w.flag())
	if err != nil {
		r.t.Fatal(err)
	}
	r.now = r.now.Add(d)
	r.due(r.s.Tick(r.now))
}

func (r *runner) wordDeadline(*words) {
	if at := r.s.Deadline(); at.IsZero() {
		r.say("never")
	} else {
		r.say("in %v", at.Sub(r.now))
	}
}

// wordPublish is a PUBLISH of the client, as package broker takes it.
func (r *runner) wordPublish(w *words) {
	p := mqtt.Publish{Topic: []byte(w.text("topic", "")), Payload: []byte(w.text("payload", "")), PacketID: w.id(), QoS: w.qos()}
	if p.HasTopicAlias = w.has("alias"); p.HasTopicAlias {
		p.TopicAlias = uint16(w.count("alias", 0))
	}
	p.Dup = w.is("dup")
	wait, reason := w.is("await"), w.reason()
	v, name, outs, err := take(r.s, r.l, &p)
	r.refused(err)
	r.send(outs)
	if v != toRoute {
		return
	}
	r.say("route topic=%s qos=%d", name, p.QoS)
	if wait {
		r.s.Await(p.QoS, p.PacketID)
		return
	}
	r.send(r.s.Acknowledge(p.QoS, p.PacketID, reason, nil))
}

func (r *runner) wordSettle(w *words) {
	wait, reason := w.is("await"), w.reason()
	if !r.s.Busy() {
		r.t.Fatal("settle: nothing is pending")
	}
	if p := r.s.Deferred(); p != nil {
		r.say("route topic=%s qos=%d", p.Frame.Topic(), p.QoS)
		if wait {
			r.s.Routed()
		}
	}
	if !wait {
		r.send(r.s.Settle(reason, nil))
	}
}

func (r *runner) wordPubrel(w *words) { r.send(r.s.Pubrel(w.id(), nil)) }

func (r *runner) wordPuback(w *words) {
	w.reason() // a refusal ends the delivery like a success [MQTT-4.4.0-2]
	outs, err := r.s.Puback(r.now, w.id(), nil)
	r.send(outs)
	r.refused(err)
}

func (r *runner) wordPubrec(w *words) {
	outs, err := r.s.Pubrec(r.now, w.id(), w.reason(), nil)
	r.send(outs)
	r.refused(err)
}

func (r *runner) wordPubcomp(w *words) {
	outs, err := r.s.Pubcomp(r.now, w.id(), nil)
	r.send(outs)
	r.refused(err)
}

func (r *runner) wordDeliver(w *words) {
	f := r.l.frame(w.text("topic", "a"), w.text("payload", "x"))
	f.QoS, f.CreatedAt = w.qos(), r.now.UnixMilli()
	if w.has("expiry") {
		f.ExpiresAt = f.CreatedAt + int64(w.expiry("expiry", 0))*1000
	}
	d := Delivery{Frame: f, QoS: f.QoS, Retain: w.is("retain"), Group: Group{Gen: uint32(w.count("group", 0))}}
	for id := range strings.SplitSeq(w.text("sid", ""), ",") {
		if n, err := strconv.Atoi(id); err == nil {
			d.SubIDs = append(d.SubIDs, uint32(n))
		}
	}
	if len(d.SubIDs) == 1 {
		d.SubID, d.SubIDs = d.SubIDs[0], nil
	}
	r.send(r.s.Deliver(r.now, d, nil))
}

func (r *runner) wordCongest(*words)  { r.s.Congest() }
func (r *runner) wordWritable(*words) { r.send(r.s.Writable(r.now, nil)) }

// wordLastID pretends that a session has used identifiers up to here.
func (r *runner) wordLastID(w *words) { r.s.pretend(w.id()) }

func (r *runner) wordPurge(w *words) {
	filter := w.text("topic", "")
	r.say("purged %d", r.s.Purge(func(name []byte) bool { return !topic.Match(filter, name) }))
}

// wordUnshare offers everything to other members, who take the named groups.
func (r *runner) wordUnshare(w *words) {
	taken := w.count("group", 0)
	r.s.Unshare(w.is("sent"), func(f *mqtt.Frame, g Group) bool {
		if int(g.Gen) != taken {
			r.say("kept %s", f.Payload())
			return false
		}
		r.say("moved %s", f.Payload())
		return true
	})
	r.say("%v", map[bool]string{true: "accepting", false: "not accepting"}[r.s.Accepting()])
}

func (r *runner) wordRoomForReplay(w *words) { r.say("%v", r.s.RoomForReplay(w.qos())) }

func (r *runner) wordSubscribe(w *words) {
	filter := w.text("filter", "")
	r.s.Subscribe(Sub{Filter: filter, Real: filter, QoS: w.qos(), ID: uint32(w.count("sid", 0)), RetainedSeen: uint64(w.count("retained-up-to", 0))})
}

func (r *runner) wordUnsubscribe(w *words) {
	r.say("existed %v", r.s.Unsubscribe(w.text("filter", "")))
}

func (r *runner) wordSubscriptions(*words) {
	var list []string
	for i := range r.s.Subscriptions() {
		sub := r.s.Subscription(i)
		if found, ok := r.s.Subscribed(sub.Filter); !ok || found != sub {
			r.t.Fatalf("%+v is listed, %+v %v is found", sub, found, ok)
		}
		list = append(list, sub.Filter+":"+strconv.Itoa(int(sub.QoS)))
	}
	slices.Sort(list)
	how := "a list"
	if r.s.many() != nil {
		how = "a list with an index"
	}
	r.say("%d, %d with wildcards, in %s: %s", len(list), r.s.Wildcards(), how, strings.Join(list, " "))
}

// wordLive is a live message of a retained version that reaches the session.
func (r *runner) wordLive(w *words) {
	name := w.text("topic", "")
	if r.s.SeenRetained([]byte(name), uint64(w.count("version", 0))) {
		r.say("drop: it came as a retained message")
	} else {
		r.say("deliver")
	}
}

func (r *runner) wordState(*words) { r.say("%s", stateWords(r.s)) }

// words is one command line.
type words struct {
	t    *testing.T
	name string
	args map[string]string // a flag is its own value
	used map[string]bool
	nth  int // of times=
}

func parseWords(t *testing.T, line string) *words {
	fields := strings.Fields(line)
	w := &words{t: t, name: fields[0], args: make(map[string]string), used: make(map[string]bool)}
	for _, f := range fields[1:] {
		key, value, ok := strings.Cut(f, "=")
		if !ok {
			value = key
		}
		w.args[key] = value
	}
	return w
}

func (w *words) has(key string) bool {
	_, ok := w.args[key]
	w.used[key] = true
	return ok
}

func (w *words) is(flag string) bool { return w.has(flag) && w.args[flag] == flag }

// text is a value; % is the number of the repetition, and 300*x is the letter x
// three hundred times.
func (w *words) text(key, otherwise string) string {
	if !w.has(key) {
		return otherwise
	}
	v := strings.ReplaceAll(w.args[key], "%", strconv.Itoa(w.nth))
	if n, letter, ok := strings.Cut(v, "*"); ok && len(letter) == 1 {
		if k, err := strconv.Atoi(n); err == nil {
			return strings.Repeat(letter, k)
		}
	}
	return v
}

func (w *words) count(key string, otherwise int) int {
	if !w.has(key) {
		return otherwise
	}
	n, err := strconv.Atoi(w.text(key, ""))
	if err != nil {
		w.t.Fatalf("%s %s: %v", w.name, key, err)
	}
	return n
}

func (w *words) expiry(key string, otherwise uint32) uint32 {
	if w.text(key, "") == "never" {
		return ExpiryNever
	}
	return uint32(w.count(key, int(otherwise)))
}

func (w *words) duration(key string) time.Duration {
	d, err := time.ParseDuration(w.text(key, "0s"))
	if err != nil {
		w.t.Fatalf("%s %s: %v", w.name, key, err)
	}
	return d
}

func (w *words) id() uint16    { return uint16(w.count("id", 0)) }
func (w *words) qos() mqtt.QoS { return mqtt.QoS(w.count("qos", 0)) }

// reason is a reason code in the specification's words with hyphens.
func (w *words) reason() mqtt.ReasonCode {
	want := w.text("reason", "success")
	for c := range 256 {
		if hyphens(mqtt.ReasonCode(c)) == want {
			return mqtt.ReasonCode(c)
		}
	}
	w.t.Fatalf("%s: no reason is called %s", w.name, want)
	return 0
}

// flag is the one flag of a command that has nothing else.
func (w *words) flag() string {
	for key := range w.args {
		w.used[key] = true
		return key
	}
	return ""
}

func (w *words) unused() string {
	for key := range w.args {
		if !w.used[key] {
			return key
		}
	}
	return ""
}
