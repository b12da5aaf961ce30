package lookup

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/template"
	"github.com/redoubtmq/redoubt/backend"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/mqtt"
)

// SourceOptions make a Source. Name, Backend and Query are needed.
type SourceOptions struct {
	Name    string // in authz.order
	Backend Asker
	Query   Query
	Cache   backend.CacheOptions // for Load; Reload looks at the back end in any case
}

// Source is a source of rules: all that a back end has for one client, in the order of its
// rows. It holds no client; who lets one in asks for the rules and keeps them.
type Source struct {
	opt   SourceOptions
	clock clock.Clock
	rows  *backend.Cache
}

// NewSource starts nothing.
func NewSource(opt SourceOptions, clk clock.Clock) *Source {
	return &Source{opt: opt, clock: clk, rows: backend.NewCache(opt.Cache)}
}

// Name is how authz.order calls it.
func (s *Source) Name() string { return s.opt.Name }

// Forget drops everything that is remembered of answers.
func (s *Source) Forget() { s.rows.Clear() }

// Load answers the rules of a client, which are none if the back end has no rows, or why
// they cannot be known: then nobody may let him in as if there were none. done is called
// exactly once, perhaps before Load returns.
func (s *Source) Load(by *auth.Principal, done func(auth.Own, error)) { s.load(by, true, done) }

// Reload is Load of what the back end has now.
func (s *Source) Reload(by *auth.Principal, done func(auth.Own, error)) { s.load(by, false, done) }

func (s *Source) load(by *auth.Principal, remembered bool, done func(auth.Own, error)) {
	v := template.OfPrincipal(by)
	if !about(s.opt.Query, v) { // no row can be his
		done(auth.Own{Source: s.opt.Name}, nil)
		return
	}
	if err := refused(s.opt.Query, v); err != nil {
		done(auth.Own{}, fmt.Errorf("%s: %w", s.opt.Name, err))
		return
	}
	q := s.opt.Query.Question(v)
	q.RowsMax = auth.OwnMax
	if _, ofEntry := s.opt.Query.(ldapRules); ofEntry {
		q.RowsMax = 2 // two are one too many, and worth saying so
	}
	if _, ofService := s.opt.Query.(*Call); ofService {
		q.Understood = func(rows []backend.Row) error {
			_, err := s.compile(rows)
			return err
		}
	}
	key := s.rows.KeyOf(q)
	if rows, ok := s.rows.Get(s.clock.Now(), key); ok && remembered {
		done(s.compile(rows))
		return
	}
	done = onceOwn(done)
	s.opt.Backend.Ask(by.Addr, q, func(rows []backend.Row, err error) {
		if err != nil { // Rejected too: another value of the question could have found a deny
			done(auth.Own{}, err)
			return
		}
		now := s.clock.Now()
		s.rows.Put(now, key, rows)
		own, err := s.compile(rows)
		own.Read = auth.FreshAt(now)
		done(own, err)
	})
}

// compile makes rules of rows. One that is not understood makes all of them of no use: it
// may have been a deny.
func (s *Source) compile(rows []backend.Row) (auth.Own, error) {
	if _, ok := s.opt.Query.(*Call); ok {
		return rulesOfService(s.opt.Name, rows)
	}
	rows, err := s.rules(rows)
	if err != nil {
		return auth.Own{}, fmt.Errorf("%s: %w", s.opt.Name, err)
	}
	specs := make([]auth.RuleSpec, len(rows))
	for i, row := range rows {
		spec, err := readRule(row)
		if err != nil {
			return auth.Own{}, fmt.Errorf("%s: row %d: %w", s.opt.Name, i+1, err)
		}
		spec.File, spec.Line = s.opt.Name, i+1
		spec.ID = fmt.Sprintf("row %d", i+1)
		specs[i] = spec
	}
	own, err := auth.CompileOwn(s.opt.Name, specs)
	var wrong *auth.RuleError
	switch {
	case errors.As(err, &wrong):
		return auth.Own{}, fmt.Errorf("%s: row %d: %s: %s", s.opt.Name, wrong.Rule+1, wrong.Key, wrong.Problem())
	case err != nil:
		return auth.Own{}, fmt.Errorf("%s: %w", s.opt.Name, err)
	}
	return own, nil
}

