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
}

// Own are the rules of one client from one source of authz.order: "claims", or the
// name of the source.
type Own struct {
	Source string
	Rules  []Rule // made by CompileOwn
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
		r.users = setOf(specs[i].Users) // no index sorts these out
	}
	return own, nil
}

// ownBytes is about what a rule's lists hold.
func ownBytes(s *RuleSpec) int {
	const entry = 32 // of a list, whatever is in it
	n := entry * (len(s.Topics) + len(s.Users) + len(s.Clients) + len(s.Addresses) + len(s.QoS))
	for _, t := range s.Topics {
		n += len(t.Filter)
	}
	for _, u := range s.Users {
		n += len(u)
	}
	for _, c := range s.Clients {
		n += len(c)
	}
	return n
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
