package config

import (
	"errors"
	"testing"
)

// Whoever has a key nearly right is told what is, and what may stand there.
func TestLacks(t *testing.T) {
	for key, want := range map[string]string{
		"limits.inflight":     "limits.inflight has no value: write a number, 1 to 65535; the default is 32",
		"log.level":           "log.level has no value: write debug, info, warn or error; the default is info",
		"limits.inflght":      "limits.inflght is no key. Did you mean limits.inflight?",
		"limits.publish_rate": "limits.publish_rate is a section. Set its keys one by one; redoubt config explain limits.publish_rate lists them",
		"x\x1b[1m":            `"x\x1b[1m" is no key. The sections are node, log, listeners, limits, mqtt, backends, authn, authz, certificates, flapping, bans, store, enroll, audit, admin, metrics, waivers`,
	} {
		if err := Lacks(key); err == nil || err.Error() != want {
			t.Errorf("%s: %v\nwant %s", key, err, want)
		}
	}
	for i := range table { // no key is without an answer
		if err := Lacks(table[i].Key); err == nil {
			t.Errorf("%s: no answer", table[i].Key)
		}
	}
	var unknown *KeyError
	if err := Known("limits.inflght"); !errors.As(err, &unknown) || unknown.Fault != Unknown {
		t.Errorf("%v", err)
	}
	if err := Known("limits.publish_rate"); err != nil {
		t.Errorf("a section: %v", err)
	}
	if near := NearestKey("limits.inflght", []string{"limits.awaiting_rel", "limits.inflight"}); near != "limits.inflight" {
		t.Errorf("the nearest is %q", near)
	}
}
