package admin

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth/bans"
)

// fakeBans are real bans that nobody keeps.
type fakeBans struct {
	*bans.Bans
	fail error
}

// OwnAddresses are an interface's and a proxy's.
func (*fakeBans) OwnAddresses() []bans.Own {
	return []bans.Own{bans.OwnAddress(netip.MustParseAddr("198.51.100.7")), bans.OwnProxies("behind", netip.MustParsePrefix("10.1.0.0/24"))}
}

type noBans struct{}

func (noBans) Bans(func(string, []byte) error) error { return nil }
func (noBans) Write(...bans.Kept) error              { return nil }

func (f *fakeBans) EachBan(now time.Time, fn func(*bans.Ban, bans.Source)) { f.Each(now, fn) }

func (f *fakeBans) AddBans(list []*bans.Ban, before func([]*bans.Ban)) ([]*bans.Ban, error) {
	if f.fail != nil {
		return nil, &bans.KeepError{Err: f.fail}
	}
	return f.Add(list, before)
}

func (f *fakeBans) DeleteBan(now time.Time, w bans.Wanted, before func(*bans.Ban)) (*bans.Ban, error) {
	return f.Delete(now, w, before)
}

func TestBansOverTheAPI(t *testing.T) {
	r := newRig(t, nil)
	ctx := t.Context()
	later := bans.TimeText(t0.Add(time.Hour).Unix())
	added, err := r.client.AddBan(ctx, &NewBan{As: "peerhost_net", Who: "192.0.2.0/24", Reason: "scans", Until: later})
	if err != nil || added.Replaced || added.Until != later || !strings.HasPrefix(added.By, "uid ") || added.At != "2026-03-01T12:00:00Z" || added.Source != "operator" {
		t.Errorf("%+v, %v", added, err)
	}
	if added, err = r.client.AddBan(ctx, &NewBan{As: "peerhost_net", Who: "192.0.2.0/24"}); err != nil || !added.Replaced || added.Until != "infinity" {
		t.Errorf("%+v, %v", added, err)
	}
	if log := r.log.String(); !strings.Contains(log, "ban made by an operator") || !strings.Contains(log, `"who":"192.0.2.0/24"`) || !strings.Contains(log, `"replaced":true`) {
		t.Errorf("the log does not say so: %s", log)
	}
	for _, c := range []struct {
		ban    NewBan
		status int
		why    string
	}{
		{NewBan{As: "peerhost", Who: "127.0.0.1"}, 422, "not banned without --force: it is this machine's own address"},
		{NewBan{As: "clientid", Who: strings.Repeat("x", 65_535)}, 422, "a name has 65535 bytes, at most 1024 are taken, so that 100000 bans fit into memory; ban the user"},
		{NewBan{As: "peerhost_net", Who: "198.51.100.0/24"}, 422, "without --force: it holds this machine's own address 198.51.100.7"},
		{NewBan{As: "peerhost", Who: "10.1.0.2"}, 422, "without --force: it is an address of 10.1.0.0/24, from where proxies bring the clients of listener behind"},
		{NewBan{As: "clientid_re", Who: "("}, 422, "no regular expression"},
		{NewBan{As: "clientid", Who: "x", Until: "2020-01-01T00:00:00Z"}, 422, "is in the past"},
		{NewBan{As: "clientid", Who: "x", Until: "soon"}, 422, "is no time"},
		{NewBan{As: "client", Who: "x"}, 422, "expected value to be one of"},
		{NewBan{As: "username", Who: "x", Identity: "y"}, 422, "identity goes with clientid only"},
	} {
		if _, err := r.client.AddBan(ctx, &c.ban); status(err) != c.status || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%+v: %v", c.ban, err)
		}
	}
	if _, err := r.client.AddBan(ctx, &NewBan{As: "peerhost", Who: "::1", Force: true}); err != nil {
		t.Errorf("by force: %v", err)
	}
	if _, err := r.client.AddBan(ctx, &NewBan{As: "peerhost", Who: "10.1.0.2", Force: true}); err != nil {
		t.Errorf("by force: %v", err)
	}
	if _, err := r.client.ImportBans(ctx, "x.csv", []byte("as,who\npeerhost,198.51.100.7\n"), false); status(err) != 422 || !strings.Contains(err.Error(), "x.csv:2: ") {
		t.Errorf("imported: %v", err)
	}
	r.bans.fail = fmt.Errorf("disk full")
	if _, err := r.client.AddBan(ctx, &NewBan{As: "clientid", Who: "x"}); status(err) != http.StatusServiceUnavailable {
		t.Errorf("not kept: %v", err)
	}
	r.bans.fail = nil

	for _, c := range []struct {
		as, who string
		f       Filter
		status  int
	}{
		{"peerhost_net", "192.0.2.0/24", nil, 0}, {"peerhost_net", "192.0.2.0/24", nil, 404}, {"peerhost", "0:0::1", nil, 0}, {"client", "x", nil, 404},
		{"clientid", "x", Filter{"network": "here"}, 422},
	} {
		if err := r.client.DeleteBan(ctx, c.as, c.who, c.f); status(err) != c.status {
			t.Errorf("delete %s %s: %v", c.as, c.who, err)
		}
	}
}

