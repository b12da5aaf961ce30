package audit

import (
	"container/list"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/mqtt"
)

// Ref names one refusal: the client gets it in a reason string, the operator's line has
// it, and Recent finds what it stands for. It is random, so that it tells nobody how
// often anybody else is refused; 0 is none.
type Ref uint32

// String is eight hexadecimal digits.
func (r Ref) String() string { return fmt.Sprintf("%08x", uint32(r)) }

// ParseRef reads what String writes.
func ParseRef(s string) (Ref, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(strings.TrimSpace(s), "ref "), 16, 32)
	if err != nil || n == 0 || len(s) > 16 {
		return 0, fmt.Errorf("%q is no reference of a refusal; it has eight hexadecimal digits, such as 7f3a09c2", clip(s))
	}
	return Ref(n), nil
}

func newRef() Ref {
	for {
		if r := Ref(rand.Uint32()); r != 0 { //nolint:gosec // it is a name and no secret
			return r
		}
	}
}

// What Recent keeps: so many refusals of each of so many clients, and as much of
// strangers by their network. At 256 bytes a topic that is some 8 MiB at most. Who has more
// than a share of the places gives up one of his own for the next: an identity can call
// itself by as many client identifiers as it likes.
const (
	recentEach  = 8
	recentWho   = 1024
	recentShare = recentWho / 4
	// recentNameless bounds those of the eight of a network that name nobody: broken packets,
	// which nobody looks for by a name, and which take none from who can be found by his.
	recentNameless = 2
)

// undelivered is the event of a message that its subscriber may not have.
const undelivered = "delivery denied"

// Refusal is one thing that was refused, and why. Text that a client chose is cut to 256
// bytes.
type Refusal struct {
	Ref                Ref
	Event              string    // "publish denied", "CONNECT refused", ...
	First, Last        time.Time // of the same refusal; they differ where Times > 1
	Times              int
	Identity, Username string // as proven; of a stranger what he called himself, and no identity
	ClientID, Listener string
	Assigned           bool // ClientID is ours, another each time
	Address            netip.Addr
	Topic              string // empty where it is not about one
	QoS                mqtt.QoS
	Retain             bool
	Rule, File         string // of the rules; Rule is its text
	Judge
	Line   int
	Reason mqtt.ReasonCode
	Why    string // for the operator, in words
}

// Judge is who refused something: an authenticator, or a rule.
type Judge struct {
	By            string // the authenticator; empty: none did
	Where, RuleID string // of the rule, as auth.Rule has them
}

// same tells whether r is another time of the same thing. Of deliveries the topic does not
// count: others choose it, and with many they would take the places of what the client was
// told a reference of.
func (r *Refusal) same(o *Refusal) bool {
	return r.Event == o.Event && r.Rule == o.Rule && (r.Topic == o.Topic || r.Event == undelivered) && r.QoS == o.QoS && r.Retain == o.Retain && r.Reason == o.Reason && r.Why == o.Why
}

// Recent keeps the last refusals of each client. It is safe for concurrent use; what it
// keeps is in memory only.
type Recent struct {
	mu      sync.Mutex // guards everything below
	shelves [sorts]shelf
}

// sort is whose refusals share places.
type sort uint8

const (
	ofClient   sort = iota // who has proved who he is
	ofStranger             // by his network
	ofProbe                // of redoubt doctor, which would push out clients if it ran often enough
	sorts
)

// subjectOf is who was refused as user.
func (l *Log) subjectOf(user, client string, proven bool) sort {
	switch {
	case l.probe(user, client):
		return ofProbe
	case proven:
		return ofClient
	}
	return ofStranger
}

// shelf is the refusals of one kind of subjects: who was refused last is at the front.
type shelf struct {
	of    map[string]*list.Element
	order list.List
	has   map[string]int // places, by whose they are
}

type subjectsLast struct {
	who   string
	owner string    // identity, of a client who proved it
	kept  []Refusal // in no order; at most recentEach
}

// Add is add of somebody who is no probe's.
func (k *Recent) Add(now time.Time, r Refusal, proven bool) Ref {
	if proven {
		return k.add(now, r, ofClient)
	}
	return k.add(now, r, ofStranger)
}

