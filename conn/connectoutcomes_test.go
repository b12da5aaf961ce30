package conn

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/bans"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/listener"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/topic/template"
)

// outcome is one way in which a CONNECT ends.
type outcome struct {
	name   string
	only   []mqtt.Version // nil: all
	change func(*connectMatrix, *mqtt.Connect)
	bytes  func(connect []byte) []byte      // what is sent in its place
	set    func(*broker.Settings)           // in force meanwhile
	before func(*connectMatrix)             // what is there when it comes
	links  func(*connectMatrix) []auth.Link // of the chain; nil: users and passwords
	early  bool                             // the answer is there at once
	terse  bool                             // no reference has room in it

	// meanwhile happens after the chain has its answer and before the client hears of it.
	meanwhile func(*connectMatrix)

	want   mqtt.ReasonCode // of 5.0; noPacket: closed without an answer
	three  byte            // return code of 3.1 and 3.1.1
	counts metrics.ID      // who it is was judged so; 0: it was proved
	why    string          // in what the operator finds
}

// silence is where a version has no word for it.
const silence = 0xFF

var (
	five  = []mqtt.Version{mqtt.V5}
	three = []mqtt.Version{mqtt.V31, mqtt.V311}
)

// answers is a chain of one that answers so, and one that would let everybody in.
func answers(results ...auth.Result) func(*connectMatrix) []auth.Link {
	return func(m *connectMatrix) []auth.Link {
		return []auth.Link{{Authenticator: gate{says(results), m.waits}}, {Authenticator: says{{Outcome: auth.Allow, Principal: auth.Principal{Identity: "alice", Username: "alice"}}}}}
	}
}

// proves is a chain of one that lets everybody in as the victim, with these claims.
func proves(c *auth.Claims) func(*connectMatrix) []auth.Link {
	return answers(auth.Result{Outcome: auth.Allow, Principal: auth.Principal{Identity: "alice", Username: "alice", Claims: c}})
}

func shutsOut(as bans.As, who string) func(*connectMatrix) {
	return func(m *connectMatrix) {
		ban := &bans.Ban{As: as, Who: who, By: "the test"}
		if err := ban.Check(); err != nil {
			m.t.Fatal(err)
		}
		m.shut.SetFile([]*bans.Ban{ban})
		m.undo = append(m.undo, func() { m.shut.SetFile(nil) })
	}
}

func will(change func(*mqtt.Will)) func(*connectMatrix, *mqtt.Connect) {
	return func(_ *connectMatrix, p *mqtt.Connect) { change(p.Will) }
}

