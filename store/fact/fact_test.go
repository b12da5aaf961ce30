package fact

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/redoubtmq/redoubt/store"
)

// fact is what every body type is.
type fact interface {
	Append(dst []byte) []byte
	Decode(b []byte) error
}

// kinds makes an empty one of each type, by the name that vectors use.
var kinds = map[string]func() fact{
	"message":        func() fact { return new(Message) },
	"will":           func() fact { return new(Will) },
	"claim":          func() fact { return new(Claim) },
	"release":        func() fact { return new(Release) },
	"subscription":   func() fact { return new(Subscription) },
	"unsubscription": func() fact { return new(Unsubscription) },
	"outbox":         func() fact { return new(Outbox) },
	"packetid":       func() fact { return new(PacketID) },
	"value":          func() fact { return new(Value) },
	"mark":           func() fact { return new(Mark) },
	"join":           func() fact { return new(Join) },
	"leave":          func() fact { return new(Leave) },
	"take":           func() fact { return new(Take) },
	"delay":          func() fact { return new(Delay) },
	"delayend":       func() fact { return new(DelayEnd) },
}

// some are the generators of values of each type. They only make what can be
// written: what a flag turns off is zero.
var some = map[string]func(*rapid.T) fact{
	"message": func(t *rapid.T) fact {
		m := &Message{Topic: someBytes(t), Props: someBytes(t), Payload: someBytes(t), QoS: someQoS(t), Retain: someBool(t), Broad: someBool(t), ExpiresAt: rapid.Int64().Draw(t, "expires")}
		for range rapid.IntRange(0, FiltersMax).Draw(t, "filters") {
			m.Filters = append(m.Filters, someID(t))
		}
		m.Only = store.Seq(rapid.Uint64().Draw(t, "only"))
		m.By = AuthorID(rapid.Uint64().Draw(t, "by"))
		return m
	},
	"will": func(t *rapid.T) fact {
		w := &Will{Topic: someBytes(t), Props: someBytes(t), Payload: someBytes(t), QoS: someQoS(t), Retain: someBool(t), HasExpiry: someBool(t), DelaySeconds: rapid.Uint32().Draw(t, "delay")}
		if w.HasExpiry {
			w.ExpirySeconds = rapid.Uint32().Draw(t, "expiry")
		}
		w.By = someToken(t)
		return w
	},
	"claim": func(t *rapid.T) fact {
		c := &Claim{Owner: someOwner(t), Node: someString(t), Version: rapid.Byte().Draw(t, "version"), ExpirySeconds: rapid.Uint32().Draw(t, "expiry")}
		switch {
		case someBool(t):
			c.Moves = true
		case someBool(t):
			c.Clean = true
		}
		if !c.Moves && someBool(t) {
			c.Sure, c.From = true, rapid.Uint64().Draw(t, "from")
		}
		return c
	},
	"release": func(t *rapid.T) fact {
		return &Release{ExpirySeconds: rapid.Uint32().Draw(t, "expiry"), KeepWill: someBool(t)}
	},
	"subscription": func(t *rapid.T) fact {
		return &Subscription{Filter: someString(t), Real: someString(t), ID: someID(t), SubID: rapid.Uint32().Draw(t, "sub id"), QoS: someQoS(t), NoLocal: someBool(t), RetainAsPublished: someBool(t), Exclusive: someBool(t), Owed: someBool(t)}
	},
	"unsubscription": func(t *rapid.T) fact { return &Unsubscription{Filter: someString(t)} },
	"outbox": func(t *rapid.T) fact {
		o := &Outbox{Cursor: store.Seq(rapid.Uint64().Draw(t, "cursor")), LastID: rapid.Uint16().Draw(t, "last")}
		for range rapid.IntRange(0, 9).Draw(t, "entries") {
			s := Sent{Seq: store.Seq(rapid.Uint64().Draw(t, "seq")), ID: rapid.Uint16().Draw(t, "id"), State: rapid.Byte().Draw(t, "state"), QoS: someQoS(t), Retain: someBool(t)}
			if someBool(t) {
				s.Seq, s.Inline = 0, someBytes(t)
			}
			if someBool(t) {
				s.Share = someID(t)
			}
			o.Entries = append(o.Entries, s)
		}
		if o.Heard = store.Seq(rapid.Uint64().Draw(t, "heard")); o.Heard != 0 {
			for range rapid.IntRange(0, 3).Draw(t, "replays") {
				o.Replays = append(o.Replays, Replay{Filter: someString(t), Real: someString(t), UpTo: store.Seq(rapid.Uint64().Draw(t, "up to")), Cursor: someBytes(t)})
			}
		}
		return o
	},
	"packetid": func(t *rapid.T) fact { return &PacketID{ID: rapid.Uint16Min(1).Draw(t, "id")} },
	"value": func(t *rapid.T) fact {
		v := &Value{Name: someString(t), Gone: someBool(t)}
		if !v.Gone {
			v.Content = someBytes(t)
		}
		return v
	},
	"mark": func(t *rapid.T) fact { return &Mark{Node: someString(t)} },
	"join": func(t *rapid.T) fact {
		return &Join{Group: someID(t), Member: someID(t), Share: someString(t), Real: someString(t), Since: someSeq(t)}
	},
	"leave": func(t *rapid.T) fact { return &Leave{Group: someID(t), Member: someID(t), Stay: someBool(t)} },
	"take": func(t *rapid.T) fact {
		k := &Take{Group: someID(t), Source: someID(t), Part: someSeq(t), Seq: someSeq(t), Below: someSeq(t), Done: someBool(t)}
		if k.Seq != 0 && someBool(t) {
			k.Member, k.Body = someID(t), someBytes(t)
		}
		return k
	},
	"delay": func(t *rapid.T) fact {
		d := &Delay{Owner: someOwner(t), Node: someString(t), Due: rapid.Int64().Draw(t, "due"), By: someToken(t)}
		d.Message = Message{Topic: someBytes(t), Props: someBytes(t), Payload: someBytes(t), QoS: someQoS(t), Retain: someBool(t), ExpiresAt: rapid.Int64().Draw(t, "expires")}
		return d
	},
	"delayend": func(t *rapid.T) fact {
		return &DelayEnd{Due: rapid.Int64().Draw(t, "due"), Seq: store.Seq(rapid.Uint64Min(1).Draw(t, "seq"))}
	},
}

