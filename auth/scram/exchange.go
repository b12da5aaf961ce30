package scram

import (
	"crypto/subtle"
	"encoding/base64"
	"strconv"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/mqtt"
)

// exchange is one conversation: client first, server first, client final, server final.
// Each comes once; a conversation that failed stays so.
type exchange struct {
	m   *mechanism
	req *auth.Request

	asked bool // an empty first step was answered
	over  bool
	first *clientFirst // nil: not there yet
	keys  *Keys
	proof uint64
	known bool
	nonce string // the client's and ours
	said  string // server-first-message
}

// Step implements auth.Exchange. It answers at once.
func (e *exchange) Step(data []byte, done func(auth.Result)) {
	switch {
	case e.over:
		done(e.deny("the exchange is over"))
	case e.first != nil:
		done(e.final(data))
	case data == nil && !e.asked:
		// A client may wait to be asked [RFC 4422 §5.1].
		e.asked = true
		done(auth.Result{Outcome: auth.Continue})
	default:
		done(e.begin(data))
	}
}

func (e *exchange) deny(detail string) auth.Result {
	e.over, e.keys = true, nil
	return auth.Result{Outcome: auth.Deny, Reason: mqtt.BadUserNameOrPassword, Detail: detail}
}

// begin answers client-first-message with server-first-message.
func (e *exchange) begin(data []byte) auth.Result {
	first, wrong := parseFirst(data)
	if wrong != "" {
		return e.deny("the first SCRAM message " + wrong)
	}
	if e.req.HasUsername && e.req.Username != first.name {
		return e.deny("CONNECT and the SCRAM message name different users")
	}
	ours, err := e.m.nonce()
	if err != nil {
		e.over = true
		return auth.Result{Outcome: auth.Unavailable, Reason: mqtt.ServerUnavailable, Detail: "no random bytes for a SCRAM nonce"}
	}
	e.first, e.nonce = first, first.nonce+ours
	e.keys, e.proof, e.known = e.m.keysOf(first.name)
	e.said = "r=" + e.nonce + ",s=" + base64.StdEncoding.EncodeToString(e.keys.Salt[:]) + ",i=" + strconv.Itoa(e.keys.Iterations)
	return auth.Result{Outcome: auth.Continue, Data: []byte(e.said)}
}

// final judges the proof of client-final-message, with the same work whoever the user is.
func (e *exchange) final(data []byte) auth.Result {
	f, wrong := parseFinal(data, e.m.alg.Size())
	switch {
	case wrong != "":
		return e.deny("the last SCRAM message " + wrong)
	case f.header != e.first.header:
		return e.deny("the last SCRAM message has another channel binding than the first")
	case f.nonce != e.nonce:
		return e.deny("the last SCRAM message has another nonce: it is not of this exchange")
	}
	alg, k := e.m.alg, e.keys
	about := e.first.bare + "," + e.said + "," + f.bare
	key := alg.mac(k.Stored, about)
	subtle.XORBytes(key, key, f.proof)
	fits := subtle.ConstantTimeCompare(alg.sum(key), k.Stored) == 1
	verifier := alg.mac(k.Server, about)
	now, proof := e.m.opt.Users.SCRAM(e.first.name, alg)
	switch {
	case !e.known:
		return e.deny("there is no such user, or it has no SCRAM keys (redoubt user passwd NAME --scram)")
	case !fits:
		return e.deny("wrong password: the SCRAM proof does not fit")
	case now == nil || proof != e.proof:
		return e.deny("the user was changed while the password was checked")
	}
	e.over, e.keys = true, nil
	return auth.Result{Outcome: auth.Allow, Reason: mqtt.Success,
		Data: []byte("v=" + base64.StdEncoding.EncodeToString(verifier)),
		Principal: auth.Principal{
			Identity: e.first.name, Username: e.first.name, ClientID: e.req.ClientID, Listener: e.req.Listener,
			Method: e.m.opt.Method, Proof: e.proof, Addr: e.req.Addr,
		}}
}
