package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

// groupMessages are published for a group of which nobody is there.
const groupMessages = 500

// TestKill9Group: two of Mosquitto's clients share a subscription and go. One never comes
// back; the other has all that was published meanwhile and acknowledged, in order, also
// after a kill (§4.8.2).
func TestKill9Group(t *testing.T) { faults(t, true, group) }

func group(t *testing.T, k *killable) {
	jobs := mine("jobs")
	worker := func(id string) *testkit.Process {
		return sub(t, k.Broker, "mqttv5", "$share/workers/"+jobs, "-c", "-x", "3600", "-q", "1", "-i", id)
	}
	for _, id := range []string{"worker-1", "worker-2"} {
		worker(id).Stop()
	}
	var lines strings.Builder
	var want []string
	for n := range groupMessages {
		fmt.Fprintf(&lines, "%d\n", n)
		want = append(want, fmt.Sprint(n))
	}
	r := testkit.Exec(t, 2*patience, lines.String(), testkit.Need(t, "mosquitto_pub"), "-h", "localhost", "-p", port(k.Broker), "--cafile", k.CA(), "-V", "mqttv5",
		"-u", user, "-P", password, "-t", jobs, "-q", "1", "-l")
	if r.Code != 0 {
		t.Fatalf("mosquitto_pub: exit code %d\n%s", r.Code, r.Text())
	}
	k.restart()
	s := worker("worker-2")
	s.Stdout.WaitFor(patience, 0, fmt.Sprintf("got %s %d ", jobs, groupMessages-1))
	if got := payloadsOf(s); !slices.Equal(got, want) {
		t.Errorf("%d messages came; missing is %q", len(got), some(minus(want, got)))
	}
	s.Stop()
}