// add keeps r and answers its reference. Of a client who proved who he is, one that was
// kept already is counted and keeps its reference. Of a stranger each has one of its own:
// if two attempts had the same he would know that they failed alike, and so whether a user
// exists.
func (k *Recent) add(now time.Time, r Refusal, of sort) Ref {
	proven := r.Identity != ""
	client := clientKey(r.Identity, r.ClientID)
	if r.Assigned {
		client = clientKey(r.Identity, "")
	}
	r.Topic, r.ClientID, r.Identity, r.Username, r.Why = clip(r.Topic), clip(r.ClientID), clip(r.Identity), clip(r.Username), clip(r.Why)
	k.mu.Lock()
	defer k.mu.Unlock()
	who := prefixOf(r.Address).String()
	switch {
	case proven:
		who = client
	case of == ofProbe:
		who = clientKey(r.Username, r.ClientID)
	}
	s := k.shelves[of].touch(who, r.Identity)
	if proven {
		for i := range s.kept {
			if s.kept[i].same(&r) {
				s.kept[i].Times++
				s.kept[i].Last = now
				return s.kept[i].Ref
			}
		}
	}
	r.Ref, r.First, r.Last, r.Times = newRef(), now, now, 1
	s.keep(r)
	return r.Ref
}

// keep makes room for r, by forgetting the oldest.
func (s *subjectsLast) keep(r Refusal) {
	oldest, nameless := -1, 0
	for i := range s.kept {
		if s.kept[i].nameless() {
			nameless++
		}
	}
	among := r.nameless() && nameless >= recentNameless
	if len(s.kept) < recentEach && !among {
		s.kept = append(s.kept, r)
		return
	}
	for i := range s.kept {
		if (!among || s.kept[i].nameless()) && (oldest < 0 || s.kept[i].Last.Before(s.kept[oldest].Last)) {
			oldest = i
		}
	}
	s.kept[oldest] = r
}

// nameless tells whether nobody can find r by what its client called itself.
func (r *Refusal) nameless() bool { return r.Identity == "" && r.Username == "" && r.ClientID == "" }

// touch finds or makes the place of somebody, and forgets who was not refused for the
// longest time if there are too many.
func (k *shelf) touch(who, owner string) *subjectsLast {
	if e := k.of[who]; e != nil {
		k.order.MoveToFront(e)
		return e.Value.(*subjectsLast)
	}
	if k.of == nil {
		k.of, k.has = make(map[string]*list.Element), make(map[string]int)
	}
	if k.order.Len() >= recentWho {
		k.forget(owner)
	}
	s := &subjectsLast{who: who, owner: owner}
	k.of[who] = k.order.PushFront(s)
	k.has[owner]++
	return s
}

// forget makes a place for owner: its own oldest if it has more than a share of them.
func (k *shelf) forget(owner string) {
	last := k.order.Back()
	if k.has[owner] > recentShare {
		for last.Value.(*subjectsLast).owner != owner {
			last = last.Prev()
		}
	}
	gone := k.order.Remove(last).(*subjectsLast)
	delete(k.of, gone.who)
	if k.has[gone.owner]--; k.has[gone.owner] == 0 {
		delete(k.has, gone.owner)
	}
}

// clientKey is a key of a client, of few bytes however long its names are: a thousand of
// them are kept.
func clientKey(identity, client string) string {
	key := identity + "\x00" + client
	if len(key) <= textMax {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return "\x00" + string(sum[:]) // no identity begins so
}

// Wanted selects refusals; a zero field means any.
type Wanted struct {
	Ref      Ref
	Username string
	ClientID string
	Address  netip.Addr
}

func (w *Wanted) fits(r *Refusal) bool {
	return (w.Ref == 0 || w.Ref == r.Ref) && (w.Username == "" || clip(w.Username) == r.Username || clip(w.Username) == r.Identity) &&
		(w.ClientID == "" || clip(w.ClientID) == r.ClientID) && (!w.Address.IsValid() || w.Address == r.Address)
}

// List is what is kept of those wanted, the last first, at most most of them.
func (k *Recent) List(w Wanted, most int) []Refusal {
	out := k.those(&w)
	slices.SortFunc(out, func(a, b Refusal) int { return b.Last.Compare(a.Last) })
	return out[:min(len(out), most)]
}

// those are all that fit, in no order: nobody who is refused waits for more than that.
func (k *Recent) those(w *Wanted) (out []Refusal) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range k.shelves {
		for _, e := range k.shelves[i].of {
			for _, r := range e.Value.(*subjectsLast).kept {
				if w.fits(&r) {
					out = append(out, r)
				}
			}
		}
	}
	return out
}

// Recent is what was refused lately.
func (l *Log) Recent() *Recent { return &l.recent }

// denial is a refusal by a rule.
func denial(by *auth.Principal, a *auth.Access, event string, rule *auth.Rule) Refusal {
	return Refusal{
		Event: event, Identity: by.Identity, Username: by.Username, ClientID: by.ClientID, Listener: by.Listener, Address: by.Addr,
		Topic: string(a.Topic), QoS: a.QoS, Retain: a.Retain, Rule: rule.Text, Judge: Judge{Where: rule.Where(), RuleID: rule.ID}, File: rule.File, Line: rule.Line, Reason: mqtt.NotAuthorized,
		Why: "a rule denies it",
	}
}