func someToken(t *rapid.T) Token {
	if !someBool(t) {
		return Token{}
	}
	return Token{Shown: true, ID: someString(t), Issued: rapid.Int64().Draw(t, "issued")}
}

func someOwner(t *rapid.T) Owner {
	return Owner{
		Mountpoint: someString(t), Identity: someString(t), ClientID: someString(t), Username: someString(t), Listener: someString(t), Method: someString(t),
		Proof: rapid.Uint64().Draw(t, "proof"), Addr: someAddr(t),
	}
}

// someBytes is nil rather than empty: there is one way to have nothing.
func someBytes(t *rapid.T) []byte {
	if b := rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"); len(b) > 0 {
		return b
	}
	return nil
}

func someString(t *rapid.T) string { return rapid.String().Draw(t, "string") }
func someBool(t *rapid.T) bool     { return rapid.Bool().Draw(t, "bool") }
func someQoS(t *rapid.T) uint8     { return rapid.Uint8Range(0, 2).Draw(t, "qos") }
func someSeq(t *rapid.T) store.Seq { return store.Seq(rapid.Uint64().Draw(t, "seq")) }

func someID(t *rapid.T) FilterID { return FilterID(rapid.Uint64Min(1).Draw(t, "id")) }

func someAddr(t *rapid.T) netip.Addr {
	return rapid.SampledFrom([]netip.Addr{{}, netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fe80::1%eth0"), netip.MustParseAddr("::ffff:192.0.2.1")}).Draw(t, "addr")
}

// settle makes equal what means the same: no filters, however many there is room
// for.
func settle(f fact) fact {
	switch f := f.(type) {
	case *Message:
		if len(f.Filters) == 0 {
			f.Filters = nil
		}
	case *Outbox:
		if len(f.Entries) == 0 {
			f.Entries = nil
		}
	case *Delay:
		settle(&f.Message)
	}
	return f
}

// Every value comes back, also into a value that was used before, and nothing of it
// may be missing or added.
func TestFactsComeBackAndEveryCutIsRefused(t *testing.T) {
	for name, empty := range kinds {
		t.Run(name, func(t *testing.T) {
			used := empty()
			rapid.Check(t, func(t *rapid.T) {
				want := some[name](t)
				b := want.Append([]byte("head"))[4:]
				if err := used.Decode(b); err != nil || !reflect.DeepEqual(settle(used), settle(want)) {
					t.Fatalf("%+v came back as %+v, %v", want, used, err)
				}
				got := empty()
				for i := range b {
					if err := got.Decode(b[:i:i]); !errors.Is(err, ErrFact) {
						t.Fatalf("%x cut to %d bytes: %+v, %v", b, i, got, err)
					}
				}
				if err := got.Decode(append(bytes.Clone(b), 0)); !errors.Is(err, ErrFact) {
					t.Fatalf("%x and one byte more: %+v, %v", b, got, err)
				}
				b[0]++
				if err := got.Decode(b); !errors.Is(err, ErrFact) {
					t.Fatalf("format 2: %+v, %v", got, err)
				}
			})
		})
	}
}

// What was decoded before leaves nothing behind in a value that is used again.
func TestDecodeForgetsWhatWasThere(t *testing.T) {
	full := &Message{Topic: []byte("a"), Props: []byte("b"), Payload: []byte("c"), QoS: 2, Retain: true, Broad: true, ExpiresAt: 1, Filters: []FilterID{1, 2}}
	if err := full.Decode((&Message{}).Append(nil)); err != nil || !reflect.DeepEqual(settle(full), fact(&Message{})) {
		t.Errorf("%+v, %v", full, err)
	}
	box := &Outbox{Cursor: 1, LastID: 2, Entries: []Sent{{Seq: 3, ID: 4}}}
	if err := box.Decode((&Outbox{}).Append(nil)); err != nil || !reflect.DeepEqual(settle(box), fact(&Outbox{})) {
		t.Errorf("%+v, %v", box, err)
	}
}

// What cannot be read back is not written.
func TestAppendPanicsOnTheCallersMistake(t *testing.T) {
	for name, f := range map[string]fact{
		"too many filters":   &Message{Filters: make([]FilterID, FiltersMax+1)},
		"filter 0":           &Message{Filters: []FilterID{0}},
		"QoS 3":              &Message{QoS: 3},
		"subscription to 0":  &Subscription{},
		"sent in two ways":   &Outbox{Entries: []Sent{{Seq: 1, Inline: []byte{1}}}},
		"too many entries":   &Outbox{Entries: make([]Sent, sentMax+1)},
		"packet identifier0": &PacketID{},
		"a delay for some":   &Delay{Message: Message{Filters: []FilterID{1}}},
		"the end of none":    &DelayEnd{},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s was written", name)
				}
			}()
			f.Append(nil)
		}()
	}
}

