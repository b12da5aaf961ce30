package config

import (
	"strings"
	"testing"
)

func TestParseAdvertised(t *testing.T) {
	for text, want := range map[string]Advertised{
		"mqtt.example.com:8883": {"mqtt.example.com", 8883}, "MQTT.Example.com:443": {"mqtt.example.com", 443}, "broker:1": {"broker", 1},
		"192.0.2.1:8883": {"192.0.2.1", 8883}, "[2001:db8::1]:65535": {"2001:db8::1", 65535}, "0a.1b:8883": {"0a.1b", 8883},
	} {
		if got, err := ParseAdvertised(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"": "no host or no port", ":8883": "no host or no port", "mqtt.example.com": "no host or no port", "mqtt.example.com:": "no port from 1", "a:0": "no port from 1",
		"a:65536": "no port from 1", "a:+1": "no port from 1", "a:mqtts": "no port from 1", "2001:db8::1:8883": "without brackets", "[192.0.2.1]:1": "between its brackets",
		"[fe80::1%eth0]:1": "between its brackets", "192.0.2.300:1": "neither a host name", "a..b:1": "neither a host name", "-a:1": "neither a host name", "a_b:1": "neither a host name",
		"a b:1": "neither a host name", "a\n:1": "neither a host name", strings.Repeat("a.", 127) + "a:1": "neither a host name", "mqtts://a:1": "without brackets",
	} {
		if got, err := ParseAdvertised(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v, want %q", text, got, err, want)
		}
	}
}

func TestAdvertisedInTheFile(t *testing.T) {
	_, err := loadText("listeners:\n  mqtts:\n    advertised: [\"mqtt.example.com\"]\n")
	if err == nil || !strings.Contains(err.Error(), "listeners.mqtts.advertised") {
		t.Errorf("%v", err)
	}
}
