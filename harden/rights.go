package harden

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/redoubtmq/redoubt/config"
)

// AccessQuestion is one access that the rules in force are asked about.
type AccessQuestion struct {
	User, ClientID, Address string
	Publish                 bool // else subscribe
	Topic                   string
}

// AccessAnswer is what they say, and by which rule.
type AccessAnswer struct {
	Allow bool
	Rule  string // on one line, with where it stands
}

// everything are filters by which somebody reads all there is, or what is the broker's.
var everything = []string{"#", "+/#", "+/+/#", "$SYS/#", "$share/g/#", "$share/g/+/#"}

// nobodies are clients that nobody has heard of, from addresses of every kind: what is let to
// one of them is let to whoever can reach the broker from there.
func nobodies() (all []AccessQuestion) {
	var b [5]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the program instead
	for _, a := range []netip.Addr{
		netip.AddrFrom4([4]byte{127, 0, 0, 1}),
		netip.AddrFrom4([4]byte{10, b[0], b[1], b[2]}), netip.AddrFrom4([4]byte{192, 168, b[0], b[1]}),
		netip.AddrFrom4([4]byte{203, 0, 113, b[3]}), netip.AddrFrom4([4]byte{198, 51, 100, b[4]}),
		netip.MustParseAddr("::1"), netip.MustParseAddr("2001:db8::" + fmt.Sprintf("%x", b[0])), netip.MustParseAddr("fd00::1"),
	} {
		all = append(all, AccessQuestion{User: "probe-" + randomText(), ClientID: "probe-" + randomText(), Address: a.String()})
	}
	return append(all, AccessQuestion{ClientID: "probe-" + randomText(), Address: "203.0.113.7"}) // nobody has said who it is
}

// judgeGrants asks the rules in force, which need not be those of any file, what they let
// somebody whom nobody knows, and lists who may read all there is. one is a user with a grant,
// which the rules must know of: else it is not they who answer.
func (e *Env) judgeGrants(ctx context.Context, one *ProbeUser) Result {
	q := e.inquire("rules")
	const control, want = "what the rules say of the user with a grant (positive control)", "allow"
	a, err := e.Broker.Access(ctx, AccessQuestion{User: one.Name, ClientID: "probe-" + randomText(), Address: "127.0.0.1", Topic: one.Topic + "/#"})
	if err != nil || !a.Allow {
		said := "deny: " + a.Rule
		if err != nil {
			said = shortened(err.Error())
		}
		q.see(API, control, want, said, Unknown)
		return q.result(Behavioural, "")
	}
	q.see(API, control, want, "allow", Pass)
	for _, who := range nobodies() {
		e.asksForAll(ctx, q, who)
	}
	e.listGrants(ctx, q)
	return q.result(Behavioural, "let nobody read all there is who is not named")
}

// asksForAll adds what a client is let do that nobody should be.
func (e *Env) asksForAll(ctx context.Context, q *inquiry, who AccessQuestion) {
	var open []string
	ask := func(publish bool, topic string) (ok bool) {
		who.Publish, who.Topic = publish, topic
		a, err := e.Broker.Access(ctx, who)
		if err != nil {
			q.see(API, "what the rules let a client that nobody knows, from "+who.Address, "nothing of all", shortened(err.Error()), Unknown)
			return false
		}
		if a.Allow {
			verb := "subscribe to " + topic
			if publish {
				verb = "publish to any topic"
			}
			open = append(open, verb+" by "+shortened(a.Rule))
		}
		return true
	}
	for _, f := range everything {
		if !ask(false, f) {
			return
		}
	}
	if !ask(true, "probe-"+randomText()+"/x") || !ask(true, "probe-"+randomText()) {
		return
	}
	what := "what the rules let a client that nobody knows, from " + who.Address
	if who.User == "" {
		what = "what the rules let a client without a name, from " + who.Address
	}
	if len(open) > 0 {
		q.see(API, what, "nothing of all", strings.Join(open, "; "), Fail)
		return
	}
	q.see(API, what, "nothing of all", "nothing", Pass)
}

// topicsOf takes the filters off a rule on one line.
var topicsOf = regexp.MustCompile(`topics: \[(.*?)\]`)

// broad tells whether an allow rule on one line lets somebody read everything.
func broad(rule string) bool {
	rule, ok := strings.CutPrefix(rule, "allow: ")
	if !ok || strings.HasPrefix(rule, "publish") {
		return false
	}
	m := topicsOf.FindStringSubmatch(rule)
	return m != nil && slices.ContainsFunc(everything, func(f string) bool { return strings.Contains(m[1], `"`+f+`"`) })
}

// listGrants lists the rules that give all, and what can make a client one whom no rule binds.
func (e *Env) listGrants(ctx context.Context, q *inquiry) {
	rules, err := e.Broker.Rules(ctx)
	if err != nil {
		q.see(API, "rules that let somebody read everything", "each of them is meant", shortened(err.Error()), Unknown)
		return
	}
	n := 0
	for _, rule := range rules {
		if !broad(rule) {
			continue
		}
		if n++; n <= 20 {
			q.see(API, "a rule lets somebody read everything", "it is meant, and names whom", shortened(rule), Pass)
		}
	}
	q.see(API, "rules that let somebody read everything", "few", fmt.Sprint(n), NotApplicable)
	for name, j := range e.Config.Authn.JWT {
		if j.Superuser == config.Honoured {
			q.see(ReadConfig, "authn.jwt."+name+" makes superusers", "it is meant: no rule binds them", "whoever has a token with that claim", Pass)
		}
	}
	for name := range e.Config.Authn.Lookup {
		q.see(ReadConfig, "authn.lookup."+name+" makes superusers where its answer has is_superuser", "it is meant: no rule binds them", "whoever the table says", Pass)
	}
}
