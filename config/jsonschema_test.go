package config

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// compiled is our schema, checked against the schema of schemas on the way.
func compiled(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(JSONSchema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("config.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("config.json")
	if err != nil {
		t.Fatal(err)
	}
	if s.DraftVersion != 2020 {
		t.Fatalf("draft %d", s.DraftVersion)
	}
	return s
}

// asJSON is a YAML file as an editor's schema checker sees it.
func asJSON(t testing.TB, text []byte) (any, bool) {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		return nil, false
	}
	b, err := json.Marshal(dates(v))
	if err != nil {
		return nil, false // keys that are no text
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return doc, true
}

// dates turns YAML's dates, which JSON has no type for, back into text.
func dates(v any) any {
	switch x := v.(type) {
	case map[string]any:
		for k := range x {
			x[k] = dates(x[k])
		}
	case []any:
		for i := range x {
			x[i] = dates(x[i])
		}
	case time.Time:
		return x.Format(time.DateOnly)
	}
	return v
}

func TestJSONSchemaAgreesWithTheLoader(t *testing.T) {
	schema := compiled(t)
	valid := []string{
		string(Example()),
		"limits:\n",
		"limits: {packet_bytes: 2097152, connections_total: 5000}",
		"listeners: {edge-1: {protocol: mqtts, bind: ['[::1]:8884'], tls: {certificates: [{cert: a, key: file:b}, {cert: a, key: credential:c}]}}}",
		"metrics: {bind: [':1']}\nwaivers: [{id: P1.4, scope: metrics, reason: behind a firewall, owner: ops, expires: 2026-12-31}]",
		"authn: {chains: {other: [builtin]}}\nlisteners: {mqtts: {authn: other}}",
		"listeners: {mqtts: {mountpoint: 't/${username}/', mqtt: {max_qos: 1, retain: false}}}",
		"mqtt: {rewrite: [{action: all, source: 'a/#', re: 'a/(.*)', dest: 'b/$1'}], auto_subscribe: [{topic: 'a/${clientid}', qos: 1}], sys_interval: 0s}",
	}
	for _, text := range valid {
		if _, err := loadText(text); err != nil {
			t.Errorf("the loader refuses %s: %v", text, err)
		}
		doc, _ := asJSON(t, []byte(text))
		if err := schema.Validate(doc); err != nil {
			t.Errorf("the schema refuses %s: %v", text, err)
		}
	}
	invalid := []string{
		"[]", "x: 1", "limits: {x: 1}", "limits: []", "limits: {inflight: 0}", "limits: {inflight: '5'}", "limits: {packet_bytes: 1MB}",
		"limits: {packet_bytes: null}", "limits: {keep_alive_max: 300}", "limits: {connections_total: many}", "limits: {connections_per_prefix: {'/7': 5}}",
		"limits: {connections_per_prefix: {'/24': 0}}", "log: {level: loud}", "mqtt: {versions: ['3.0']}", "mqtt: {versions: '5.0'}", "mqtt: {retain: 'true'}",
		"listeners: {A: {}}", "listeners: {a__b: {}}", "listeners: {a: {mountpoint: x}}", "listeners: {mqtts: {tls: {certificates: [{cert: a}]}}}",
		"listeners: {mqtts: {tls: {certificates: [{cert: a, key: b}]}}}", "listeners: {mqtts: {bind: [8883]}}", "waivers: [{id: P1.4}]",
		"waivers: [{id: P1.4, scope: metrics, reason: some, owner: ops, expires: soon}]", "authn: {chains: {a: builtin}}", "backup: {}",
		"listeners: {mqtts: {mqtt: {max_qos: 3}}}", "listeners: {mqtts: {mqtt: {versions: ['5.0']}}}", "mqtt: {shared_strategy: local}", "mqtt: {events: [connected]}",
		"mqtt: {rewrite: [{action: all, source: a, re: a}]}", "mqtt: {rewrite: [{action: drop, source: a, re: a, dest: a}]}", "mqtt: {auto_subscribe: [{qos: 1}]}",
		"mqtt: {auto_subscribe: [" + strings.Repeat("{topic: a}, ", 21) + "]}", "mqtt: {server_reference: 'a,b'}",
	}
	for _, text := range invalid {
		if _, err := loadText(text); err == nil {
			t.Errorf("the loader takes %s", text)
		}
		doc, _ := asJSON(t, []byte(text))
		if err := schema.Validate(doc); err == nil {
			t.Errorf("the schema takes %s", text)
		}
	}
}
