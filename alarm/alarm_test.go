package alarm

import (
	"bytes"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var rewrite = flag.Bool("rewrite", false, "record generated files instead of comparing them")

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func rig() (*Alarms, *bytes.Buffer) {
	var said bytes.Buffer
	return New(slog.New(slog.NewTextHandler(&said, nil))), &said
}

func TestAnAlarmLastsFromItsFirstReason(t *testing.T) {
	a, said := rig()
	a.Raise(noon, CertificateExpiry, "mqtts", "in 30 days")
	a.Raise(noon.Add(time.Minute), CertificateExpiry, "mqtts", "in 30 days")
	a.Raise(noon.Add(time.Hour), CertificateExpiry, "mqtts", "in 14 days")
	if n := strings.Count(said.String(), "msg=alarm "); n != 2 {
		t.Errorf("two reasons were told %d times:\n%s", n, said)
	}
	list := a.Active()
	if len(list) != 1 || list[0].Why != "in 14 days" || !list[0].Since.Equal(noon) {
		t.Errorf("active: %+v, want the newest reason and the first time", list)
	}
	a.Clear(noon.Add(2*time.Hour), CertificateExpiry, "mqtts")
	a.Clear(noon.Add(2*time.Hour), CertificateExpiry, "mqtts")
	if len(a.Active()) != 0 || a.Count(CertificateExpiry) != 0 {
		t.Errorf("a cleared alarm is still there: %+v", a.Active())
	}
	if n := strings.Count(said.String(), "alarm cleared"); n != 1 || !strings.Contains(said.String(), "lasted=2h0m0s") {
		t.Errorf("the end was told %d times:\n%s", n, said)
	}
}

// A person reads how long it lasted in JSON, too.
func TestTheEndOfAnAlarmInJSON(t *testing.T) {
	var said bytes.Buffer
	a := New(slog.New(slog.NewJSONHandler(&said, nil)))
	a.Raise(noon, CertificateExpiry, "mqtts", "x")
	a.Clear(noon.Add(26*time.Second), CertificateExpiry, "mqtts")
	if !strings.Contains(said.String(), `"lasted":"26s"`) {
		t.Error(said.String())
	}
}

func TestAlarmsAreByKindAndSubject(t *testing.T) {
	a, _ := rig()
	a.Raise(noon, CertificateFilesRefused, "wss", "x")
	a.Raise(noon, CertificateExpiry, "wss", "x")
	a.Raise(noon, CertificateExpiry, "mqtts", "x")
	a.Keep(noon, CertificateExpiry, "wss", "other")
	var got []string
	for _, x := range a.Active() {
		got = append(got, x.Kind.Name+" "+x.Subject)
	}
	if want := "certificate_expiry wss,certificate_files_refused wss"; strings.Join(got, ",") != want {
		t.Errorf("active: %v, want %s", got, want)
	}
	if a.Count(CertificateExpiry) != 1 || a.Count(CertificateFilesRefused) != 1 {
		t.Error("the counts do not follow")
	}
}

func TestAlarmsAreBounded(t *testing.T) {
	a, said := rig()
	for i := range activeMax + 10 {
		a.Raise(noon, CertificateExpiry, fmt.Sprint(i), "x")
	}
	if n := len(a.Active()); n != activeMax || a.Count(CertificateExpiry) != activeMax {
		t.Errorf("%d alarms last, the most is %d", n, activeMax)
	}
	if n := strings.Count(said.String(), "too many"); n != 10 {
		t.Errorf("%d of 10 alarms that are not listed were told", n)
	}
}

func TestDocsAreTheCatalogue(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Alarms\n\n" +
		"Generated from `alarm/catalogue.go`; do not edit. To record a change: `go test ./alarm -rewrite`.\n\n" +
		"An alarm lasts as long as what it is about. `redoubt status` lists those of now, with their subject, reason and beginning;\n" +
		"`redoubt_alarms{alarm=\"...\"}` counts them; the log has a line when one begins, changes its reason, or ends.\n\n" +
		"| Alarm | Meaning |\n|---|---|\n")
	for _, k := range Kinds {
		if !regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`).MatchString(k.Name) || !strings.HasSuffix(k.Help, ".") {
			t.Errorf("%q is no name, or its help is no sentence", k.Name)
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", k.Name, k.Help)
	}
	path := filepath.Join("..", "docs", "alarms.md")
	if *rewrite {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != b.String() {
		t.Errorf("docs/alarms.md is stale (%v): go test ./alarm -rewrite", err)
	}
}
