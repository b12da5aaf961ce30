package admin

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/broker"
	"github.com/redoubtmq/redoubt/conn"
	"github.com/redoubtmq/redoubt/limit"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

// fakeClients are sessions in a slice: a place is an index.
type fakeClients struct {
	mu     sync.Mutex // guards all below
	rows   []conn.ClientInfo
	subs   []broker.SubscriptionInfo
	want   broker.Selection // of the last question
	wants  broker.SubscriptionSelection
	limit  int
	err    error
	ended  []broker.Ref
	policy *auth.Authorizer
}

func (f *fakeClients) Clients(_ context.Context, at *conn.Place, want *broker.Selection, limit int) (rows []conn.ClientInfo, done bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.want, f.limit = *want, limit
	for ; int(at.Slot) < len(f.rows) && len(rows) < limit; at.Slot++ {
		c := f.rows[at.Slot]
		if (want.ClientID == "" || want.ClientID == c.Key.ClientID) && (want.Identity == nil || *want.Identity == c.Key.Identity) && (want.Mountpoint == nil || *want.Mountpoint == c.Key.Mountpoint) {
			rows = append(rows, c)
		}
	}
	return rows, int(at.Slot) >= len(f.rows), f.err
}

func (f *fakeClients) Subscriptions(_ context.Context, at *conn.Place, want *broker.SubscriptionSelection, limit int) (rows []broker.SubscriptionInfo, done bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wants = *want
	for ; int(at.Slot) < len(f.subs) && len(rows) < limit; at.Slot++ {
		rows = append(rows, f.subs[at.Slot])
	}
	return rows, int(at.Slot) >= len(f.subs), f.err
}

func (f *fakeClients) EndSession(_ context.Context, loop int, ref broker.Ref) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = append(f.ended, ref)
	return loop == 3, f.err
}

type fakeLevel struct {
	mu    sync.Mutex // guards all below
	level string
	pin   string
}

func (f *fakeLevel) LogLevel() LogLevelReport {
	f.mu.Lock()
	defer f.mu.Unlock()
	return LogLevelReport{Level: f.level, Pinned: f.pin != "", Origin: f.pin}
}

func (f *fakeLevel) SetLogLevel(level string, before func(LogLevelReport)) error {
	from := f.LogLevel()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pin != "" {
		return &PinnedError{"log.level", f.pin}
	}
	before(from)
	f.level = level
	return nil
}

// hostile is a name that forges lines, steers terminals and breaks out of markup.
const hostile = "<img src=x onerror=alert(1)>\n\x1b[2J\"}],\u202e"

func client(identity, id string, slot uint32) conn.ClientInfo {
	return conn.ClientInfo{
		SessionInfo: broker.SessionInfo{
			Key: session.Key{Identity: identity, ClientID: id}, Ref: broker.Ref{Slot: slot, Gen: 1},
			By:    auth.Principal{Identity: identity, Username: identity, ClientID: id, Listener: "mqtts", Addr: netip.MustParseAddr("192.0.2.7")},
			Rates: spending(),
			Info:  session.Info{Online: true, Version: mqtt.V5, ExpirySeconds: 60, HasWill: true, WillTopic: "w", Subscriptions: 2, Dropped: session.Drops{QueueFull: 3, TooLarge: 1}},
		},
		Loop: 3, At: t0,
		Connection: conn.Connection{From: netip.MustParseAddrPort("192.0.2.7:4711"), Since: t0, KeepAlive: time.Minute, CleanStart: true, Paused: conn.Paused{Until: t0.Add(time.Second), Unread: true},
			TLS: conn.Agreed{Version: "TLS 1.3", Suite: "TLS_AES_128_GCM_SHA256", Group: "X25519"}},
	}
}

// spending is of a client that subscribes over its rate.
func spending() broker.Spending {
	s := broker.Spending{Filters: limit.Bucket{PerSecond: 10, Burst: 20}, By: broker.SubscribeQuota, Own: true, Since: t0}
	s.Filters.Charge(t0, 25)
	return s
}

