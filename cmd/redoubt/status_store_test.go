package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/store/view"
)

// Right after a start nobody has looked at the disk, the index and the sessions yet. That must
// not look as if there were nothing.
func TestStatusSaysWhatIsNotLookedAtYet(t *testing.T) {
	text := func(s *admin.StoreStatus) string {
		var b strings.Builder
		printStoreStatus(&b, s)
		return b.String()
	}
	fields := func(s *admin.StoreStatus) map[string]any {
		b, err := json.Marshal(s)
		m := map[string]any{}
		if err != nil || json.Unmarshal(b, &m) != nil {
			t.Fatalf("%s: %v", b, err)
		}
		return m
	}
	looked := []string{"free_bytes", "index", "sessions_behind", "sessions_behind_away", "shares_behind", "waiting_messages", "waiting", "oldest_wanted"}

	var early admin.StoreStatus
	addLooked(&early, 0, nil, nil)
	for _, line := range []string{"store disk", "store index", "behind", "oldest wanted"} {
		if want := line + "\tnot looked at yet\n"; !strings.Contains(text(&early), want) {
			t.Errorf("status has no %q:\n%s", want, text(&early))
		}
	}
	for _, key := range looked {
		if v, there := fields(&early)[key]; !there || v != nil {
			t.Errorf("%s is %v, there %v; want null", key, v, there)
		}
	}

	var idle admin.StoreStatus
	addLooked(&idle, 1<<30, &view.Stats{}, &broker.Behind{})
	if got := text(&idle); strings.Contains(got, notLooked) || !strings.Contains(got, "behind\tnobody\noldest wanted\tnone\n") || !strings.Contains(got, "store disk\t1024 MiB free\n") {
		t.Errorf("a store with nothing to say:\n%s", got)
	}
	for _, key := range looked {
		if v := fields(&idle)[key]; v == nil {
			t.Errorf("%s is unknown although somebody has looked", key)
		}
	}

	var busy admin.StoreStatus
	addLooked(&busy, 1<<30, &view.Stats{PostingBytes: 1 << 20}, &broker.Behind{
		Connected: broker.Waiting{Sessions: 1, Messages: 2, Bytes: 1 << 10}, Away: broker.Waiting{Sessions: 3, Messages: 40, Bytes: 1 << 20},
		Groups: broker.Waiting{Sessions: 1, Messages: 5, Bytes: 1 << 10}, Oldest: 17, Holder: session.Key{ClientID: "pump", Identity: "p1"},
	})
	for _, want := range []string{
		"postings 1.0 MiB", "behind\t1 sessions with a client: 2 messages, 1024 bytes\n", "behind\t3 sessions that are away: 40 messages, 1 MiB\n",
		"behind\t1 shared subscriptions: 5 messages, 1024 bytes\n", "oldest wanted\trecord 17, by client pump of p1\n",
	} {
		if !strings.Contains(text(&busy), want) {
			t.Errorf("status has no %q:\n%s", want, text(&busy))
		}
	}
	if n := *busy.Waiting; n != 47 {
		t.Errorf("%d messages wait", n)
	}
}
