package auth

import (
	"slices"
	"testing"
)

// A rule before a source that is read at CONNECT decides whatever that says; what comes after
// it, the last rule included, may have been decided by it.
func TestUnasked(t *testing.T) {
	file, err := Compile([]RuleSpec{{ID: "own", Allow: true, Publish: true, Topics: []TopicSpec{{Filter: "own/#"}}}})
	if err != nil {
		t.Fatal(err)
	}
	p := Compose(Source{Name: SourceRules, Rules: file}, Source{Name: SourceClaims}, Source{Name: SourceBuiltin})
	for _, c := range []struct {
		claims *Claims
		topic  string
		want   []string
	}{
		{nil, "own/x", nil},
		{nil, "other/x", []string{SourceClaims}},
		{&Claims{Rules: []Own{{Source: SourceClaims}}}, "other/x", nil},
		{&Claims{Superuser: true}, "other/x", nil},
	} {
		by := &Principal{Identity: "a", Username: "a", Claims: c.claims}
		if got := p.Unasked(by, p.Decide(by, Access{Action: Publish, Topic: []byte(c.topic)})); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.topic, got, c.want)
		}
	}
	must := Compose(Source{Name: "db"}, Source{Name: SourceRules, Rules: file})
	by := &Principal{Identity: "a", Username: "a"}
	if got := must.Unasked(by, must.Decide(by, Access{Action: Publish, Topic: []byte("own/x")})); !slices.Equal(got, []string{"db"}) {
		t.Errorf("%q", got)
	}
	if got := p.PerClient(); !slices.Equal(got, []string{SourceClaims}) || must.PerClient()[0] != "db" {
		t.Errorf("%q", got)
	}
}
