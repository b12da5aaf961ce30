package rules

import (
	"fmt"
	"net/netip"

	"go.yaml.in/yaml/v3"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/mqtt"
)

// test is one entry of the file's own tests.
type test struct {
	node  *yaml.Node
	query Query
	allow bool
}

func (r *reader) readTest(f *file, n *yaml.Node, key string) {
	k := r.fields(n, key, "user", "client", "address", "listener", "cert_common_name", "client_attrs", "publish", "subscribe", "receive", "qos", "retain", "expect")
	if k == nil {
		return
	}
	t := test{node: n}
	if v := k["user"]; v != nil {
		t.query.By.Username = r.text(v, key+".user")
		t.query.By.Identity = t.query.By.Username
	}
	if v := k["client"]; v != nil {
		t.query.By.ClientID = r.text(v, key+".client")
	}
	if v := k["listener"]; v != nil {
		t.query.By.Listener = r.text(v, key+".listener")
	}
	r.readClaims(&t, k, key)
	if v := k["address"]; v != nil {
		if text := r.text(v, key+".address"); text != "" {
			a, err := netip.ParseAddr(text)
			if err != nil {
				r.fail(v, key+".address", "%s is not an address; write for example 10.0.0.1", shown(text))
			}
			t.query.By.Addr = a
		}
	}
	verbs := 0
	for _, verb := range []Verb{Publish, Subscribe, Receive} {
		if v := k[string(verb)]; v != nil {
			verbs++
			t.query.Verb, t.query.Topic = verb, r.text(v, key+"."+string(verb))
		}
	}
	if verbs != 1 {
		r.fail(n, key, "has %d of publish, subscribe and receive; write one, with the topic", verbs)
	} else if text := notATopic(t.query); text != "" {
		// It is denied whatever the rules say, so the test would prove nothing.
		r.fail(k[string(t.query.Verb)], key+"."+string(t.query.Verb), "%s", text)
	}
	if v := k["qos"]; v != nil {
		t.query.QoS = mqtt.QoS(r.number(v, key+".qos", 0, 2))
	}
	if v := k["retain"]; v != nil {
		t.query.Retain = r.flag(v, key+".retain")
		if t.query.Verb != Publish {
			r.fail(v, key+".retain", "is about publishing only; remove it")
		}
	}
	if v := k["expect"]; v == nil {
		r.fail(n, key+".expect", "is missing; write allow or deny")
	} else {
		t.allow = r.word(v, key+".expect", "allow", "deny") == "allow"
	}
	f.tests = append(f.tests, t)
}

// readClaims reads what is known of the client of a test beyond who it is.
func (r *reader) readClaims(t *test, k map[string]*yaml.Node, key string) {
	name, attrs := k["cert_common_name"], k["client_attrs"]
	if name == nil && attrs == nil {
		return
	}
	t.query.By.Claims = &auth.Claims{}
	if name != nil {
		t.query.By.Claims.CommonName = r.text(name, key+".cert_common_name")
	}
	if attrs == nil {
		return
	}
	if attrs.Kind != yaml.MappingNode {
		r.fail(attrs, key+".client_attrs", "is %s; write {NAME: value}", kindOf(attrs))
		return
	}
	t.query.By.Claims.Attrs = map[string]string{}
	for i := 0; i+1 < len(attrs.Content); i += 2 {
		n := attrs.Content[i]
		if !auth.AttrName(n.Value) || n.Kind != yaml.ScalarNode {
			r.fail(n, key+".client_attrs", "%s is no name of an attribute; write letters, digits, _ and -", shown(n.Value))
			continue
		}
		t.query.By.Claims.Attrs[n.Value] = r.text(attrs.Content[i+1], key+".client_attrs."+n.Value)
	}
}

// run judges one test; a surprise refuses the file and names the rule behind it.
func (r *reader) run(p *auth.Policy, i int, t *test) {
	e := Explain(p, t.query)
	if e.Allow == t.allow {
		return
	}
	want := "deny"
	if t.allow {
		want = "allow"
	}
	r.fail(t.node, fmt.Sprintf("tests[%d]", i), "user %s, %s %s: expected %s, but it is %s", shown(t.query.By.Username), t.query.Verb, shown(t.query.Topic), want, e)
}
