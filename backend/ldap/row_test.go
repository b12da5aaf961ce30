package ldap

import (
	"slices"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"github.com/redoubtmq/redoubt/backend"
)

// What comes by another name than was asked for may be what denies: no row is made without it.
func TestAttributesByOtherNames(t *testing.T) {
	many := "dc=test?publish" + backend.ManyValues + ":mqttPublishTopic,rule" + backend.ManyValues + ":mqttAclRule?sub"
	one := "dc=test?is_superuser:employeeType,note:description;lang-de?sub"
	allow := &ldap.EntryAttribute{Name: "mqttPublishTopic", Values: []string{"#"}}
	for _, c := range []struct {
		text string
		with []*ldap.EntryAttribute
		want []string // nil: refused
	}{
		{many, []*ldap.EntryAttribute{allow}, []string{"#"}},
		{many, []*ldap.EntryAttribute{allow, {Name: "MQTTACLRULE", Values: []string{"a"}}, {Name: "mqttAclRule", Values: []string{"b"}}}, []string{"#", "a", "b"}},
		{many, []*ldap.EntryAttribute{allow, {Name: "mqttAclRule"}, {Name: "mqttAclRule;range=0-1499", Values: []string{"deny"}}}, nil},
		{many, []*ldap.EntryAttribute{allow, {Name: "mqttAclRule;Range=0-*", Values: []string{"deny"}}}, nil},
		{many, []*ldap.EntryAttribute{allow, {Name: "mqttAclRule;lang-de", Values: []string{"deny"}}}, nil},
		{many, []*ldap.EntryAttribute{allow, {Name: "1.3.6.1.4.1.32473.4", Values: []string{"deny"}}}, nil},
		{one, []*ldap.EntryAttribute{{Name: "employeetype", Values: []string{"0"}}, {Name: "description;LANG-de", Values: []string{"x"}}}, []string{"0", "x"}},
		{one, []*ldap.EntryAttribute{{Name: "employeeType", Values: []string{"1"}}, {Name: "employeeType;x-a", Values: []string{"0"}}}, nil},
		{one, []*ldap.EntryAttribute{{Name: "employeeType", Values: []string{"1"}}, {Name: "EMPLOYEETYPE", Values: []string{"0"}}}, nil},
		{"dc=test?rule" + backend.ManyValues + ":r;range=0-9?sub", []*ldap.EntryAttribute{{Name: "r;range=0-9", Values: []string{"a"}}}, nil},
	} {
		_, columns, err := request(&backend.Question{Text: c.text, Args: []string{"(uid=ann)"}, RowsMax: 1})
		if err != nil {
			t.Fatal(err)
		}
		row, err := rowOf(&ldap.Entry{Attributes: c.with}, columns)
		if c.want == nil {
			if backend.KindOf(err) != backend.Excess {
				t.Errorf("%s: %v %v", c.with[len(c.with)-1].Name, row, err)
			}
			continue
		}
		var got []string
		for _, f := range row {
			got = append(got, f.Value)
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%v: %q, %v", c.with, got, err)
		}
	}
}
