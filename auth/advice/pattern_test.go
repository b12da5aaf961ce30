package advice

import (
	"testing"

	"github.com/redoubtmq/redoubt/auth"
)

func TestPattern(t *testing.T) {
	by := &auth.Principal{Username: "alice", ClientID: "pump-7"}
	for topic, want := range map[string]string{
		"d/alice/temp": "d/${username}/temp", "d/pump-7/x": "d/${clientid}/x", "alice": "${username}", "a/12/x": "a/+/x", "12/x": "12/x",
		"a/3f2504e0-4f89-41d3-9a0c-0305e82c3301": "a/+", "a/2026-11-29/x": "a/+/x", "a/face/x": "a/face/x", "a/b7/x": "a/b7/x", "a/pump8": "a/pump8",
		"a/+/#": "a/+/#", "$share/g/a/1": "$share/g/a/+", "a//1": "a//+", "a/192.0.2.1": "a/+",
	} {
		if got := Pattern(by, topic); got != want {
			t.Errorf("%s: %s, want %s", topic, got, want)
		}
	}
	odd := &auth.Principal{Username: "+", ClientID: "#"}
	if got := Pattern(odd, "a/+/#"); got != "a/+/#" {
		t.Error(got)
	}
}
