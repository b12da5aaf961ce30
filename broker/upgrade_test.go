package broker

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/local"
)

// newOlderDesk is a broker that begins with the store an older program has left: its log as
// a vault, its index as it is.
func newOlderDesk(t *testing.T, folder string) *keptDesk {
	t.Helper()
	to := filepath.Join(t.TempDir(), "store")
	if err := os.CopyFS(to, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{to, filepath.Join(to, "log")} {
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	l, _, err := local.Open(filepath.Join(to, "log"), local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	k := &keptDesk{log: newVault(), lives: make(map[string]int), account: session.NewAccount(1 << 30), fs: vfs.NewMem(), policy: `  - {allow: all, topics: ["devices/#"]}`}
	k.change = []func(*Settings){func(s *Settings) { s.Session.Account = k.account }}
	now := int64(0)
	first, last, err := l.Bounds(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	enough := errors.New("this is enough")
	err = l.Tail(t.Context(), 0, first, func(at store.Seq, recs []store.Record) error {
		k.log.next = at
		for i := range recs {
			recs[i].Body = bytes.Clone(recs[i].Body)
			now = max(now, recs[i].At)
		}
		k.log.write(append([]store.Record(nil), recs...))
		if at+store.Seq(len(recs)) > last {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	k.log.first, k.log.shown = first, len(k.log.batches)
	if ok, err := vfs.Clone(vfs.Default, k.fs, filepath.Join(to, "view"), "view"); err != nil || !ok {
		t.Fatal(ok, err)
	}
	k.open(t, 1, time.UnixMilli(now).Add(time.Minute))
	t.Cleanup(func() { k.view.Close() })
	k.rest()
	return k
}

// Clients of a store that an older program has left come back to what they were promised:
// see store/testdata/format1/README.md. Also after today's code has written into it, and
// has let go of the log.
func TestClientsOfAnOlderStoreComeBack(t *testing.T) {
	for _, folder := range []string{"whole", "trimmed"} {
		for _, shed := range []bool{false, true} {
			t.Run(map[bool]string{false: folder, true: folder + ", let go of"}[shed], func(t *testing.T) {
				k := newOlderDesk(t, filepath.Join("..", "store", "testdata", "format1", folder))
				if n := k.sessions(); n != 4 {
					t.Errorf("%d sessions", n)
				}
				if shed {
					if dropped, _ := k.shed(); dropped != 0 {
						t.Errorf("%d dropped", dropped)
					}
					k.crash()
					k.rest()
				}
				as := func(id string) func(*mqtt.Connect) { return func(c *mqtt.Connect) { c.ClientID = id } }
				away := k.back("dev1", as("away"), window(3))
				k.rest()
				away.expect("m0 q1 #2 dup by 7, m1 q1 #3 dup by 7, m2 q2 #4 dup by 7")
				away.ack(mqtt.PUBACK, 2)
				away.ack(mqtt.PUBACK, 3)
				away.ack(mqtt.PUBREC, 4)
				if got := k.drink(away); got != series(3, 12) {
					t.Errorf("away received %s", got)
				}
				old := k.back("dev1", as("old"), v311)
				if got := k.drink(old); got != "m0 m1 "+series(2, 12) {
					t.Errorf("old received %s", got)
				}
				k.back("dev1", as("willing"))
				pub := k.back("dev1", as("pub"))
				pub.ack(mqtt.PUBREL, 79)
				k.rest()
				pub.expect("PUBCOMP #79")
				pub.publish("devices/dev1/q/x", "new", 1, 7)
				k.rest()
				if got := k.drink(away); got != "new" {
					t.Errorf("away received %s", got)
				}
			})
		}
	}
}
