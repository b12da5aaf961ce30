package main

import (
	"io"
	"log/slog"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/alarm"
	"github.com/redoubtmq/redoubt/metrics"
)

// The series of redoubt_alarms are named in another room than the alarms.
func TestEveryAlarmHasItsSeries(t *testing.T) {
	r, alarms := metrics.New(), alarm.New(slog.New(slog.DiscardHandler))
	for i, kind := range alarm.Kinds {
		r.Gauge(metrics.Alarms.At(i), func() int64 { return alarms.Count(kind) })
	}
	for i, kind := range alarm.Kinds {
		for range i + 1 { // so that two that were exchanged are noticed
			alarms.Raise(time.Time{}, kind, strings.Repeat("x", int(alarms.Count(kind))), "why")
		}
	}
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	page, _ := io.ReadAll(w.Body)
	if n := strings.Count(string(page), "\nredoubt_alarms{"); n != len(alarm.Kinds) {
		t.Errorf("%d alarms have %d series", len(alarm.Kinds), n)
	}
	for i, kind := range alarm.Kinds {
		if want := `redoubt_alarms{alarm="` + kind.Name + `"} ` + strconv.Itoa(i+1) + "\n"; !strings.Contains(string(page), want) {
			t.Errorf("there is no %q on the page: metrics.Alarms and alarm.Kinds have another order, or other names", want)
		}
	}
}

func TestAlarmLine(t *testing.T) {
	a := admin.AlarmStatus{Name: "certificate_expiry", Subject: "mqtts", Why: "in 7 days", Since: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	if got, want := alarmLine(&a), "certificate_expiry (mqtts) since 2026-03-01 12:00:00 UTC: in 7 days"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
