package audit

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/advice"
)

// What Differences keeps: so many kinds of differences of each of so many identities. One
// client has its own places and nobody else's; what finds none is counted.
const (
	differEach = 16
	differWho  = 1024
)

// Difference is what a policy that is only tried would have decided otherwise.
type Difference struct {
	Deny      bool // the rules in force allow it and the others would deny it; else the other way round
	Partly    bool // the subscription would stay, and some of its deliveries would not
	Identity  string
	ClientID  string // of the last time
	Event     string // publish, subscribe, receive
	Topic     string // what the topics have in common, with placeholders and +
	Example   string // the last of them
	Rule      Ruled  // that decided
	Candidate Ruled  // that would have
	Times     uint64 // judgements, and not messages: what is remembered is not judged again
	First     time.Time
	Last      time.Time
}

// Ruled is a rule as it is shown.
type Ruled struct {
	ID, Where, Text, File string
	Line                  int
}

func ruled(r *auth.Rule) Ruled { return Ruled{r.ID, r.Where(), r.Text, r.File, r.Line} }

func (d *Difference) same(o *Difference) bool {
	return d.Deny == o.Deny && d.Partly == o.Partly && d.Event == o.Event && d.Topic == o.Topic && d.Rule == o.Rule && d.Candidate == o.Candidate
}

// Differences keeps what a candidate would have decided otherwise. It is safe for concurrent
// use; the zero value has nothing.
type Differences struct {
	mu     sync.Mutex // guards everything below
	of     map[string][]Difference
	deny   uint64
	allow  uint64
	failed uint64
	left   uint64
	since  time.Time
}

// Add counts one judgement that differs.
func (k *Differences) Add(now time.Time, by *auth.Principal, event, topic string, is, would auth.Decision) {
	d := Difference{
		Deny: is.Allow, Partly: is.Allow && would.Allow, Identity: clip(by.Identity), ClientID: clip(by.ClientID), Event: event,
		Topic: clip(advice.Pattern(by, topic)), Example: clip(topic), Rule: ruled(is.Rule), Candidate: ruled(would.Rule), Times: 1, First: now, Last: now,
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if d.Deny {
		k.deny++
	} else {
		k.allow++
	}
	list, known := k.of[d.Identity]
	for i := range list {
		if list[i].same(&d) {
			list[i].Times++
			list[i].Last, list[i].ClientID, list[i].Example = now, d.ClientID, d.Example
			return
		}
	}
	if len(list) >= differEach || !known && len(k.of) >= differWho {
		k.left++
		return
	}
	if k.of == nil {
		k.of = map[string][]Difference{}
	}
	k.of[d.Identity] = append(list, d)
}

// Fail counts a judgement that the candidate could not make.
func (k *Differences) Fail() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failed++
}

// Clear begins anew.
func (k *Differences) Clear(now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.of, k.deny, k.allow, k.failed, k.left, k.since = nil, 0, 0, 0, 0, now
}

// Compared is what was found since.
type Compared struct {
	Since       time.Time
	Deny, Allow uint64 // judgements that would have been the other
	Failed      uint64
	Left        uint64 // that had no place in the list
	Kinds       int    // there are, before List was cut
	List        []Difference
}

// List is what was found, those that happen most often first, at most most kinds of them.
func (k *Differences) List(most int) Compared {
	out := k.all()
	slices.SortFunc(out.List, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(b.Times, a.Times), cmp.Compare(a.Identity, b.Identity), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Event, b.Event))
	})
	out.Kinds = len(out.List)
	out.List = out.List[:min(len(out.List), most)]
	return out
}

// all copies: nobody who publishes waits for more than that.
func (k *Differences) all() Compared {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := Compared{Since: k.since, Deny: k.deny, Allow: k.allow, Failed: k.failed, Left: k.left}
	for _, list := range k.of {
		out.List = append(out.List, list...)
	}
	return out
}
