package kerberos

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/mqtt"
)

// What a client with a valid key of its own, or a KDC of another mind, could put into a token.
func TestTokensThatAreRefused(t *testing.T) {
	other := Principal{"ELSE.EXAMPLE", []string{"alice"}}
	named := func(s ...string) func(*minted) {
		return func(m *minted) { m.client.Parts, m.who.Parts = s, s }
	}
	for what, c := range map[string]struct {
		change func(*minted)
		want   string // empty: goes on
	}{
		"good":                         {func(*minted) {}, ""},
		"a restriction to skip":        {func(m *minted) { m.restriction, m.confined = adIfRelevant, adIfRelevant }, ""},
		"within the skew, behind":      {func(m *minted) { m.made = "20261129035959Z" }, ""},
		"within the skew, ahead":       {func(m *minted) { m.made, m.begins = "20261129040500Z", "20261129040500Z" }, ""},
		"a restriction":                {func(m *minted) { m.restriction = 8 }, "restriction"},
		"a restriction of the client":  {func(m *minted) { m.confined = 8 }, "restriction"},
		"ahead":                        {func(m *minted) { m.made = "20261129040501Z" }, "away from ours"},
		"behind":                       {func(m *minted) { m.made = "20261129035459Z" }, "away from ours"},
		"a ticket to come":             {func(m *minted) { m.begins = "20261129040501Z" }, "begins at"},
		"a ticket at its end":          {func(m *minted) { m.ends = mintStamp }, "ended at"},
		"fractions of a second":        {func(m *minted) { m.made = "20261129040000.5Z" }, "well-formed"},
		"no such day":                  {func(m *minted) { m.made = "20261331040000Z" }, "well-formed"},
		"a second with too many parts": {func(m *minted) { m.cusec = 1_000_000 }, "well-formed"},
		"a negative part":              {func(m *minted) { m.cusec = -1 }, "well-formed"},
		"an invalid ticket":            {func(m *minted) { m.flags = flagInvalid }, "not valid yet"},
		"another's ticket":             {func(m *minted) { m.who.Parts = []string{"bob"} }, "another client"},
		"another realm's ticket":       {func(m *minted) { m.who.Realm = "ELSE.EXAMPLE" }, "another client"},
		"a realm over no checked way":  {func(m *minted) { m.client, m.who = other, other }, "no KDC has checked"},
		"a realm that is not let in":   {func(m *minted) { m.client, m.who, m.flags = other, other, flagTransitChecked }, "not one of realms"},
		"another checksum":             {func(m *minted) { m.checksum = 16 }, "not of GSSAPI"},
		"not mutual":                   {func(m *minted) { m.gss = 32 }, "mutual"},
		"mutual in one place":          {func(m *minted) { m.options = 0 }, "mutual"},
		"sealed for another use":       {func(m *minted) { m.usage = 7 }, "does not decrypt"},
		"sealed with another key":      {func(m *minted) { m.key = bytes.Repeat([]byte{4}, 32) }, "no key of ours"},
		"a version that is not there":  {func(m *minted) { m.kvno = 3 }, "key version 3"},
		"another service":              {func(m *minted) { m.service.Parts = []string{"mqtt", "other.example"} }, "another service"},
		"another case of it":           {func(m *minted) { m.service.Parts = []string{"mqtt", "Broker.example"} }, "another service"},
		"another realm of it":          {func(m *minted) { m.service.Realm = "ELSE.EXAMPLE" }, "another service"},
		"no name":                      {named(), "several parts"},
		"an empty name":                {named(""), "well-formed"},
		"a slash":                      {named("a/b"), "well-formed"},
		"an at":                        {named("a@b"), "well-formed"},
		"a line feed":                  {named("a\nb"), "well-formed"},
		"not ASCII":                    {named("a\xff"), "well-formed"},
		"too long":                     {named(strings.Repeat("a", nameMax+1)), "well-formed"},
		"too many parts":               {named(strings.Split(strings.Repeat("a", partsMax+1), "")...), "well-formed"},
		"several parts":                {named("robot", "arm"), "several parts"},
		"a plus":                       {named("a+b"), "+ # /"},
		"a number sign":                {named("#"), "+ # /"},
		"a dollar":                     {named("$SYS"), "starts with $"},
	} {
		for etype := range profiles {
			now := mintNow
			m := mint(func(m *minted) { m.etype = etype; c.change(m) })
			if m.key[0] == 4 {
				m.key = m.key[:profiles[etype].keyBytes]
			}
			r := step(mintAcceptor(&now, func(*Options) {}).Begin(&auth.Request{}), m.token())
			if c.want == "" && r.Outcome != auth.Continue || c.want != "" && (r.Outcome != auth.Deny || !strings.Contains(r.Detail, c.want)) {
				t.Errorf("%s, type %d: %v %q, want %q", what, etype, r.Outcome, r.Detail, c.want)
			}
		}
	}
}

