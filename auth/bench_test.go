package auth

import (
	"fmt"
	"testing"
)

// thousand is a policy as an operator with many exceptions has it: a rule for each
// of 1,000 users, 20 for everybody, and the grant of one's own devices last.
func thousand(t testing.TB) *Policy {
	var specs []RuleSpec
	for i := range 1000 {
		s := deny(fmt.Sprintf("plant/%d/#", i))
		s.Users = []string{fmt.Sprintf("u%d", i)}
		specs = append(specs, s)
	}
	for i := range 20 {
		specs = append(specs, deny(fmt.Sprintf("devices/+/closed%d", i)))
	}
	return compile(t, append(specs, allow("devices/${username}/#"))...)
}

func BenchmarkDecide(b *testing.B) {
	p, by, a := thousand(b), who("u500", "c1"), Access{Action: Publish, Topic: []byte("devices/u500/temp")}
	b.ReportAllocs()
	for b.Loop() {
		p.Decide(by, a)
	}
}

func BenchmarkDecideCached(b *testing.B) {
	p, by, a := thousand(b), who("u500", "c1"), Access{Action: Publish, Topic: []byte("devices/u500/temp")}
	c := NewCache(1024)
	b.ReportAllocs()
	for b.Loop() {
		c.Decide(p, 1, by, a)
	}
}

// everybodyHas is n built-in rules for everybody, about different topics, and the same
// rules of so many users.
func everybodyHas(b *testing.B, n int) *Policy {
	specs := make([]RuleSpec, n)
	for i := range specs {
		specs[i] = rule(i%2 == 0, fmt.Sprintf("plant/%d/#", i))
		specs[i].File = ""
	}
	book, err := Fill(func(add func(Subject, []RuleSpec) error) error {
		for i := range n {
			if err := add(UserNamed(fmt.Sprintf("u%d", i)), specs[i:i+1]); err != nil {
				return err
			}
		}
		return add(Everybody(), specs)
	})
	if err != nil {
		b.Fatal(err)
	}
	return Compose(Source{Name: SourceRules, Rules: compile(b, deny("closed/#"), allow("devices/${username}/#"))}, Source{Name: SourceBuiltin, Book: book})
}

func BenchmarkDecideOfMany(b *testing.B) {
	for _, n := range []int{10, 1_000, 100_000} {
		p, by := everybodyHas(b, n), who("u8", "c1")
		for what, name := range map[string]string{"first": "devices/u8/temp", "last": fmt.Sprintf("plant/%d/x", n-2), "none": "other/x"} {
			a := Access{Action: Publish, Topic: []byte(name)}
			b.Run(fmt.Sprintf("%d/%s", n, what), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					p.Decide(by, a)
				}
			})
		}
		c, a := NewCache(1024), Access{Action: Publish, Topic: []byte("other/x")}
		b.Run(fmt.Sprintf("%d/cached", n), func(b *testing.B) {
			for b.Loop() {
				c.Decide(p, 1, by, a)
			}
		})
		book := &Book{}
		b.Run(fmt.Sprintf("%d/change", n), func(b *testing.B) {
			for _, part := range p.parts {
				if part.branch != nil && part.by == ofUsers {
					book.users = *part.branch
				}
			}
			for b.Loop() {
				if _, err := book.With(UserNamed("u8"), []RuleSpec{{Allow: true, Publish: true, Topics: []TopicSpec{{Filter: "a"}}}}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
