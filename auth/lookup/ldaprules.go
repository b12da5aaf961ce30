package lookup

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/backend"
)

// ldapRules is a search for the one entry of a client, of which some attributes are rules.
type ldapRules struct{ ldapQuery }

// What an attribute of rules is called in a row. The first three are topic filters that are
// allowed, the last rules in JSON.
const (
	columnPublish   = "publish"
	columnSubscribe = "subscribe"
	columnAll       = "all"
	columnRule      = "rule"
)

// usualRules are the attributes of rules that EMQX has, in small letters.
var usualRules = map[string]string{
	"mqttpublishtopic":      columnPublish,
	"mqttsubscriptiontopic": columnSubscribe,
	"mqttpubsubtopic":       columnAll,
	"mqttaclrule":           columnRule,
}

// LDAPRules reads base?attributes?scope?filter as LDAP does. Its attributes have the names
// that EMQX gives them, or say what they are: publish:devicePublishTopic.
func LDAPRules(text string) (Query, error) {
	q, err := LDAP(text, false)
	if err != nil {
		return nil, err
	}
	l := q.(ldapQuery)
	parts := strings.Split(l.where, "?")
	var columns []string
	for _, attribute := range strings.Split(parts[1], ",") {
		attribute = strings.TrimSpace(attribute)
		column, rest, named := strings.Cut(attribute, ":")
		if !named {
			column, rest = usualRules[strings.ToLower(attribute)], attribute
		}
		if rest == "" || !slices.Contains([]string{columnPublish, columnSubscribe, columnAll, columnRule}, column) {
			return nil, fmt.Errorf("has an attribute %s, which does not say what it allows. Write mqttPublishTopic, mqttSubscriptionTopic, mqttPubSubTopic or mqttAclRule, or put publish:, subscribe:, all: or rule: before the attribute", shown(attribute))
		}
		columns = append(columns, column+backend.ManyValues+":"+rest)
	}
	parts[1] = strings.Join(columns, ",")
	l.where = strings.Join(parts, "?")
	return ldapRules{l}, nil
}

// rowsOfEntry are the rules that the attributes of an entry are. A directory keeps no order
// of the values of an attribute, so none is needed: rules in JSON come first, and where
// there is more than one value of them, all that denies comes before what allows. Only
// within one value is the order the one that was written.
func rowsOfEntry(entry backend.Row) (rows []backend.Row, err error) {
	var written [][]backend.Row
	for _, f := range entry {
		if f.Name != columnRule {
			continue
		}
		of, err := rowsOfJSON(f.Value)
		if err != nil {
			return nil, fmt.Errorf("a value of %s %w", columnRule, err)
		}
		written = append(written, of)
	}
	rows = slices.Concat(written...)
	if len(written) > 1 {
		slices.SortStableFunc(rows, func(a, b backend.Row) int { return denies(b) - denies(a) })
	}
	for _, f := range entry {
		switch f.Name {
		case columnPublish, columnSubscribe, columnAll:
			rows = append(rows, backend.Row{{Name: columnPermission, Value: "allow"}, {Name: columnAction, Value: f.Name}, {Name: columnTopic, Value: f.Value}})
		case columnRule:
		default:
			return nil, fmt.Errorf("the entry has a column %s, which has no meaning", shown(f.Name))
		}
	}
	if len(rows) > auth.OwnMax {
		return nil, fmt.Errorf("the entry has %d rules; at most %d are allowed for one client", len(rows), auth.OwnMax)
	}
	return rows, nil
}

// denies is 1 of a rule that may deny: whatever is not plainly an allow.
func denies(row backend.Row) int {
	for _, f := range row {
		if f.Name == columnPermission && strings.EqualFold(strings.TrimSpace(f.Value), "allow") {
			return 0
		}
	}
	return 1
}

// errTwoEntries is more than one entry for a client.
var errTwoEntries = errors.New("the query answers more than one entry for a client, so nobody knows which counts")