// rules are the rows with one rule in each, where a back end keeps them in another shape.
func (s *Source) rules(rows []backend.Row) ([]backend.Row, error) {
	switch q := s.opt.Query.(type) {
	case redisQuery:
		if q.command == "HGETALL" {
			return rowsOfTopics(rows), nil
		}
	case mongoRules:
		var out []backend.Row
		for i, row := range rows {
			of, err := spread(row)
			if err != nil {
				return nil, fmt.Errorf("document %d %w", i+1, err)
			}
			if out = append(out, of...); len(out) > auth.OwnMax {
				return nil, fmt.Errorf("the documents have more than %d rules", auth.OwnMax)
			}
		}
		return out, nil
	case ldapRules:
		switch len(rows) {
		case 0:
			return nil, nil
		case 1:
			return rowsOfEntry(rows[0])
		}
		return nil, errTwoEntries
	}
	return rows, nil
}

// Columns of a rule.
const (
	columnPermission = "permission"
	columnAction     = "action"
	columnTopic      = "topic"
	columnQoS        = "qos"
	columnRetain     = "retain"
	columnAddress    = "ipaddr"
)

// rowsOfTopics are the rows of a hash whose fields are topic filters and whose values are
// what is allowed there.
func rowsOfTopics(rows []backend.Row) (out []backend.Row) {
	for _, row := range rows {
		for _, f := range row {
			out = append(out, backend.Row{{Name: columnPermission, Value: "allow"}, {Name: columnTopic, Value: f.Name}, {Name: columnAction, Value: f.Value}})
		}
	}
	return out
}

func readRule(row backend.Row) (spec auth.RuleSpec, err error) {
	seen := map[string]bool{}
	for _, f := range row {
		if seen[f.Name] {
			return spec, fmt.Errorf("there are two columns %s", shown(f.Name))
		}
		seen[f.Name] = true
		if err := readColumn(&spec, f); err != nil {
			return spec, err
		}
	}
	for _, need := range []string{columnPermission, columnAction, columnTopic} {
		if !seen[need] {
			return spec, fmt.Errorf("column %s is missing", need)
		}
	}
	if spec.Retain != nil && spec.Subscribe {
		return spec, fmt.Errorf("column %s is about publishing only, and %s is not publish", columnRetain, columnAction)
	}
	return spec, nil
}

// readColumn takes one value. Where nothing stands for any, that is said.
func readColumn(spec *auth.RuleSpec, f backend.Field) error {
	value := strings.ToLower(strings.TrimSpace(f.Value))
	switch f.Name {
	case columnPermission:
		switch value {
		case "allow":
			spec.Allow = true
		case "deny":
		default:
			return notUnderstood(f, "allow or deny")
		}
	case columnAction:
		switch value {
		case "publish", "pub":
			spec.Publish = true
		case "subscribe", "sub":
			spec.Subscribe = true
		case "all", "pubsub":
			spec.Publish, spec.Subscribe = true, true
		default:
			return notUnderstood(f, "publish, subscribe or all")
		}
	case columnTopic:
		topic := auth.TopicSpec{Filter: f.Value}
		if text, ok := strings.CutPrefix(f.Value, "eq "); ok {
			topic = auth.TopicSpec{Filter: text, Eq: true}
		}
		if topic.Filter == "" {
			return notUnderstood(f, "a topic filter")
		}
		spec.Topics = []auth.TopicSpec{topic}
	case columnQoS:
		for _, part := range strings.Split(value, ",") {
			switch part = strings.TrimSpace(part); {
			case part == "" && value == "": // any
			case part == "0" || part == "1" || part == "2":
				spec.QoS = append(spec.QoS, mqtt.QoS(part[0]-'0'))
			default:
				return notUnderstood(f, "nothing for any, or 0, 1 and 2 with commas between")
			}
		}
	case columnRetain:
		if value == "" || value == "all" {
			return nil
		}
		yes, err := boolean(f)
		if err != nil {
			return notUnderstood(f, "nothing for any, true or false")
		}
		spec.Retain = &yes
	case columnAddress:
		if value == "" {
			return nil
		}
		p, err := netip.ParsePrefix(value)
		if a, bad := netip.ParseAddr(value); bad == nil && a.Zone() == "" {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			return notUnderstood(f, "nothing for any, an address or a network")
		}
		spec.Addresses = []netip.Prefix{p}
	default:
		return fmt.Errorf("column %s has no meaning; select %s, %s, %s, %s, %s and %s", shown(f.Name), columnPermission, columnAction, columnTopic, columnQoS, columnRetain, columnAddress)
	}
	return nil
}

func notUnderstood(f backend.Field, want string) error {
	return fmt.Errorf("column %s has %s; write %s", f.Name, shown(f.Value), want)
}
