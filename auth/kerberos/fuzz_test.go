package kerberos

import (
	"bytes"
	"testing"

	"github.com/redoubtmq/redoubt/auth"
)

// Whatever comes is refused, unless it has the ticket and the authenticator of a token of
// ours; and what would be read after a decryption breaks nothing either.
func FuzzToken(f *testing.F) {
	var genuine []request
	for etype := range profiles {
		m := mint(func(m *minted) { m.etype = etype; m.restriction = adIfRelevant })
		q, err := readRequest(m.token())
		if err != nil {
			f.Fatal(err)
		}
		genuine = append(genuine, q)
		f.Add(m.token())
		f.Add(m.ticket())
		f.Add(m.authenticator())
		f.Add(m.sessionKey().wrap(9, []byte{layerNone, 0, 0, 0}))
	}
	f.Add([]byte("\x05\x02\x00\x00\x00\x2e\x00\x01\x00\x01R\x00\x01a\x00\x00\x00\x01\x00\x00\x00\x00\x02\x00\x11\x00\x10aaaaaaaaaaaaaaaa"))
	us, _ := ParsePrincipal(servant)
	f.Fuzz(func(t *testing.T, b []byte) {
		now := mintNow
		e := mintAcceptor(&now, func(*Options) {}).Begin(&auth.Request{})
		if r := step(e, b); len(b) > 0 && r.Outcome == auth.Continue {
			q, err := readRequest(b)
			known := false
			for _, g := range genuine {
				known = known || bytes.Equal(g.ticket.text, q.ticket.text) && bytes.Equal(g.authenticator.text, q.authenticator.text)
			}
			if err != nil || !known || !us.equal(Principal{q.realm, q.parts}) {
				t.Errorf("%x is taken", b)
			}
		} else if r.Outcome == auth.Allow {
			t.Errorf("%x is let in", b)
		}
		if p, _, _, err := readTicket(b); err == nil && (p.client.Realm == "" || profiles[p.session.etype].keyBytes != len(p.session.bytes)) {
			t.Errorf("%x is a ticket of %v", b, p.client)
		}
		_ = (&proven{}).readAuthenticator(b)
		_, _ = ReadKeytab(b, us)
		for etype := range profiles {
			k := mint(func(m *minted) { m.etype = etype }).sessionKey()
			if text, ok := k.unwrap(9, b); ok && len(text) > len(b) {
				t.Errorf("%x holds %x", b, text)
			}
		}
	})
}
