package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/internal/secret"
	"github.com/redoubtmq/redoubt/mqtt"
)

var rewrite = flag.Bool("rewrite", false, "record the texts anew")

const goldenErrors = "testdata/errors.txt"

// TestErrorTexts holds every failure to the words in testdata/errors.txt: the
// name of the case, kind and exit code, then what a person reads.
func TestErrorTexts(t *testing.T) {
	var got bytes.Buffer
	for _, group := range [][]errorCase{networkErrors, fileErrors, tlsErrors, connackErrors, sessionErrors} {
		for _, c := range group {
			var err error
			t.Run(c.name, func(t *testing.T) { err = c.fail(t) })
			var e *Error
			if !errors.As(err, &e) {
				t.Errorf("%s: got %v, which is no *Error", c.name, err)
				continue
			}
			fmt.Fprintf(&got, "# %s\nkind=%s exit=%d\n----\n%s\n\n", c.name, e.Kind, e.ExitCode(), stable(e.Text()))
		}
	}
	if *rewrite {
		if err := os.WriteFile(goldenErrors, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(goldenErrors)
	if err != nil {
		t.Fatal(err)
	}
	compareSections(t, string(want), got.String())
}

// compareSections reports the cases that differ.
func compareSections(t *testing.T, want, got string) {
	t.Helper()
	if want == got {
		return
	}
	known := map[string]bool{}
	for _, s := range strings.Split(want, "\n# ") {
		known[strings.TrimPrefix(strings.TrimSpace(s), "# ")] = true
	}
	for _, s := range strings.Split(got, "\n# ") {
		if s = strings.TrimPrefix(strings.TrimSpace(s), "# "); !known[s] {
			t.Errorf("not as recorded (record with -rewrite, then read the diff):\n%s", s)
		}
	}
	if !t.Failed() {
		t.Error("testdata/errors.txt has other cases than the test: record with -rewrite")
	}
}

// stable replaces what differs from run to run.
func stable(s string) string {
	s = regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAllString(s, "127.0.0.1:PORT")
	s = regexp.MustCompile(`([0-9A-F]{2}:){31}[0-9A-F]{2}`).ReplaceAllString(s, "FINGERPRINT")
	return regexp.MustCompile(`/\S*?/Test[^/ ]*/\d+`).ReplaceAllString(s, "DIR")
}

type errorCase struct {
	name string
	fail func(t *testing.T) error
}

func TestKindsAndExitCodesAreStable(t *testing.T) {
	for kind, code := range exitCodes {
		if got := (&Error{Kind: kind}).ExitCode(); got != code {
			t.Errorf("%s ends with %d", kind, got)
		}
	}
	for _, r := range []mqtt.ReasonCode{mqtt.NotAuthorized, mqtt.BadUserNameOrPassword} {
		if got := (&Error{Kind: KindPublishRefused, Reason: r}).ExitCode(); got != ExitNotAuthorized {
			t.Errorf("%s ends with %d", r, got)
		}
	}
	if got := (&Error{Kind: KindPublishRefused, Reason: mqtt.QuotaExceeded}).ExitCode(); got != ExitFailed {
		t.Errorf("a full quota ends with %d", got)
	}
}

func TestErrorAsJSON(t *testing.T) {
	b, err := json.Marshal(&Error{Kind: KindPublishRefused, What: "w", Details: []string{"d"}, Help: []string{"h"}, Reason: mqtt.NotAuthorized})
	want := `{"kind":"publish_refused","message":"w","details":["d"],"help":["h"],"reason_code":135,"exit_code":5}`
	if err != nil || string(b) != want {
		t.Errorf("got %s (%v), want %s", b, err, want)
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain äöü 日本": "plain äöü 日本",
		"\x1b[31m":     `\x1b[31m`,
		"a\nb\x00":     `a\x0ab\x00`,
		"\xff\xfe":     `\xff\xfe`,
		"\u202eevil":   `\u{202e}evil`,
		"\u0085":       `\u{85}`,
		"�":            "�",
	} {
		if got := Printable(in); got != want {
			t.Errorf("Printable(%q) = %q, want %q", in, got, want)
		}
	}
	if got := Printable(strings.Repeat("ä", 2000)); len(got) > printableMax+len("…") || !strings.HasSuffix(got, "ä…") {
		t.Errorf("a long string became %d bytes ending in %q", len(got), got[len(got)-8:])
	}
}

func TestShellWord(t *testing.T) {
	for in, want := range map[string]string{
		"a/b-1": "a/b-1", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "-x": "'-x'", "plant/#": "'plant/#'", "$(id)": "'$(id)'", "a\nb": `'a\x0ab'`,
	} {
		if got := shellWord(in); got != want {
			t.Errorf("shellWord(%q) = %s, want %s", in, got, want)
		}
	}
}

// The password is in no error, whatever fails.
func TestErrorsHoldNoPassword(t *testing.T) {
	err := refusing(t, mqtt.V5, mqtt.Connack{Reason: mqtt.BadUserNameOrPassword}, func(o *Options) {
		withUser(o)
		o.Password, o.Connect.HasPassword = secret.FromString("canary-4711"), true
	})
	var e *Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	b, _ := json.Marshal(e)
	for _, text := range []string{e.Text(), fmt.Sprintf("%+v %#v", e, e), string(b)} {
		if strings.Contains(text, "canary") {
			t.Errorf("the password is in %s", text)
		}
	}
}
