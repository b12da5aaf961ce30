package config

import (
	"reflect"
	"testing"
)

// TestListenersInheritRates: key by key, and a change of everybody's is said once.
func TestListenersInheritRates(t *testing.T) {
	l := load(t, "limits: {publish_rate: {messages: 50, excess: disconnect}, subscribe_rate: {filters: 7}, publish_rate_total: {messages: 900}}\n"+
		"listeners: {mqtts: {limits: {publish_rate: {messages: 0, burst: 9s}, publish_rate_total: {bytes: 1MiB}}}}\n").Config
	own, all := l.Listeners["mqtts"].Limits, l.Listeners["wss"].Limits
	if r := own.PublishRate; r != (PublishRate{Messages: 0, Bytes: l.Limits.PublishRate.Bytes, Burst: Duration(9e9), Excess: ExcessDisconnect}) {
		t.Errorf("mqtts has %+v", r)
	}
	if all.PublishRate != l.Limits.PublishRate || all.SubscribeRate != l.Limits.SubscribeRate || own.SubscribeRate.Filters != 7 {
		t.Errorf("wss has %+v", all)
	}
	if all.PublishRateTotal.Messages != 0 || own.PublishRateTotal.Bytes != 1<<20 {
		t.Errorf("the total of the node is that of a listener: %+v %+v", all.PublishRateTotal, own.PublishRateTotal)
	}
	next := load(t, "limits: {publish_rate: {messages: 60, excess: disconnect}, subscribe_rate: {filters: 7}, publish_rate_total: {messages: 900}}\n"+
		"listeners: {mqtts: {limits: {publish_rate: {messages: 60, burst: 9s}, publish_rate_total: {bytes: 2MiB}}}}\n").Config
	if got := Diff(l, next); !reflect.DeepEqual(got, []Change{
		{"listeners.mqtts.limits.publish_rate.messages", "0", "60", Live, ""},
		{"listeners.mqtts.limits.publish_rate_total.bytes", "1MiB", "2MiB", Live, ""},
		{"limits.publish_rate.messages", "50", "60", Live, ""},
	}) {
		t.Errorf("%v", got)
	}
}
