package auth

import (
	"fmt"
	"time"
)

// OwnMax is how many rules one source may have for one client. They are judged
// without an index, for each new topic the client uses.
const OwnMax = 100

// OwnBytesMax bounds the topic filters, names and addresses of the rules of one
// client from one source, because they are held for as long as it is connected. A
// hundred rules with two filters of ordinary length have a tenth of that.
const OwnBytesMax = 64 << 10

// Claims is what was found out about a client beyond who it is. It is immutable once
// made; nil: nothing.
type Claims struct {
	CommonName string            // of the certificate the listener accepted
	Attrs      map[string]string // client attributes, for ${client_attrs.NAME}
	Rules      []Own             // rules of this client alone, by source
	Superuser  bool
	Until      time.Time // the credential ends then; zero: it does not
	TokenID    string    // jti
	Issued     time.Time // of a token: when it was made, 1970 if it does not say; zero: it was no token

	unproven bool
}

// Own are the rules of one client from one source of authz.order: "claims", or the
// name of the source.
type Own struct {
	Source string
	Rules  []Rule     // made by CompileOwn
	Read   *Freshness // when they were read; nil: they came with authentication
}

// CompileOwn checks and compiles the rules one source has for one client: at most
// OwnMax of them, and OwnBytesMax of what they list. It keeps nothing of the
// caller's slices. The error is a *RuleError, and its values may be text that
// somebody else chose.
func CompileOwn(source string, specs []RuleSpec) (Own, error) {
	if len(specs) > OwnMax {
		return Own{}, &RuleError{Rule: OwnMax, Key: "rules", Reason: fmt.Sprintf("%d rules; at most %d are allowed for one client", len(specs), OwnMax)}
	}
	own := Own{Source: source, Rules: make([]Rule, len(specs))}
	room := OwnBytesMax
	for i := range specs {
		if room -= ownBytes(&specs[i]); room < 0 {
			return Own{}, &RuleError{Rule: i, Key: "rules", Reason: fmt.Sprintf("what the rules list is more than %d bytes", OwnBytesMax)}
		}
		r := &own.Rules[i]
		if err := compileRule(r, &specs[i], i); err != nil {
			err.Rule = i
			return Own{}, err
		}
		r.Source = source
	}
	return own, nil
}

// ownBytes is about what a rule's lists hold.
func ownBytes(s *RuleSpec) int {
	const entry = 32 // of a list, whatever is in it
	n := entry * (len(s.Topics) + len(s.Addresses) + len(s.QoS))
	for _, t := range s.Topics {
		n += len(t.Filter)
	}
	for _, list := range [][]string{s.Users, s.Clients, s.Listeners, s.CommonNames, s.UsersMatch, s.ClientsMatch} {
		n += entry * len(list)
		for _, v := range list {
			n += len(v)
		}
	}
	return n
}

// Unproven are the claims of a client that has proved nothing since the process began:
// its session was read from the disk, which does not know them. No decision about it that
// claims could have changed is sure.
var Unproven = &Claims{unproven: true}

// UnprovenToken is Unproven of a client whose disk knows which token it had shown: it gives
// nothing, and what was sent with it is not believed once that is revoked.
func UnprovenToken(id string, issued time.Time) *Claims {
	return &Claims{unproven: true, TokenID: id, Issued: issued}
}

// Unsure tells whether what was found out about a client is not known: the claims are
// Unproven, or of UnprovenToken.
func (c *Claims) Unsure() bool { return c != nil && c.unproven }

// certified is c with the common name of the certificate that the listener has accepted,
// whatever an authenticator says of it.
func (c *Claims) certified(name string) *Claims {
	if c.Unsure() {
		c = nil // nobody proves that
	}
	if c == nil && name == "" || c != nil && c.CommonName == name {
		return c
	}
	next := &Claims{}
	if c != nil {
		*next = *c
	}
	next.CommonName = name
	return next
}

// setOf answers nil for an empty list, which means any.
func setOf(names []string) map[string]struct{} {
	if len(names) == 0 {
		return nil
	}
	set := make(map[string]struct{}, len(names))
	for _, n := range names {
		set[n] = struct{}{}
	}
	return set
}
