package session

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

var rewrite = flag.Bool("rewrite", false, "record what the session does into testdata; review the diff")

// TestScripts runs testdata/*.txt: commands, a line of dashes, and what the
// session did. testdata/README.md says what the words mean. A script is a
// sequence: a case goes on where the one before it ended, until `session`.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { runFile(t, file) })
	}
}

func runFile(t *testing.T, file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r := newRunner(t)
	var recorded []string
	for block := range strings.SplitSeq(strings.TrimSpace(string(data)), "\n\n") {
		head, want, ok := strings.Cut(block, "----")
		if !ok { // only a comment
			recorded = append(recorded, block)
			continue
		}
		head, want = strings.TrimSpace(head), strings.TrimSpace(want)
		got := r.run(head)
		recorded = append(recorded, head+"\n----\n"+got)
		if got != want && !*rewrite {
			t.Errorf("%s:\n%s\n---- want\n%s\n---- got\n%s", file, head, want, got)
		}
	}
	r.close()
	if *rewrite {
		if err := os.WriteFile(file, []byte(strings.Join(recorded, "\n\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// now0 is when every test begins.
var now0 = time.Unix(1_000_000, 0)

// runner is the part of the broker and of the connection that a script plays.
type runner struct {
	t   *testing.T
	l   *ledger
	s   *Session // nil before `session` and after its end
	now time.Time
	out strings.Builder
}

func newRunner(t *testing.T) *runner {
	return &runner{t: t, l: newLedger(t), now: now0}
}

// run plays the commands of one case and answers what happened.
func (r *runner) run(head string) string {
	r.out.Reset()
	for line := range strings.SplitSeq(head, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		r.command(line)
	}
	if r.out.Len() == 0 {
		return "nothing"
	}
	return strings.TrimSpace(r.out.String())
}

func (r *runner) command(line string) {
	w := parseWords(r.t, line)
	word, known := scriptWords[w.name]
	if !known {
		r.t.Fatalf("%q: unknown command", line)
	}
	if r.s == nil && w.name != "session" {
		r.t.Fatalf("%q: there is no session; begin with one", line)
	}
	for w.nth = 1; w.nth <= w.count("times", 1); w.nth++ {
		word(r, w)
	}
	if rest := w.unused(); rest != "" {
		r.t.Fatalf("%q: %s means nothing here", line, rest)
	}
}

// close ends the present session and checks that it gave everything back.
func (r *runner) close() {
	if r.s != nil {
		r.s.Discard()
		r.s = nil
	}
	r.l.settle()
}

func (r *runner) say(format string, args ...any) { fmt.Fprintf(&r.out, format+"\n", args...) }

// send is the connection: it encodes what the session wants sent and says what a
// client would read.
func (r *runner) send(outs []Out) {
	for i := range outs {
		o := &outs[i]
		b, n, end := o.Append(nil, r.s.Version(), r.now, 0, mqtt.PacketMax)
		if n != len(b) || !end {
			r.t.Fatalf("%d of %d bytes, end %v", n, len(b), end)
		}
		if !r.s.Fits(len(b)) {
			r.t.Fatalf("a packet of %d bytes, the client takes %d [MQTT-3.1.2-24]", len(b), r.s.conn.sizeMax)
		}
		if o.Cost() < len(b) {
			r.t.Fatalf("a packet of %d bytes was said to cost %d", len(b), o.Cost())
		}
		r.say("send %s", readPacket(r.t, b, r.s.Version()))
		o.Done()
	}
}

// readPacket decodes b as a client does.
func readPacket(t *testing.T, b []byte, v mqtt.Version) string {
	h, ok, err := mqtt.ReadHeader(b, v)
	if err != nil || !ok {
		t.Fatalf("% x: %v", b, err)
	}
	if h.Type != mqtt.PUBLISH {
		var a mqtt.Ack
		if err := mqtt.DecodeAck(b[h.Size:], h, v, mqtt.Limits{}, &a); err != nil {
			t.Fatalf("% x: %v", b, err)
		}
		if v != mqtt.V5 {
			return fmt.Sprintf("%s id=%d", a.Type, a.PacketID)
		}
		return fmt.Sprintf("%s id=%d reason=%s", a.Type, a.PacketID, hyphens(a.Reason))
	}
	var p mqtt.Publish
	if err := mqtt.DecodePublishClient(b[h.Size:], h, v, mqtt.Limits{}, &p); err != nil {
		t.Fatalf("% x: %v", b, err)
	}
	return "PUBLISH" + publishWords(&p)
}

func publishWords(p *mqtt.Publish) string {
	var b strings.Builder
	if p.QoS > 0 {
		fmt.Fprintf(&b, " id=%d", p.PacketID)
	}
	fmt.Fprintf(&b, " qos=%d topic=%s payload=%s", p.QoS, p.Topic, shorten(p.Payload))
	for i, id := range p.SubscriptionIDs {
		fmt.Fprintf(&b, "%s%d", map[bool]string{true: " sid=", false: ","}[i == 0], id)
	}
	if p.HasMessageExpiry {
		fmt.Fprintf(&b, " expiry=%d", p.MessageExpiry)
	}
	if p.HasTopicAlias {
		fmt.Fprintf(&b, " alias=%d", p.TopicAlias)
	}
	if p.Retain {
		b.WriteString(" retain")
	}
	if p.Dup {
		b.WriteString(" dup")
	}
	return b.String()
}

// shorten writes a long run of one letter as a script does.
func shorten(payload []byte) string {
	if len(payload) > 20 && len(strings.Trim(string(payload), string(payload[:1]))) == 0 {
		return fmt.Sprintf("%d*%c", len(payload), payload[0])
	}
	return string(payload)
}

func hyphens(c mqtt.ReasonCode) string { return strings.ReplaceAll(c.String(), " ", "-") }

// refused says what a peer did wrong; the broker closes its connection then.
func (r *runner) refused(err error) bool {
	if err == nil {
		return false
	}
	e, ok := err.(*mqtt.Error)
	if !ok {
		r.t.Fatalf("not the peer's fault: %v", err)
	}
	line := "refuse reason=" + hyphens(e.Reason)
	if e.Rule != "" {
		line += " rule=" + e.Rule
	}
	if e.Detail != "" {
		line += " (" + e.Detail + ")"
	}
	r.say("%s", line)
	return true
}

// due plays what the broker does with a will and with the end of a session.
func (r *runner) due(d Due) {
	if d.Will != nil {
		r.say("will topic=%s payload=%s", d.Will.Topic, d.Will.Payload)
	}
	if d.End {
		r.say("end of session")
		r.close()
	}
}