// outcomesOfMatrix are those of TestConnectMatrix. The first is let in.
var outcomesOfMatrix = []outcome{
	{name: "allow", change: func(_ *connectMatrix, p *mqtt.Connect) { p.ClientID = "own" }},

	// Refused by who judges passwords: the client is told the same of all of them.
	{name: "wrong-password", change: func(m *connectMatrix, p *mqtt.Connect) { p.Password = m.other },
		want: mqtt.BadUserNameOrPassword, three: 4, counts: metrics.AuthnFailureCredentials, why: "wrong password"},
	{name: "unknown-user", change: func(_ *connectMatrix, p *mqtt.Connect) { p.Username = "nobody" },
		want: mqtt.BadUserNameOrPassword, three: 4, counts: metrics.AuthnFailureCredentials, why: "there is no such user"},
	{name: "empty-name", change: func(_ *connectMatrix, p *mqtt.Connect) { p.Username = "" },
		want: mqtt.BadUserNameOrPassword, three: 4, counts: metrics.AuthnFailureCredentials, why: "there is no such user"},
	{name: "empty-password", change: func(_ *connectMatrix, p *mqtt.Connect) { p.Password = nil },
		want: mqtt.BadUserNameOrPassword, three: 4, counts: metrics.AuthnFailureCredentials, why: "no password was given"},
	{name: "no-password", change: func(_ *connectMatrix, p *mqtt.Connect) { p.HasPassword, p.Password = false, nil },
		want: mqtt.BadUserNameOrPassword, three: 4, counts: metrics.AuthnFailureNoCredentials, why: "no password was given"},
	{name: "nobody", change: func(_ *connectMatrix, p *mqtt.Connect) {
		p.HasPassword, p.Password, p.HasUsername, p.Username = false, nil, false, ""
	}, want: mqtt.BadUserNameOrPassword, three: 4, counts: metrics.AuthnFailureNoCredentials, why: "no password was given"},
	{name: "password-alone", only: five, change: func(_ *connectMatrix, p *mqtt.Connect) { p.HasUsername, p.Username = false, "" },
		want: mqtt.BadUserNameOrPassword, counts: metrics.AuthnFailureCredentials, why: "without a user name"},

	// Refused by the chain.
	{name: "end-of-chain", links: func(m *connectMatrix) []auth.Link { return []auth.Link{{Authenticator: gate{says{{}}, m.waits}}} },
		want: mqtt.BadUserNameOrPassword, three: 4, counts: metrics.AuthnFailureCredentials, why: "no authenticator of the chain knows"},
	{name: "unreachable", links: answers(auth.Result{Outcome: auth.Unavailable, Detail: "the back end is down"}),
		want: mqtt.ServerUnavailable, three: 3, counts: metrics.AuthnUnavailableBackend, why: "the back end is down"},
	{name: "busy", links: answers(auth.Result{Outcome: auth.Unavailable, Reason: mqtt.ServerBusy, Detail: "too many wait"}),
		want: mqtt.ServerBusy, three: 3, counts: metrics.AuthnUnavailableBusy, why: "too many wait"},
	{name: "not-authorized", links: answers(auth.Result{Outcome: auth.Deny, Detail: "disabled"}),
		want: mqtt.NotAuthorized, three: 5, counts: metrics.AuthnFailureCredentials, why: "disabled"},
	{name: "no-identity", links: answers(auth.Result{Outcome: auth.Allow, Principal: auth.Principal{Username: "alice"}}),
		want: mqtt.NotAuthorized, three: 5, counts: metrics.AuthnFailureCredentials, why: "without an identity"},
	{name: "no-such-answer", links: answers(auth.Result{Outcome: 99, Principal: auth.Principal{Identity: "alice"}}),
		want: mqtt.NotAuthorized, three: 5, counts: metrics.AuthnFailureCredentials, why: "an answer that does not exist"},
	{name: "half-an-exchange", links: answers(auth.Result{Outcome: auth.Continue, Data: []byte("go on"), Principal: auth.Principal{Identity: "alice"}}),
		want: mqtt.NotAuthorized, three: 5, counts: metrics.AuthnFailureCredentials, why: "an answer that does not exist"},
	{name: "two-answers", links: func(m *connectMatrix) []auth.Link {
		return []auth.Link{{Authenticator: twice{m.waits}}}
	}, want: mqtt.NotAuthorized, three: 5, counts: metrics.AuthnFailureCredentials, why: "the first answer"},
	{name: "condition", early: true, links: func(*connectMatrix) []auth.Link {
		when := func(*auth.Request) (bool, error) { return true, errors.New("not known of this client") }
		return []auth.Link{{Authenticator: passwords{}, When: when}, {Authenticator: says{{Outcome: auth.Allow, Principal: auth.Principal{Identity: "alice"}}}}}
	}, want: mqtt.NotAuthorized, three: 5, counts: metrics.AuthnFailureCredentials, why: "cannot be judged for this client"},
	{name: "no-chain", early: true, links: func(*connectMatrix) []auth.Link { return nil },
		want: mqtt.NotAuthorized, three: 5, counts: metrics.AuthnFailureCredentials, why: "names no authentication chain"},
	{name: "empty-chain", early: true, links: func(*connectMatrix) []auth.Link { return []auth.Link{} },
		want: mqtt.BadUserNameOrPassword, three: 4, counts: metrics.AuthnFailureCredentials, why: "no authenticator of the chain knows"},

	// Proved, and refused all the same.
	{name: "banned-user", before: shutsOut(bans.Username, "alice"), want: mqtt.Banned, three: 5, why: "banned: username"},
	{name: "banned-client", before: shutsOut(bans.ClientID, "phone"), want: mqtt.Banned, three: 5, why: "banned: clientid"},
	{name: "banned-meanwhile", meanwhile: shutsOut(bans.Username, "alice"), want: mqtt.Banned, three: 5, why: "banned: username"},
	{name: "deleted-meanwhile", meanwhile: func(m *connectMatrix) {
		m.deleted.Store(true)
		m.undo = append(m.undo, func() { m.deleted.Store(false) })
	}, want: mqtt.BadUserNameOrPassword, three: 4, why: "the user was deleted"},
	{name: "expired-meanwhile", links: proves(&auth.Claims{Until: time.Unix(1, 0)}), want: mqtt.NotAuthorized, three: 5, why: "the credential has expired"},
	{name: "kept-out-meanwhile", meanwhile: func(m *connectMatrix) {
		before := m.entrance.Access.Load()
		m.entrance.Access.Store(listener.NewAccess([]listener.AccessRule{{Network: netip.MustParsePrefix("0.0.0.0/0"), Text: "deny all"}}))
		m.undo = append(m.undo, func() { m.entrance.Access.Store(before) })
	}, want: mqtt.NotAuthorized, three: 5, why: "an access rule: deny all"},
	{name: "removed-meanwhile", meanwhile: func(m *connectMatrix) {
		m.entrance.Gone.Store(true)
		m.undo = append(m.undo, func() { m.entrance.Gone.Store(false) })
	}, want: mqtt.ServerUnavailable, three: 3, why: "its listener was removed"},
	{name: "no-place", change: func(_ *connectMatrix, p *mqtt.Connect) { p.ClientID = "a/#" }, set: func(s *broker.Settings) {
		place, err := template.ParseMountpoint("at/${clientid}/")
		if err != nil {
			panic(err)
		}
		s.Entrances = map[string]*broker.Entrance{"test": {Offer: s.Offer, Mountpoint: place}}
	}, want: mqtt.NotAuthorized, three: 5, why: "no mountpoint"},
	{name: "bad-number", links: proves(&auth.Claims{Attrs: map[string]string{"most": "many"}}), set: func(s *broker.Settings) { s.MostAttribute = "most" },
		want: mqtt.NotAuthorized, three: 5, why: "which is no number"},

	// Its will.
	{name: "will-denied", change: will(func(w *mqtt.Will) { w.Topic = "denied/x" }), want: mqtt.NotAuthorized, three: 5, why: "the rules deny the will"},
	{name: "will-to-sys", change: will(func(w *mqtt.Will) { w.Topic = "$SYS/broker/version" }), want: mqtt.NotAuthorized, three: 5, why: "the rules deny the will"},
	{name: "will-delayed", change: will(func(w *mqtt.Will) { w.Topic = "$delayed/1/" + w.Topic }), want: mqtt.TopicNameInvalid, three: silence, why: "Will Delay Interval"},
	{name: "will-wildcard", change: will(func(w *mqtt.Will) { w.Topic += "/#" }), early: true, want: mqtt.TopicNameInvalid, three: silence},
	{name: "will-qos", set: func(s *broker.Settings) { s.Offer.MaxQoS = 0 }, want: mqtt.QoSNotSupported, three: 5, why: "mqtt.max_qos"},
	{name: "will-retained", set: func(s *broker.Settings) { s.Offer.RetainAvailable = false }, want: mqtt.RetainNotSupported, three: 5, why: "mqtt.retain"},

	// Limits.
	{name: "same-client", set: func(s *broker.Settings) { s.Newcomers.Refuse = true }, want: mqtt.QuotaExceeded, three: 3, why: "limits.same_client"},
	{name: "identity-full", change: asOther, set: func(s *broker.Settings) { s.Newcomers.Most = 1 }, want: mqtt.QuotaExceeded, three: 3, why: "limits.connections_per_identity"},
	{name: "sessions-full", change: asOther, set: func(s *broker.Settings) { s.SessionsTotal = 3 }, want: mqtt.QuotaExceeded, three: 3, why: "limits.sessions_total"},
	{name: "taken-over-too-often", change: func(m *connectMatrix, p *mqtt.Connect) { p.ClientID = fmt.Sprint("war", m.n) }, set: func(s *broker.Settings) { s.Takeovers = 1 },
		before: func(m *connectMatrix) {
			m.broker.SetChains(map[string]*auth.Chain{"default": auth.NewChain(passwords{})})
			m.connect(mqtt.V5, fmt.Sprint("alice/war", m.n))
			last := m.connect(mqtt.V5, fmt.Sprint("alice/war", m.n))
			m.undo = append(m.undo, func() { // who has it keeps it
				last.pings()
				last.send((&mqtt.Disconnect{}).Append(nil, mqtt.V5, 0))
				m.becomes("connections", 3, m.connections)
			})
		}, want: mqtt.ConnectionRateExceeded, three: 3, why: "taken over too often"},
	{name: "no-room-for-connack", only: five, terse: true, change: func(_ *connectMatrix, p *mqtt.Connect) { p.MaximumPacketSize = 10 }, want: mqtt.PacketTooLarge, why: "CONNACK is over"},

	// Refused before anybody is asked.
	{name: "long-id", early: true, change: func(_ *connectMatrix, p *mqtt.Connect) { p.ClientID = strings.Repeat("x", 257) },
		want: mqtt.ClientIdentifierNotValid, three: 2, why: "limits.client_id_bytes"},
	{name: "no-id", early: true, only: three, change: func(_ *connectMatrix, p *mqtt.Connect) { p.ClientID, p.CleanStart = "", false }, three: 2, want: mqtt.ClientIdentifierNotValid},
	{name: "version-off", early: true, set: func(s *broker.Settings) { s.Versions = nil }, want: mqtt.UnsupportedProtocolVersion, three: 1, why: "mqtt.versions"},
	{name: "reserved-flag", early: true, bytes: func(b []byte) []byte { return flagged(b, 1) }, want: mqtt.MalformedPacket, three: silence},
	{name: "cut", early: true, bytes: func(b []byte) []byte { return append([]byte{0x10, 12}, b[bodyAt(b):bodyAt(b)+12]...) }, want: mqtt.MalformedPacket, three: silence},
	{name: "data-without-method", early: true, only: five, change: func(_ *connectMatrix, p *mqtt.Connect) {
		p.HasAuthMethod, p.AuthMethod, p.AuthData = true, "M", []byte("x")
	},
		bytes: func(b []byte) []byte { // two properties that mean nothing here, of the length of the method's
			return bytes.Replace(b, []byte{0x15, 0, 1, 'M'}, []byte{0x17, 1, 0x19, 1}, 1)
		}, want: mqtt.ProtocolError},
	{name: "password-alone-3", early: true, only: three, change: func(_ *connectMatrix, p *mqtt.Connect) { p.HasUsername, p.Username = false, "" }, want: mqtt.MalformedPacket, three: silence},
	{name: "no-such-method", early: true, only: five, change: func(_ *connectMatrix, p *mqtt.Connect) { p.AuthMethod, p.HasAuthMethod = "NOSUCH", true },
		want: mqtt.BadAuthenticationMethod, counts: metrics.AuthnFailureMethod, why: "no such authentication method"},
}

func asOther(_ *connectMatrix, p *mqtt.Connect) { p.ClientID = "other" }

// bodyAt is where the body of a CONNECT begins, whose length has a byte or two.
func bodyAt(connect []byte) int { return 2 + int(connect[1]>>7) }

// flagged sets a bit of the connect flags, which are behind the protocol's name and level.
func flagged(connect []byte, bit byte) []byte {
	at := bodyAt(connect)
	connect[at+2+int(connect[at+1])+1] |= bit
	return connect
}

// twice is an authenticator that refuses, and says the opposite afterwards.
type twice struct{ waits chan func() }

func (twice) Name() string { return "twice" }
func (w twice) Authenticate(_ *auth.Request, done func(auth.Result)) {
	w.waits <- func() {
		done(auth.Result{Outcome: auth.Deny, Detail: "the first answer"})
		done(auth.Result{Outcome: auth.Allow, Principal: auth.Principal{Identity: "alice", Username: "alice"}})
	}
}
