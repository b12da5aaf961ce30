package kerberos

import (
	"crypto/sha256"
	"encoding/binary"
	"io"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/mqtt"
)

// exchange is one conversation: the client's ticket, our proof, an empty message, which
// layers we offer (none), and which the client wants, as whom [RFC 4752 §3.1]. Each comes
// once; one that failed stays so. Only who holds the key in the ticket can say the last.
type exchange struct {
	a     *Authenticator
	req   *auth.Request
	stage stage
	asked bool // an empty first message was answered

	who    string // identity
	proven *proven
	subkey key
	seq    uint64
}

type stage uint8

const (
	wantTicket stage = iota
	wantNothing
	wantLayer
	over
)

// layerNone is the only security layer that is offered and taken: packets are protected by
// TLS, and not by this.
const layerNone = 1

// Step implements auth.Exchange. It answers at once: the work is some microseconds.
func (e *exchange) Step(data []byte, done func(auth.Result)) { done(e.step(data)) }

func (e *exchange) step(data []byte) (r auth.Result) {
	switch at := e.stage; {
	case at == over:
		return deny(mqtt.BadUserNameOrPassword, "the exchange is over")
	case len(data) > TokenBytesMax:
		r = deny(mqtt.BadUserNameOrPassword, "the Kerberos message is too long")
	case at == wantTicket && len(data) == 0 && !e.asked: // a client may wait to be asked [RFC 4422 §5.1]
		e.asked = true
		return auth.Result{Outcome: auth.Continue}
	case at == wantTicket:
		r = e.ticket(data)
	case at == wantNothing:
		r = e.offer(data)
	default:
		r = e.layer(data)
	}
	if r.Outcome != auth.Continue {
		e.stage, e.proven, e.subkey = over, nil, key{}
	}
	return r
}

func refused(err error) auth.Result {
	return deny(mqtt.BadUserNameOrPassword, "the Kerberos token "+err.Error())
}

// ticket verifies the first token and proves us.
func (e *exchange) ticket(data []byte) auth.Result {
	q, err := readRequest(data)
	if err != nil {
		return refused(err)
	}
	now := e.a.o.Now()
	p, err := q.verify(e.a.o.Keys, e.a.o.Principal, now, Skew)
	if err != nil {
		return refused(err)
	}
	if p.ctime.Before(e.a.began.Truncate(1e9)) {
		return auth.Result{Outcome: auth.Unavailable, Reason: mqtt.ServerUnavailable, Detail: "the Kerberos token was made before this process began, so that it may have been shown before: the client has to make another"}
	}
	if e.who, err = e.a.identity(p.client); err == nil {
		err = builtin.CheckName(e.who)
	}
	switch {
	case err != nil:
		return deny(mqtt.NotAuthorized, "the Kerberos principal "+err.Error())
	case !q.mutual:
		return refused(wrongf("does not ask for mutual authentication"))
	case e.req.HasUsername && e.req.Username != "" && e.req.Username != e.who:
		return deny(mqtt.NotAuthorized, "CONNECT and the Kerberos ticket name different users")
	}
	// Only clients who may come in have a place in the memory: those of a realm that is not
	// let in cannot fill it.
	switch e.a.replays.note(now, p.client.String(), sha256.Sum256(q.authenticator.text)) {
	case isReplay:
		return refused(wrongf("was shown before: a replay"))
	case isFull:
		return auth.Result{Outcome: auth.Unavailable, Reason: mqtt.ServerBusy, Detail: "too many Kerberos logins within ten minutes to remember them"}
	}
	var random [64]byte // a subkey, a confounder, a sequence number
	if _, err := io.ReadFull(e.a.o.Random, random[:]); err != nil {
		return auth.Result{Outcome: auth.Unavailable, Reason: mqtt.ServerUnavailable, Detail: "no random bytes for a Kerberos subkey"}
	}
	e.subkey = key{p.session.etype, random[:profiles[p.session.etype].keyBytes:32]}
	seq := binary.BigEndian.Uint32(random[48:]) >> 2
	answer, err := p.reply(e.subkey, seq, random[32:48])
	if err != nil {
		return refused(errForm)
	}
	e.proven, e.seq, e.stage = p, uint64(seq), wantNothing
	return auth.Result{Outcome: auth.Continue, Data: answer}
}

// offer says which layers there are.
func (e *exchange) offer(data []byte) auth.Result {
	if len(data) != 0 {
		return refused(wrongf("has something after its first message, where nothing belongs"))
	}
	e.stage = wantLayer
	return auth.Result{Outcome: auth.Continue, Data: e.subkey.wrap(e.seq, []byte{layerNone, 0, 0, 0})}
}

// layer takes the last message.
func (e *exchange) layer(data []byte) auth.Result {
	text, ok := e.subkey.unwrap(e.proven.seq, data)
	switch {
	case !ok:
		return refused(wrongf("ends with a message that is not signed with the key of the ticket"))
	case len(text) < 4 || text[0] != layerNone || text[1]|text[2]|text[3] != 0:
		return refused(wrongf("asks for a security layer, of which there is none"))
	}
	if as := string(text[4:]); as != "" && as != e.who {
		return deny(mqtt.NotAuthorized, "the Kerberos client asks to act as somebody else")
	}
	return auth.Result{Outcome: auth.Allow, Reason: mqtt.Success, Principal: auth.Principal{
		Identity: e.who, Username: e.who, ClientID: e.req.ClientID, Listener: e.req.Listener,
		Method: e.a.o.Name, Addr: e.req.Addr, Claims: &auth.Claims{Until: e.proven.ends},
	}}
}
