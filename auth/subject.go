package auth

import (
	"fmt"
	"strings"
)

// needs are the placeholders a rule's topics hold, a bit each.
type needs uint8

const (
	needUser needs = 1 << iota
	needClient
	needHost
	needCert
	needAttr
)

var needOf = [...]needs{ofUser: needUser, ofClient: needClient, ofHost: needHost, ofCert: needCert, ofAttr: needAttr}

// Placeholders are what a topic filter of a rule may hold; NAME stands for letters,
// digits, _ and -.
const Placeholders = "${username}, ${clientid}, ${peerhost}, ${cert_common_name} and ${client_attrs.NAME}"

// attrPrefix is before the name of a client attribute.
const attrPrefix = "client_attrs."

// placeholder reads what stands between ${ and }.
func placeholder(name string) (k kind, attr string, err error) {
	switch name {
	case "username":
		return ofUser, "", nil
	case "clientid":
		return ofClient, "", nil
	case "peerhost":
		return ofHost, "", nil
	case "cert_common_name":
		return ofCert, "", nil
	}
	if attr, ok := strings.CutPrefix(name, attrPrefix); ok && AttrName(attr) {
		return ofAttr, attr, nil
	}
	return 0, "", fmt.Errorf("holds the placeholder ${%s}; there are %s", shorten(name), Placeholders)
}

// AttrNameMax bounds the name of a client attribute.
const AttrNameMax = 64

// AttrName tells whether this may be the name of a client attribute.
func AttrName(s string) bool {
	if s == "" || len(s) > AttrNameMax {
		return false
	}
	for _, c := range []byte(s) {
		if c != '_' && c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

// subject is a principal as the patterns see it.
type subject struct {
	by               *Principal
	userOK, clientOK bool // the name can stand inside one level
	unsure           bool // what is not known of the client could have changed the answer
}

func subjectOf(by *Principal) subject {
	return subject{by: by, userOK: Expandable(by.Username), clientOK: Expandable(by.ClientID)}
}

// perhapsSuper tells whether the client could turn out to be a superuser.
func (s *subject) perhapsSuper() bool { return s.by.Claims.Unsure() && !s.claimless() }

// claimless tells whether the client came by a method of this broker itself, none of which
// brings rules or makes a superuser: what those could say is known of it at any time.
func (s *subject) claimless() bool { return s.by.Method == "builtin" || s.by.Method == "x509" }

// commonName is empty without a certificate.
func (by *Principal) commonName() string {
	if by.Claims == nil {
		return ""
	}
	return by.Claims.CommonName
}

// Expandable tells whether a name or an attribute may stand for its placeholder.
// One that holds a wildcard or a separator, starts with $, or is empty never may
// (A094, A097).
func Expandable(name string) bool {
	return name != "" && name[0] != '$' && !strings.ContainsAny(name, "+#/\x00")
}

// value answers the name the placeholder of a level stands for; ok is false if it never
// expands for this client.
func (s *subject) value(l *level) (name string, ok bool) {
	switch l.kind {
	case ofUser:
		return s.by.Username, s.userOK
	case ofClient:
		return s.by.ClientID, s.clientOK
	case ofCert:
		name = s.by.commonName()
	case ofAttr:
		if s.by.Claims != nil {
			name = s.by.Claims.Attrs[l.attr]
		}
	}
	if s.by.Claims.Unsure() {
		s.unsure = true
	}
	return name, Expandable(name)
}

// isHost compares a level with the client's address, as it is written without a zone and
// not as an IPv4 address in IPv6 form.
func (s *subject) isHost(l *level, text []byte) bool {
	if !s.by.Addr.IsValid() {
		return false
	}
	var room [64]byte
	v := s.by.Addr.Unmap().WithZone("").AppendTo(room[:0])
	if len(text) != len(l.before)+len(v)+len(l.after) {
		return false
	}
	end := len(text) - len(l.after)
	return string(text[:len(l.before)]) == l.before && string(text[len(l.before):end]) == string(v) && string(text[end:]) == l.after
}

// unreadable tells whether some placeholder of the rule never expands for this
// client. What a deny rule then protects cannot be known, so it denies; an allow
// rule simply does not match.
func (r *Rule) unreadable(s *subject) bool {
	n := r.needs
	if n == 0 {
		return false
	}
	if n&(needCert|needAttr) != 0 && s.by.Claims.Unsure() {
		s.unsure = true
		return true
	}
	if n&needUser != 0 && !s.userOK || n&needClient != 0 && !s.clientOK || n&needHost != 0 && !s.by.Addr.IsValid() {
		return true
	}
	if n&needCert != 0 && !Expandable(s.by.commonName()) {
		return true
	}
	return n&needAttr != 0 && r.lacksAttr(s)
}

func (r *Rule) lacksAttr(s *subject) bool {
	for i := range r.topics {
		for j := range r.topics[i].levels {
			l := &r.topics[i].levels[j]
			if l.kind != ofAttr {
				continue
			}
			if _, ok := s.value(l); !ok {
				return true
			}
		}
	}
	return false
}