// Pages are in order and whole, and a name of any form can be found and deleted.
func TestBansInPages(t *testing.T) {
	r := newRig(t, nil)
	var file strings.Builder
	file.WriteString("as,who,identity\n")
	const many = 2500
	for i := range many {
		fmt.Fprintf(&file, "clientid,c%04d,\n", i)
	}
	file.WriteString("clientid,a/b?c=%2F&\u00e4,\nclientid,two,\nclientid,two,u\n")
	done, err := r.client.ImportBans(t.Context(), "x.csv", []byte(file.String()), false)
	if err != nil || done.Added != many+3 {
		t.Fatalf("%+v, %v", done, err)
	}
	var last string
	n := 0
	err = r.client.EachBan(t.Context(), Filter{"like_who": "c"}, func(b *BanInfo) error {
		if n++; b.Who <= last {
			t.Errorf("%s after %s", b.Who, last)
		}
		last = b.Who
		return nil
	})
	if err != nil || n != many+1 {
		t.Errorf("%d, %v", n, err)
	}
	if err := r.client.DeleteBan(t.Context(), "clientid", "a/b?c=%2F&\u00e4", nil); err != nil {
		t.Error(err)
	}
	if err := r.client.DeleteBan(t.Context(), "clientid", "two", nil); status(err) != http.StatusConflict {
		t.Errorf("two fit: %v", err)
	}
	if err := r.client.DeleteBan(t.Context(), "clientid", "two", Filter{"any_identity": "true"}); err != nil {
		t.Error(err)
	}
	if err := r.client.DeleteBan(t.Context(), "clientid", "two", Filter{"identity": "u"}); err != nil {
		t.Error(err)
	}
}

// An import may be larger than other requests, within its limit, and says the lines of what is
// wrong with it.
func TestImportOfManyBans(t *testing.T) {
	r := newRig(t, nil)
	var file strings.Builder
	file.WriteString("as,who,reason\n")
	for i := range 20_000 {
		fmt.Fprintf(&file, "username,user-%d,%s\n", i, strings.Repeat("x", 100))
	}
	if file.Len() < 2*bodyBytesMax {
		t.Fatal("the test proves nothing")
	}
	done, err := r.client.ImportBans(t.Context(), "x.csv", []byte(file.String()), false)
	if err != nil || done.Added != 20_000 {
		t.Fatalf("%+v, %v", done, err)
	}
	if _, err := r.client.ImportBans(t.Context(), "x.json", []byte("[\n{\"as\":\"clientid\"}]"), false); status(err) != 422 || !strings.Contains(err.Error(), "x.json:2: who is empty") {
		t.Errorf("%v", err)
	}
	if resp, _ := r.rawWith(http.MethodPost, "/api/v5/banned", `{"as":"clientid","who":"x","reason":"`+strings.Repeat("x", bodyBytesMax)+`"}`, "application/json"); resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a large request of another kind: %d", resp.StatusCode)
	}
}
