// Package auth answers "who is this?" and "may they?". Authentication is a chain
// of Authenticators; authorization is a Policy: ordered rules compiled once,
// shared by every loop and replaced whole. It opens no file and no socket and
// starts no goroutine; back ends that do are the packages below this one
// (auth/builtin, auth/rules).
//
// Everything here fails closed: the end of a chain denies, an error denies, the
// last rule of every policy denies and no file can remove it, and a rule that
// cannot be understood for a client is read in the way that grants nothing.
//
// Rules: MQTT 5.0 §4.7 topic names and filters, §4.8.2 shared subscriptions,
// §5.4 security; checklist rows P4.1 and P4.2.
package auth

import (
	"net/netip"

	"github.com/redoubtmq/redoubt/internal/secret"
	"github.com/redoubtmq/redoubt/mqtt"
)

// Principal is a client that has proved who it is. Rules are judged against it.
type Principal struct {
	// Identity owns sessions: a session belongs to (Identity, ClientID).
	Identity string
	// Username is the proven user name. An authenticator that did not prove the
	// name leaves it empty; ${username} then never expands.
	Username string
	// ClientID is chosen by the client and proves nothing by itself.
	ClientID string
	Listener string
	// Mountpoint stands before every topic of the client, which does not see it;
	// empty: nothing does.
	Mountpoint string
	// Method is the Name of the authenticator that said Allow.
	Method string
	// Proof names the credential that was accepted, so that whoever lets the client
	// in can ask whether it still is; 0 where the method has no such thing.
	Proof uint64
	// Addr is the remote address; the zero Addr on a unix socket.
	Addr netip.Addr
	// Claims is what else was found out about the client; nil: nothing.
	Claims *Claims
}

// Request is what a CONNECT presents.
type Request struct {
	ClientID, Username, Listener string
	HasUsername, HasPassword     bool
	Password                     secret.Value
	Addr                         netip.Addr
	Port                         uint16 // of the remote address; 0 on a unix socket
	Version                      byte   // protocol level: 3, 4 or 5
	// Known says that whoever it is has proved who he is lately, or has shown a certificate:
	// where checks wait for one another, he need not wait for strangers. It proves nothing.
	Known       bool
	Certificate Certificate
}

// Certificate is one the client has shown and the listener has accepted; the zero
// Certificate: it has shown none.
type Certificate struct {
	Name        string // by the field of it that the listener goes by; the issuer chose it
	Fingerprint string // SHA-256, 64 hexadecimal digits; empty where a proxy has seen it and not we
	CommonName  string // of its subject; empty where it has none
	Subject     string // RFC 2253; empty where a proxy has seen it and not we
}

// Outcome is an authenticator's answer.
type Outcome uint8

// The answers. The zero Outcome is Ignore, which at the end of a chain is Deny.
const (
	Ignore      Outcome = iota // not mine: ask the next one
	Allow                      // proven; Result.Principal says who
	Deny                       // refused; nobody else is asked
	Unavailable                // cannot tell now; refused, and the client may try again
	Continue                   // an Exchange wants another step; Result.Data is for the client
)

// String is the word logs use.
func (o Outcome) String() string {
	switch o {
	case Ignore:
		return "ignore"
	case Allow:
		return "allow"
	case Deny:
		return "deny"
	case Unavailable:
		return "unavailable"
	case Continue:
		return "continue"
	}
	return "invalid outcome"
}

// Result is an Outcome with what the client and the operator are told.
type Result struct {
	Outcome   Outcome
	Principal Principal // valid only with Allow
	// By is the authenticator, or the source of rules, that refuses; empty: the end of the chain.
	By string
	// Proven is who it is that a chain refuses all the same, because what is asked about a
	// client that has proved it cannot be known; nil: nobody has proved anything. It is for
	// what is kept of refusals.
	Proven *Principal
	// Reason is what the client hears. It never tells an unknown user from a
	// wrong password.
	Reason mqtt.ReasonCode
	// Detail is for the operator's log: the true reason, never a credential and
	// never text the client chose.
	Detail string
	// Cached says that something remembered has spared a question or a hash. It is for
	// operators who try a login.
	Cached bool
	// Data is what a step of an Exchange has for the client; nil: nothing.
	Data []byte
}

// Authenticator proves identities. Implementations are safe for concurrent use.
type Authenticator interface {
	// Name is how configuration and Principal.Method call it.
	Name() string
	// Authenticate calls done exactly once, possibly before it returns, possibly
	// later from a goroutine of its own. It never blocks. req belongs to the
	// caller but is not changed until done was called.
	Authenticate(req *Request, done func(Result))
}