func (r *rig) crowd(n int) {
	for i := range n {
		r.fake.crowd.rows = append(r.fake.crowd.rows, client("alice", fmt.Sprint("c", i), uint32(i)))
	}
}

// The client follows the cursors to the end, in pages of at most RowsMax.
func TestListsAreReadPageByPage(t *testing.T) {
	r := newRig(t, nil)
	r.crowd(2*RowsMax + 5)
	seen := map[string]bool{}
	if err := r.client.EachClient(t.Context(), nil, func(c *ClientInfo) error { seen[c.ClientID] = true; return nil }); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 2*RowsMax+5 || r.fake.crowd.limit != RowsMax || r.fake.crowd.want.Presence != broker.Connected {
		t.Errorf("%d of them, pages of %d, asked for %+v", len(seen), r.fake.crowd.limit, r.fake.crowd.want)
	}
	stop := errors.New("enough")
	n := 0
	err := r.client.EachSession(t.Context(), Filter{"match_clientid": "c*", "ip_address": "192.0.2.0/24", "listener": "mqtts"}, func(*ClientInfo) error { n++; return stop })
	if err != stop || n != 1 {
		t.Errorf("%v after %d rows", err, n)
	}
	if w := r.fake.crowd.want; w.Presence != broker.Anywhere || w.Network.String() != "192.0.2.0/24" || w.Listener != "mqtts" || !w.Match.Matches("c7") || w.Match.Matches("x") {
		t.Errorf("asked for %+v", w)
	}
	for i := range 1500 {
		r.fake.crowd.subs = append(r.fake.crowd.subs, broker.SubscriptionInfo{Key: session.Key{ClientID: "c"}, Sub: session.Sub{Filter: fmt.Sprint("f/", i), QoS: 1, NoLocal: true, ID: 7}})
		f := mqtt.NewFrame([]byte(fmt.Sprintf("r/%04d", i)), nil, []byte("x"))
		if _, err := r.retained.Put(f); err != nil {
			t.Fatal(err)
		}
	}
	var subs, topics []string
	if err := r.client.EachSubscription(t.Context(), Filter{"match_topic": "f/1"}, func(s *SubscriptionInfo) error { subs = append(subs, s.Topic); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(subs) != 1500 || string(r.fake.crowd.wants.Match) != "f/1" {
		t.Errorf("%d subscriptions, asked for %+v", len(subs), r.fake.crowd.wants)
	}
	if err := r.client.EachRetained(t.Context(), nil, func(m *RetainedInfo) error { topics = append(topics, m.Topic); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(topics) != 1500 || topics[0] != "r/0000" || topics[1499] != "r/1499" {
		t.Errorf("%d retained messages", len(topics))
	}
}

// Cursors and limits that nobody gave out are refused in words (A174).
func TestPagingIsChecked(t *testing.T) {
	r := newRig(t, nil)
	r.crowd(3)
	_, body := r.raw(http.MethodGet, "/api/v5/clients?limit=1", "")
	var page ClientPage
	if err := json.Unmarshal([]byte(body), &page); err != nil || page.Meta.Cursor == "" || !page.Meta.HasNext || page.Meta.Count != 1 {
		t.Fatalf("%v: %s", err, body)
	}
	good := page.Meta.Cursor
	raw, err := base64.RawURLEncoding.DecodeString(good)
	if err != nil {
		t.Fatal(err)
	}
	otherRun := append([]byte{raw[0], raw[1] + 1}, raw[2:]...)
	hugeLoop := append(append([]byte{}, raw[:5]...), strings.Repeat("\xff", placeBytes)...)
	for _, cursor := range []string{"garbage", "-1", "9223372036854775807", "0", "%00", "AAAA", good + "AA", good[:8], good + "%3D", "../..", strings.Repeat("A", 100_000),
		base64.RawURLEncoding.EncodeToString(otherRun), base64.RawURLEncoding.EncodeToString(hugeLoop)} {
		for _, path := range []string{"clients", "sessions", "subscriptions", "mqtt/retainer/messages"} {
			resp, body := r.raw(http.MethodGet, "/api/v5/"+path+"?cursor="+cursor, "")
			if resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, "cursor is not one") {
				t.Errorf("%s with cursor %.20q: %d %s", path, cursor, resp.StatusCode, body)
			}
		}
	}
	if resp, _ := r.raw(http.MethodGet, "/api/v5/subscriptions?cursor="+good, ""); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("the cursor of another list: %d", resp.StatusCode)
	}
	for _, limit := range []string{"-1", "0", "1001", "9223372036854775807", "9223372036854775808", "-9223372036854775809", "two", "1e3"} {
		resp, body := r.raw(http.MethodGet, "/api/v5/clients?limit="+limit, "")
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, "limit is a number from 1 to 1000") {
			t.Errorf("limit %s: %d %s", limit, resp.StatusCode, body)
		}
	}
	if resp, body := r.raw(http.MethodGet, "/api/v5/clients?limit=1000&cursor="+good, ""); resp.StatusCode != http.StatusOK || !strings.Contains(body, `"c2"`) || strings.Contains(body, `"c0"`) {
		t.Errorf("the good one: %d %s", resp.StatusCode, body)
	}
	for path, want := range map[string]string{
		"clients?ip_address=here": "ip_address", "subscriptions?match_topic=a/%2B": "match_topic", "mqtt/retainer/messages?topic=a%23": "topic is a topic filter",
		"mqtt/retainer/messages?topic=$share/g/a": "shared", "clients?conn_state=idle": "conn_state", "sessions?page=2": "query.page",
	} {
		if resp, body := r.raw(http.MethodGet, "/api/v5/"+path, ""); resp.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
}

// Whose session it is must be clear before anything is done, and who did it is
// written down.
func TestEndingASession(t *testing.T) {
	r := newRig(t, nil)
	r.fake.crowd.rows = []conn.ClientInfo{client("alice", "pump-1", 1), client("bob", "pump-1", 2), client("bob", hostile, 3), client("eve", "..", 4), client("eve", "/", 5), client("eve", "a//b/", 6)}
	_, err := r.client.Session(t.Context(), SessionRef{ClientID: "pump-1"})
	var p *Problem
	if !errors.As(err, &p) || p.Status != http.StatusConflict || !strings.Contains(p.Detail, `"alice", "bob"`) {
		t.Errorf("two identities: %v", err)
	}
	if err := r.client.Kick(t.Context(), SessionRef{ClientID: "pump-1"}); !errors.As(err, &p) || p.Status != http.StatusConflict || len(r.fake.crowd.ended) > 0 {
		t.Errorf("two identities: %v, ended %v", err, r.fake.crowd.ended)
	}
	for _, c := range []SessionRef{{ClientID: "nobody"}, {ClientID: "pump-1", Identity: new("carol")}, {ClientID: "pump-1", Identity: new("")}, {ClientID: "c"}, {ClientID: "pump-1", Identity: new("bob"), Mountpoint: new("t/")}} {
		if err := r.client.Kick(t.Context(), c); !errors.As(err, &p) || p.Status != http.StatusNotFound {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if err := r.client.Kick(t.Context(), SessionRef{ClientID: "pump-1", Identity: new("bob")}); err != nil {
		t.Error(err)
	}
	if err := r.client.DeleteSession(t.Context(), SessionRef{ClientID: hostile}); err != nil {
		t.Error(err)
	}
	for _, id := range []string{"..", "/", "a//b/"} { // nobody is beyond reach by his name
		if err := r.client.DeleteSession(t.Context(), SessionRef{ClientID: id, Identity: new("eve"), Mountpoint: new("")}); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	if got := fmt.Sprint(r.fake.crowd.ended); got != "[{2 1} {3 1} {4 1} {5 1} {6 1}]" {
		t.Errorf("ended %s", got)
	}
	var kicked, lines int
	for line := range strings.Lines(r.log.String()) {
		var l map[string]any
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Errorf("not a line: %q", line)
		}
		lines++
		if l["msg"] == "client kicked by an operator" && l["identity"] == "bob" && l["client_id"] == "pump-1" && l["peer_uid"] != nil && l["request_id"] != "" {
			kicked++
		}
	}
	if kicked != 1 {
		t.Errorf("who kicked whom is in %d of %d lines:\n%s", kicked, lines, r.log)
	}
	inner := client("bob", "pump-1", 9)
	inner.Key.Mountpoint = "t/"
	r.fake.crowd.rows = append(r.fake.crowd.rows, inner)
	_, err = r.client.Session(t.Context(), SessionRef{ClientID: "pump-1", Identity: new("bob")})
	if !errors.As(err, &p) || p.Status != http.StatusConflict || !strings.Contains(p.Detail, `"bob", "bob" with mountpoint "t/"`) {
		t.Errorf("two mountpoints: %v", err)
	}
	if c, err := r.client.Session(t.Context(), SessionRef{ClientID: "pump-1", Identity: new("bob"), Mountpoint: new("t/")}); err != nil || c.Mountpoint != "t/" {
		t.Errorf("%+v, %v", c, err)
	}
	r.fake.crowd.err = conn.ErrEnded
	if err := r.client.Kick(t.Context(), SessionRef{ClientID: "pump-1", Identity: new("bob")}); !errors.As(err, &p) || p.Status != http.StatusServiceUnavailable {
		t.Errorf("a broker that ends: %v", err)
	}
}

// What the API says of a client is what the broker knows, and hostile names stay
// text (A166).
func TestClientAsJSON(t *testing.T) {
	r := newRig(t, nil)
	r.fake.crowd.rows = []conn.ClientInfo{client("alice", hostile, 1)}
	resp, body := r.raw(http.MethodGet, "/api/v5/clients/"+url.PathEscape(hostile), "")
	if strings.Contains(body, "\x1b") || resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%v: %s", resp.Header, body)
	}
	c, err := r.client.Session(t.Context(), SessionRef{ClientID: hostile, Identity: new("alice")})
	if err != nil {
		t.Fatal(err)
	}
	want := ClientInfo{
		SessionName: SessionName{ClientID: hostile, Identity: "alice", Username: "alice"},
		ClientConnection: ClientConnection{Connected: true, ConnectedAt: c.ConnectedAt, IPAddress: "192.0.2.7", Port: 4711, Listener: "mqtts", ProtoName: "MQTT", ProtoVer: 5,
			KeepAlive: 60, CleanStart: true, PausedBy: []string{"subscribe_rate", "unread_answers"}, PausedLimit: "listeners.mqtts.limits.subscribe_rate", PausedSince: c.PausedSince, PausedUntil: c.PausedUntil,
			TLSVersion: "TLS 1.3", TLSCipher: "TLS_AES_128_GCM_SHA256", TLSGroup: "X25519"},
		SessionState: SessionState{ExpiryInterval: 60, WillTopic: "w", HasWill: true, SubscriptionsCnt: 2, MqueueDropped: 4, Dropped: Dropped{QueueFull: 3, TooLarge: 1},
			Rates: []RateUse{{Limit: "subscribe_rate.filters", PerSecond: 10, Burst: 20, Spent: 25}}},
	}
	if got := fmt.Sprintf("%+v", c); got != fmt.Sprintf("%+v", want) || !c.ConnectedAt.Equal(t0) || !c.PausedUntil.Equal(t0.Add(time.Second)) || !c.PausedSince.Equal(t0) {
		t.Errorf("%s\nwant\n%+v", got, want)
	}
}

func TestRetainedMessages(t *testing.T) {
	r := newRig(t, nil)
	props := (&mqtt.PublishProperties{ContentType: "text/plain", UserProperties: []mqtt.UserProperty{{Name: "n", Value: "v"}}}).Append(nil)
	for _, name := range []string{"a", "a/b", "/", "..", "$SYS/x", "a/" + strings.Repeat("/", 60_000), "big"} {
		payload := []byte("21.5")
		if name == "big" {
			payload = make([]byte, payloadShownMax+1)
		}
		f := mqtt.NewFrame([]byte(name), props, payload)
		f.QoS, f.CreatedAt, f.ExpiresAt = 1, t0.UnixMilli(), t0.Add(time.Hour).UnixMilli()
		if _, err := r.retained.Put(f); err != nil {
			t.Fatal(err)
		}
		m, err := r.client.RetainedMessage(t.Context(), name)
		if err != nil {
			t.Fatalf("%.20q: %v", name, err)
		}
		if m.Topic != name || m.QoS != 1 || m.PayloadBytes != len(payload) || m.PayloadCut != (name == "big") || m.ContentType != "text/plain" ||
			len(m.UserProperties) != 1 || !m.ExpiresAt.Equal(t0.Add(time.Hour)) || !m.PublishAt.Equal(t0) || (name != "big" && string(m.Payload) != "21.5") {
			t.Errorf("%.20q: %.200v", name, m)
		}
	}
	n := 0
	for cursor := ""; ; { // one by one: cursors hold names as long as these
		_, body := r.raw(http.MethodGet, "/api/v5/mqtt/retainer/messages?limit=1&cursor="+cursor, "")
		var page RetainedPage
		if err := json.Unmarshal([]byte(body), &page); err != nil {
			t.Fatalf("%v: %.200s", err, body)
		}
		n += len(page.Data)
		if cursor = page.Meta.Cursor; cursor == "" {
			break
		}
	}
	if n != 7 {
		t.Errorf("%d messages, one by one", n)
	}
	var p *Problem
	for _, name := range []string{"none", "a/+", "#", "a/b/c"} {
		if _, err := r.client.RetainedMessage(t.Context(), name); !errors.As(err, &p) || p.Status != http.StatusNotFound {
			t.Errorf("%s: %v", name, err)
		}
		if err := r.client.DeleteRetained(t.Context(), name); !errors.As(err, &p) || p.Status != http.StatusNotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := r.client.DeleteRetained(t.Context(), "a/b"); err != nil {
		t.Error(err)
	}
	if n, err := r.client.ClearRetained(t.Context(), "#"); err != nil || n != 5 {
		t.Errorf("cleared %d, %v", n, err)
	}
	if n, _ := r.retained.Stats(); n != 1 { // $SYS/x
		t.Errorf("%d are left", n)
	}
	if resp, body := r.raw(http.MethodDelete, "/api/v5/mqtt/retainer/messages", ""); resp.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("clearing without a filter: %d %s", resp.StatusCode, body)
	}
	if log := r.log.String(); !strings.Contains(log, `"an operator clears retained messages"`) || !strings.Contains(log, `"filter":"#"`) {
		t.Errorf("who cleared what is not in the log:\n%s", log)
	}
}

func TestLogLevel(t *testing.T) {
	r := newRig(t, nil)
	r.fake.level.level = "error"
	got, err := r.client.SetLogLevel(t.Context(), "debug")
	if err != nil || got.Level != "debug" || !strings.Contains(r.log.String(), `"level":"ERROR","msg":"log level changed by an operator"`) {
		t.Errorf("%+v, %v\n%s", got, err, r.log)
	}
	var p *Problem
	if _, err := r.client.SetLogLevel(t.Context(), "loud"); !errors.As(err, &p) || p.Status != http.StatusUnprocessableEntity {
		t.Errorf("a level that is none: %v", err)
	}
	r.fake.level.pin = "/etc/redoubt/redoubt.yaml:7"
	if _, err := r.client.SetLogLevel(t.Context(), "info"); !errors.As(err, &p) || p.Status != http.StatusConflict || !strings.Contains(p.Detail, "redoubt.yaml:7") || !strings.Contains(p.Detail, "reload") {
		t.Errorf("a pinned level: %v", err)
	}
	if got, err := r.client.LogLevel(t.Context()); err != nil || got.Level != "debug" || !got.Pinned {
		t.Errorf("%+v, %v", got, err)
	}
}
