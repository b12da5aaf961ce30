package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/redoubtmq/redoubt/config"
)

// fakeSettings remembers what it was asked for and answers fail.
type fakeSettings struct {
	mu    sync.Mutex // guards all below
	asked []string
	fail  error
}

func (f *fakeSettings) Settings() SettingsReport {
	return SettingsReport{Data: []Setting{{Key: "limits.inflight", Value: 32, Text: "32", Origin: "default", Reload: "new connections"}}}
}

func (f *fakeSettings) note(before func(SettingChange), format string, args ...any) (SettingChange, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, fmt.Sprintf(format, args...))
	if f.fail != nil {
		return SettingChange{}, f.fail
	}
	c := SettingChange{Key: "limits.inflight", From: "32", To: "64", Reload: "new connections"}
	before(c)
	return c, nil
}

func (f *fakeSettings) SetSetting(_ context.Context, key, value string, by int, before func(SettingChange)) (SettingChange, error) {
	return f.note(before, "%s=%s by %d", key, value, by)
}

func (f *fakeSettings) UnsetSetting(_ context.Context, key string, by int, before func(SettingChange)) (SettingChange, error) {
	return f.note(before, "%s by %d", key, by)
}

func (f *fakeSettings) AmendSetting(_ context.Context, key, entry string, gone bool, by int, before func(SettingChange)) (SettingChange, error) {
	return f.note(before, "%s %s gone %t by %d", key, entry, gone, by)
}

func (f *fakeSettings) become(err error) (asked []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	asked, f.asked, f.fail = f.asked, nil, err
	return asked
}

// What is set reaches the broker as text with who asked, whatever JSON it was, and is
// in the log with the value before and after.
func TestSettings(t *testing.T) {
	r := newRig(t, nil)
	if s, err := r.client.Settings(t.Context()); err != nil || len(s.Data) != 1 || s.Data[0].Text != "32" {
		t.Errorf("%+v, %v", s, err)
	}
	if c, err := r.client.SetSetting(t.Context(), "limits.inflight", "64"); err != nil || c.To != "64" {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := r.client.UnsetSetting(t.Context(), "limits.inflight"); err != nil || c.Key != "limits.inflight" {
		t.Errorf("%+v, %v", c, err)
	}
	entry := "sha256:00/ff?" // whatever is in it
	if c, err := r.client.AddSettingEntry(t.Context(), "a.b", entry); err != nil || c.To != "64" {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := r.client.RemoveSettingEntry(t.Context(), "a.b", entry); err != nil || c.To != "64" {
		t.Errorf("%+v, %v", c, err)
	}
	for _, body := range []string{`{"value":64}`, `{"value":true}`, `{"value":["5.0","3.1.1"]}`, `{"value":{"/24":7}}`, `{"value":1000000}`} {
		if resp, answer := r.raw(http.MethodPut, "/api/v5/configs/a.b", body); resp.StatusCode != http.StatusOK || !strings.Contains(answer, `"changed":[]`) {
			t.Errorf("%s: %d %s", body, resp.StatusCode, answer)
		}
	}
	uid := os.Getuid()
	want := []string{fmt.Sprintf("limits.inflight=64 by %d", uid), fmt.Sprintf("limits.inflight by %d", uid),
		fmt.Sprintf("a.b %s gone false by %d", entry, uid), fmt.Sprintf("a.b %s gone true by %d", entry, uid)}
	for _, text := range []string{"64", "true", `["5.0","3.1.1"]`, `{"/24":7}`, "1000000"} {
		want = append(want, fmt.Sprintf("a.b=%s by %d", text, uid))
	}
	if asked := r.fake.given.become(nil); !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
	if line := fmt.Sprintf(`"msg":"setting changed by an operator","peer_uid":%d,`, uid); strings.Count(r.log.String(), line) != len(want) || !strings.Contains(r.log.String(), `"key":"limits.inflight","from":"32","to":"64"`) {
		t.Errorf("the log has no line of it:\n%s", r.log.String())
	}
}

func TestSettingsThatAreRefused(t *testing.T) {
	r := newRig(t, nil)
	for want, err := range map[int]error{
		http.StatusNotFound:            &config.KeyError{Key: "a", Fault: config.Unknown, What: "is no key"},
		http.StatusConflict:            &config.KeyError{Key: "a", Fault: config.Pinned, What: "is set at f.yaml:7"},
		http.StatusUnprocessableEntity: &config.KeyError{Key: "a", Fault: config.BelongsToFile, What: "belongs to the file"},
		http.StatusServiceUnavailable:  &NotKeptError{errors.New("the disk is full")},
	} {
		r.fake.given.become(err)
		if _, got := r.client.SetSetting(t.Context(), "a", "1"); status(got) != want || got.Error() != err.Error() {
			t.Errorf("set: %v, want %d %v", got, want, err)
		}
		if _, got := r.client.UnsetSetting(t.Context(), "a"); status(got) != want {
			t.Errorf("unset: %v, want %d", got, want)
		}
	}
	r.fake.given.become(nil)
	for body, want := range map[string]int{`{"value":null}`: 422, `{}`: 422, ``: 400, `{"value":1,"by":0}`: 422} {
		if resp, answer := r.raw(http.MethodPut, "/api/v5/configs/a", body); resp.StatusCode != want {
			t.Errorf("%s: %d %s, want %d", body, resp.StatusCode, answer, want)
		}
	}
	if asked := r.fake.given.become(nil); asked != nil {
		t.Errorf("the broker was asked for %q", asked)
	}
	if strings.Contains(r.log.String(), "setting changed") {
		t.Error("the log has a change that was refused")
	}
}

// Who may only look does not set, and who has another scope does not look.
func TestSettingsByRole(t *testing.T) {
	r := newRig(t, nil)
	mux, _ := newAPI(&Options{Clock: r.clock, Log: r.server.log, Users: BuiltinUsers(r.store), Policy: r.authz, Status: r.fake, Reloader: r.fake, Settings: &r.fake.given})
	for _, c := range []struct {
		who    caller
		method string
		want   int
	}{
		{caller{viewer, allScopes}, http.MethodGet, 200},
		{caller{viewer, allScopes}, http.MethodPut, 403},
		{caller{viewer, allScopes}, http.MethodDelete, 403},
		{caller{administrator, []scope{scopeUsers}}, http.MethodGet, 403},
		{caller{administrator, []scope{scopeUsers}}, http.MethodPut, 403},
		{caller{administrator, []scope{scopeConfig}}, http.MethodPut, 200},
	} {
		target, body := "/api/v5/configs", ""
		if c.method != http.MethodGet {
			target += "/limits.inflight"
		}
		if c.method == http.MethodPut {
			body = `{"value":"64"}`
		}
		req := httptest.NewRequestWithContext(context.WithValue(t.Context(), callerKey{}, c.who), c.method, target, strings.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, req)
		asked := r.fake.given.become(nil)
		if w.Code != c.want || (len(asked) > 0) != (c.want == 200 && c.method != http.MethodGet) {
			t.Errorf("%+v %s: %d %s, asked %q", c.who, c.method, w.Code, w.Body, asked)
		}
	}
}
