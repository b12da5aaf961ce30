package view

import (
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
	"github.com/redoubtmq/redoubt/store/storetest/faultfs"
)

// nobody has a session.
func nobody(*store.SID) (uint64, bool) { return 0, false }

// TestFencing is a history of two nodes that want one session.
func TestFencing(t *testing.T) {
	claim := (&fact.Claim{}).Append(nil)
	sub := (&fact.Subscription{Filter: "a", Real: "a", ID: 1}).Append(nil)
	will := (&fact.Will{}).Append(nil)
	packet := (&fact.PacketID{ID: 1}).Append(nil)
	msg := (&fact.Message{Topic: []byte("a")}).Append(nil)
	a, b := store.SID{1}, store.SID{2}
	j := newJudge(nobody, newGroups(), position{}, sizes{4, 1000}, func(string, error) {})
	for i, step := range []struct {
		why   string
		kind  store.Kind
		sid   store.SID
		epoch uint64
		body  []byte
		want  Outcome
	}{
		{"nobody has the session yet", store.Subscribe, a, 1, sub, Fenced},
		{"nor may one publish as it", store.Message, a, 1, msg, Fenced},
		{"a claim makes it, whatever its epoch", store.Claim, a, 5, claim, Applied},
		{"its epoch writes", store.Subscribe, a, 5, sub, Applied},
		{"an older one does not", store.Subscribe, a, 4, sub, Fenced},
		{"a newer one cannot be without its claim", store.Subscribe, a, 6, sub, Refused},
		{"the same claim twice", store.Claim, a, 5, claim, Fenced},
		{"an older claim", store.Claim, a, 4, claim, Fenced},
		{"a claim that is no claim takes nothing", store.Claim, a, 9, []byte{9}, Refused},
		{"so its epoch still writes", store.Will, a, 5, will, Applied},
		{"a newer claim", store.Claim, a, 7, claim, Applied},
		{"fences the one before", store.QoS2In, a, 5, packet, Fenced},
		{"in everything", store.Message, a, 5, msg, Fenced},
		{"retained too", store.Retain, a, 5, msg, Fenced},
		{"but not what nobody fences", store.Message, a, 0, msg, Applied},
		{"or has no session", store.Retain, store.SID{}, 5, msg, Applied},
		{"another session is another matter", store.Claim, b, 1, claim, Applied},
		{"the owner expires it", store.Expire, a, 7, nil, Applied},
		{"then nobody has it", store.WillFire, a, 7, nil, Fenced},
		{"and an older epoch may have it again", store.Claim, a, 2, claim, Applied},
		{"an expiry says nothing", store.Expire, a, 2, []byte{1}, Refused},
		{"a session's fact names its session", store.Subscribe, store.SID{}, 2, sub, Refused},
		{"and its epoch", store.Subscribe, a, 0, sub, Refused},
		{"a body that is cut off", store.QoS2In, a, 2, packet[:2], Refused},
		{"what nobody writes yet", store.Rescue, a, 2, nil, Refused},
		{"a mark needs nobody", store.Hash, store.SID{}, 0, (&fact.Mark{}).Append(nil), Applied},
		{"a retained topic with a zero byte", store.Retain, store.SID{}, 0, (&fact.Message{Topic: []byte("a\x00b")}).Append(nil), Refused},
	} {
		items := j.batch(store.Seq(i+1), []store.Record{{Kind: step.kind, SID: step.sid, Epoch: step.epoch, Body: step.body}})
		if items[0].Outcome != step.want {
			t.Errorf("%s: %v is %v, want %v", step.why, step.kind, items[0].Outcome, step.want)
		}
	}
}

// A program that writes nonsense says so once for each kind, and its alarm says which.
func TestNonsenseIsHeardOfOnce(t *testing.T) {
	l := openLog(t, faultfs.New(), smallLog)
	for range 3 {
		put(t, l, store.Record{Kind: store.Message, Body: []byte{1}}, store.Record{Kind: store.Config, Body: []byte{2}})
	}
	var heard alarms
	v := mustOpen(t, Options{Log: l, Folder: "index", FS: vfs.NewMem(), Alarm: heard.hear})
	defer shut(t, v, l)
	if n := heard.count("record refused"); n != 2 {
		t.Errorf("%d alarms: %v", n, heard.list)
	}
	if all := strings.Join(heard.list, "\n"); !strings.Contains(all, "a Message record") || !strings.Contains(all, "a Config record") {
		t.Error(all)
	}
}

func TestOutcomesHaveNames(t *testing.T) {
	if Applied.String() != "Applied" || Fenced.String() != "Fenced" || Refused.String() != "Refused" || Outcome(9).String() != "Outcome(9)" {
		t.Error("an outcome is called something else")
	}
}

// What is judged after rows were written is what would have been judged without them, though
// the judge remembers sessions no longer than until then.
func TestTheJudgeForgetsWhatHasRows(t *testing.T) {
	rows := make(map[store.SID]uint64)
	j := newJudge(func(sid *store.SID) (uint64, bool) { e, there := rows[*sid]; return e, there }, newGroups(), position{}, sizes{16, 1 << 20}, func(string, error) {})
	one := newJudge(nobody, newGroups(), position{}, sizes{16, 1 << 20}, func(string, error) {})
	claim, seq := (&fact.Claim{}).Append(nil), store.Seq(1)
	for round := range uint64(4) {
		for i := range 2 * sinceMax {
			sid := store.SID{byte(i), byte(i >> 8), 1}
			for _, r := range []store.Record{
				{Kind: store.Claim, SID: sid, Epoch: round + uint64(i%3), Body: claim}, {Kind: store.WillFire, SID: sid, Epoch: round + 1}, {Kind: store.Expire, SID: sid, Epoch: round + uint64(i%2)},
			} {
				got, want := j.batch(seq, []store.Record{r})[0].Outcome, one.batch(seq, []store.Record{r})[0].Outcome
				if got != want {
					t.Fatalf("round %d, session %d, %v: %v, want %v", round, i, r.Kind, got, want)
				}
				if got == Applied && r.Kind == store.Claim {
					rows[sid] = r.Epoch
				} else if got == Applied && r.Kind == store.Expire {
					delete(rows, sid)
				}
				if seq++; i%5 == 0 {
					j.written()
				}
			}
		}
		j.written()
		if len(j.since) != 0 {
			t.Errorf("%d sessions are remembered twice", len(j.since))
		}
	}
}