func TestNamesDependOnTheKeyAndOnEveryPart(t *testing.T) {
	a, b := &Key{1}, &Key{2}
	if a.FilterID("x") != a.FilterID("x") || a.FilterID("x") == a.FilterID("y") || a.FilterID("x") == b.FilterID("x") || a.FilterID("") == 0 {
		t.Error("the id of a filter does not follow from key and filter")
	}
	if got, want := a.FilterID("plant/+/temp"), FilterID(0xd1f0877d69336ea3); got != want {
		t.Errorf("the id of a filter is %#x and was %#x: ids are in files", uint64(got), uint64(want))
	}
	if got, want := fmt.Sprintf("%x", a.SID("m", "i", "c")), "da20b1646989a672b62bbe996e462d38"; got != want {
		t.Errorf("the name of a session is %s and was %s: names are in files", got, want)
	}
	seen := map[store.SID]int{{}: -1}
	for i, sid := range []store.SID{a.SID("m", "i", "c"), b.SID("m", "i", "c"), a.SID("mi", "", "c"), a.SID("m", "ic", ""), a.SID("", "", "")} {
		if other, taken := seen[sid]; taken {
			t.Errorf("session %d has the name of %d", i, other)
		}
		seen[sid] = i
	}
	if a.SID("m", "i", "c") != a.SID("m", "i", "c") {
		t.Error("the name of a session does not follow from its parts")
	}
}
