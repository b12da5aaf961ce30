package admin

import (
	"context"
	"strings"
	"testing"
)

// RefreshRules implements RuleReader.
func (f *fake) RefreshRules(_ context.Context, clientID string) (RefreshReport, error) {
	return RefreshReport{Sources: 1, Asked: len(clientID), Changed: 1}, nil
}

func TestRefreshIsAnsweredAndWrittenDown(t *testing.T) {
	r := newRig(t, nil)
	got, err := r.client.RefreshRules(t.Context(), "pump")
	if err != nil || got != (RefreshReport{Sources: 1, Asked: 4, Changed: 1}) {
		t.Errorf("%+v, %v", got, err)
	}
	if !strings.Contains(r.log.String(), "rules read again by an operator") {
		t.Error("nothing is written of it")
	}
}
