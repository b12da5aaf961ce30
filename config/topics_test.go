package config

import (
	"reflect"
	"strings"
	"testing"

	rewriting "github.com/redoubtmq/redoubt/topic/rewrite"
)

// A listener offers what the broker does where its own section does not say, and
// less where it does.
func TestListenersOfferLess(t *testing.T) {
	l := load(t, "mqtt: {max_qos: 1, retain: false}\nlisteners: {mqtts: {mqtt: {max_qos: 0, shared_subscriptions: false}}, a: {protocol: mqtts, bind: [':1']}}")
	for name, want := range map[string]Offer{
		"mqtts": {MaxQoS: 0, WildcardSubscriptions: true},
		"wss":   {MaxQoS: 1, WildcardSubscriptions: true, SharedSubscriptions: true},
		"a":     {MaxQoS: 1, WildcardSubscriptions: true, SharedSubscriptions: true},
	} {
		if got := l.Config.Listeners[name].MQTT; got != want {
			t.Errorf("%s offers %+v, want %+v", name, got, want)
		}
	}
	// A listener that offers nothing at all still has its keys.
	l = load(t, "listeners: {mqtts: {mqtt: {max_qos: 0, retain: false, wildcard_subscriptions: false, shared_subscriptions: false}}}")
	if shown := string(l.YAML(false)); !strings.Contains(shown, "max_qos: 0") {
		t.Errorf("it is not shown:\n%s", shown)
	}
	// From the environment, too, and what is shown loads to the same.
	l, err := loadText("", "REDOUBT_MQTT__MAX_QOS=1", "REDOUBT_LISTENERS__WSS__MQTT__RETAIN=false")
	if err != nil || l.Config.Listeners["wss"].MQTT != (Offer{1, false, true, true}) {
		t.Errorf("%+v, %v", l.Config.Listeners["wss"].MQTT, err)
	}
	again := load(t, string(l.YAML(false)))
	if !reflect.DeepEqual(again.Config, l.Config) {
		t.Error("what is shown is another configuration")
	}
}

// Items start from the defaults of their keys, and rules come out as written.
func TestExtensions(t *testing.T) {
	l := load(t, `mqtt: {auto_subscribe: [{topic: a, qos: 1}, {topic: b, retain_handling: 2, no_local: true}], rewrite: [{action: publish, source: "a/#", re: "^a/(.*)$", dest: "b/$1"}]}`)
	if got, want := l.Config.MQTT.AutoSubscribe, []AutoSubscribe{{Topic: "a", QoS: 1}, {Topic: "b", NoLocal: true, RetainHandling: 2}}; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	rules := l.Config.MQTT.RewriteRules()
	if want := []rewriting.Rule{{Action: rewriting.Publish, Source: "a/#", RE: "^a/(.*)$", Dest: "b/$1"}}; !reflect.DeepEqual(rules, want) {
		t.Errorf("%+v", rules)
	}
	if _, err := rewriting.Compile(rules); err != nil {
		t.Error(err)
	}
	if row := rowOf["mqtt.rewrite"]; row.entries() != rewriting.RulesMax {
		t.Errorf("the table allows %d rules and the room %d", row.entries(), rewriting.RulesMax)
	}
}