// An authenticator counts once for as long as it would be taken, also at the last moment of
// that, and what is full lets nobody in; a realm that is not let in has no place in it.
func TestWhatWasShownIsRemembered(t *testing.T) {
	now := mintNow
	a := mintAcceptor(&now, func(*Options) {})
	first := func(m *minted) auth.Result { return step(a.Begin(&auth.Request{}), m.token()) }
	m := mint(func(m *minted) { m.made, m.ends = "20261129040500Z", "20261129060000Z" })
	if r := first(m); r.Outcome != auth.Continue {
		t.Fatalf("%+v", r)
	}
	for _, later := range []time.Duration{0, time.Minute, Skew, 2*Skew - 1, 2 * Skew} {
		now = mintNow.Add(later)
		if r := first(m); r.Outcome != auth.Deny || !strings.Contains(r.Detail, "a replay") {
			t.Errorf("%v later: %+v", later, r)
		}
	}
	now = mintNow.Add(2*Skew + time.Second)
	if n := a.replays.note(now, "x", [32]byte{}); n != isNew || len(a.replays.seen) != 1 {
		t.Errorf("%v, %d are remembered", n, len(a.replays.seen))
	}

	a = mintAcceptor(&now, func(*Options) {})
	stamp := now.Format(stampForm)
	shown := func(i int, realm string) auth.Result {
		who := Principal{realm, []string{"alice"}}
		return first(mint(func(m *minted) {
			m.made, m.cusec, m.client, m.who, m.flags = stamp, int64(i), who, who, flagTransitChecked
		}))
	}
	for i := range 10 {
		if r := shown(i, "ELSE.EXAMPLE"); r.Outcome != auth.Deny || len(a.replays.seen) != 0 {
			t.Fatalf("%d of a realm that is not let in are remembered: %+v", len(a.replays.seen), r)
		}
	}
	for i := range replaysOfOne {
		if r := shown(i, realm); r.Outcome != auth.Continue {
			t.Fatalf("login %d: %+v", i, r)
		}
	}
	if r := shown(replaysOfOne, realm); r.Outcome != auth.Unavailable || r.Reason != mqtt.ServerBusy {
		t.Errorf("one more: %+v", r)
	}
	for i := len(a.replays.seen); i < replaysMax; i++ {
		a.replays.note(now, string(rune(i)), [32]byte{byte(i), byte(i >> 8), 1})
	}
	if n := a.replays.note(now, "bob", [32]byte{2}); n != isFull || len(a.replays.seen) != replaysMax {
		t.Errorf("%v, %d are remembered", n, len(a.replays.seen))
	}
}

// A ticket that names no version costs so many keys and no more.
func TestKeysThatAreTried(t *testing.T) {
	k := &Keytab{}
	for i := range keytabMax {
		k.keys = append(k.keys, serviceKey{uint32(i), key{aes128SHA1, []byte{byte(i)}}})
	}
	got := k.of(aes128SHA1, 0, false)
	if len(got) != triesMax || got[triesMax-1].bytes[0] != keytabMax-1 {
		t.Errorf("%d keys, the last is %d", len(got), got[len(got)-1].bytes[0])
	}
}
