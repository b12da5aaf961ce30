package admin

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/conn"
)

// RefreshRules implements RuleReader.
func (f *fake) RefreshRules(_ context.Context, clientID string) (RefreshReport, error) {
	return RefreshReport{Sources: 1, Asked: len(clientID), Changed: 1}, nil
}

func TestRefreshIsAnsweredAndWrittenDown(t *testing.T) {
	r := newRig(t, nil)
	if _, err := r.client.RefreshRules(t.Context(), "nosuch"); status(err) != http.StatusNotFound || !strings.Contains(err.Error(), "no session") {
		t.Errorf("nobody: %v", err)
	}
	r.fake.crowd.rows = []conn.ClientInfo{client("alice", "pump", 1)}
	got, err := r.client.RefreshRules(t.Context(), "pump")
	if err != nil || got != (RefreshReport{Sources: 1, Asked: 4, Changed: 1}) {
		t.Errorf("%+v, %v", got, err)
	}
	if !strings.Contains(r.log.String(), "rules read again by an operator") {
		t.Error("nothing is written of it")
	}
}
