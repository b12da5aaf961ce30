package pki

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

func TestRevokingADevice(t *testing.T) {
	d, dir := newDevices(t)
	_, kept := issue(t, d, t0, "kept", 90*dayLong)
	lost, x := issue(t, d, t0, "lost", 90*dayLong)
	old, _ := issue(t, d, t0, "twice", dayLong)
	at := t0.Add(2 * dayLong) // old has expired
	_, second := issue(t, d, at, "twice", 90*dayLong)
	revoke := func(which string, all bool) error {
		_, _, err := d.Revoke(at, which, all, "keyCompromise")
		return err
	}
	saying(t, "nobody", revoke("nobody", false), "nothing was issued to", "cert list")
	if err := judge(t, dir, x, at); err != nil {
		t.Fatal(err)
	}
	gone, list, err := d.Revoke(at, "lost", false, "keyCompromise")
	if err != nil || len(gone) != 1 || gone[0].Serial != lost.Serial || list.Number != 2 || list.Revoked != 1 || !list.NextUpdate.Equal(at.Add(7*dayLong)) {
		t.Fatalf("%+v, %+v, %v", gone, list, err)
	}
	saying(t, "a revoked one", judge(t, dir, x, at), "was revoked by its issuer")
	if err := judge(t, dir, kept, at); err != nil {
		t.Error(err)
	}
	if e := d.current().RevokedCertificateEntries[0]; e.ReasonCode != 1 || !e.RevocationTime.Equal(at) {
		t.Errorf("%+v", e)
	}
	if err := revoke("lost", false); !errors.Is(err, ErrRevokedAlready) {
		t.Errorf("%v", err)
	}
	saying(t, "again, by its number", revoke(lost.Serial, false), "is revoked already", "keyCompromise")

	// Of several, those that have expired go with the one that is valid.
	if gone, _, err := d.Revoke(at, "twice", false, "superseded"); err != nil || len(gone) != 2 || gone[0].Serial != old.Serial {
		t.Errorf("%+v, %v", gone, err)
	}
	saying(t, "the second", judge(t, dir, second, at), "was revoked")
	one, _ := issue(t, d, at, "several", dayLong)
	two, twoX := issue(t, d, at, "several", dayLong)
	saying(t, "several", revoke("several", false), "2 valid certificates", one.Serial, two.Serial, "--all")
	colons := strings.ToUpper(one.Serial[:2] + ":" + one.Serial[2:])
	if err := revoke(colons, false); err != nil {
		t.Errorf("%s: %v", colons, err)
	}
	if err := judge(t, dir, twoX, at); err != nil {
		t.Errorf("the other one of that name: %v", err)
	}
	issue(t, d, at, "several", dayLong)
	if gone, _, err := d.Revoke(at, "several", true, "unspecified"); err != nil || len(gone) != 2 {
		t.Errorf("%+v, %v", gone, err)
	}
	issue(t, d, at, two.Serial, dayLong)
	saying(t, "a device called like a number", revoke(two.Serial, false), "also the serial number")
	if _, err := ParseReason("boredom"); err == nil || !strings.Contains(err.Error(), "cessationOfOperation") {
		t.Errorf("%v", err)
	}
	if r, err := ParseReason("keycompromise"); err != nil || r != "keyCompromise" {
		t.Errorf("%q, %v", r, err)
	}
}

// TestAListAfterACrash: what was revoked is revoked, whatever is missing.
func TestAListAfterACrash(t *testing.T) {
	d, dir := newDevices(t)
	_, x := issue(t, d, t0, "dev", 90*dayLong)
	read := func(name string) []byte {
		b, err := os.ReadFile(d.path(name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	put := func(name string, b []byte) {
		if err := os.WriteFile(d.path(name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	empty, unrevoked := read(devicesListName), read(devicesLedgerName)
	if _, _, err := d.Revoke(t0, "dev", false, "keyCompromise"); err != nil {
		t.Fatal(err)
	}
	revoked := read(devicesLedgerName)
	refused := func(what string) {
		t.Helper()
		saying(t, what, judge(t, dir, x, t0), "was revoked")
	}
	for what, row := range map[string]struct{ list, ledger []byte }{
		"between the record and the list":           {empty, revoked},
		"a damaged list":                            {[]byte("nonsense"), revoked},
		"a list of somebody else":                   {pemCRL(crl(t, makeCert(t, p256(t), nil, asListing(d.ca.Subject.CommonName, 9)), nil, 5)), revoked},
		"records from a backup":                     {read(devicesListName), unrevoked},
		"records that were begun anew":              {read(devicesListName), []byte(`{"version": 1}`)},
		"records and list, and half of a temp file": {read(devicesListName), revoked},
	} {
		put(devicesListName, row.list)
		put(devicesLedgerName, row.ledger)
		put(".crl.pem.new-1", []byte("half"))
		if _, _, err := RefreshDevices(dir, t0); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		refused(what)
		if is := d.current(); len(is.RevokedCertificateEntries) != 2 { // with the canary
			t.Errorf("%s: the list names %d", what, len(is.RevokedCertificateEntries))
		} else if is.Number.Int64() < 2 {
			t.Errorf("%s: the list's number went back to %d", what, is.Number)
		}
	}
	if err := os.Remove(d.path(devicesListName)); err != nil {
		t.Fatal(err)
	}
	put(devicesLedgerName, revoked)
	// Who tries again is told that it is done, and it is.
	if _, _, err := d.Revoke(t0, "dev", false, "keyCompromise"); !errors.Is(err, ErrRevokedAlready) {
		t.Errorf("%v", err)
	}
	refused("revoked again after a crash")
}

func TestTheListStaysFresh(t *testing.T) {
	_, dir := mustInit(t)
	if _, changed, err := RefreshDevices(dir, t0); changed || err != nil {
		t.Errorf("without a CA: %v, %v", changed, err)
	}
	d, err := InitDevices(dir, "", t0)
	if err != nil {
		t.Fatal(err)
	}
	_, x := issue(t, d, t0, "dev", 90*dayLong)
	for _, row := range []struct {
		after   time.Duration
		changed bool
	}{{0, false}, {84*time.Hour - time.Second, false}, {84 * time.Hour, true}, {100 * time.Hour, false}, {30 * dayLong, true}, {dayLong, true}} {
		now := t0.Add(row.after)
		list, changed, err := RefreshDevices(dir, now)
		if err != nil || changed != row.changed {
			t.Errorf("after %s: %v, %v", row.after, changed, err)
		}
		if changed && !list.NextUpdate.Equal(now.Add(7*dayLong)) {
			t.Errorf("after %s: %+v", row.after, list)
		}
		if err := judge(t, dir, x, now); err != nil {
			t.Errorf("after %s: %v", row.after, err)
		}
	}
	saying(t, "when nobody renews it", judge(t, dir, x, t0.Add(9*dayLong)), "should have been followed")
	if err := os.Chmod(d.path(caKeyName), 0o644); err != nil {
		t.Fatal(err)
	}
	_, _, err = RefreshDevices(dir, t0.Add(9*dayLong))
	saying(t, "a key that others can read", err, "chmod 0600")
}

// TestWhatHasExpiredLeavesTheList, but not before every broker has heard of it.
func TestWhatHasExpiredLeavesTheList(t *testing.T) {
	d, _ := newDevices(t)
	issue(t, d, t0, "dev", 10*dayLong)
	issue(t, d, t0, "late", 10*dayLong)
	if _, _, err := d.Revoke(t0, "dev", false, "unspecified"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Revoke(t0.Add(15*dayLong), "late", false, "unspecified"); err != nil {
		t.Fatal(err)
	}
	for after, want := range map[time.Duration]int{17 * dayLong: 2, 17*dayLong + time.Second: 1, 22 * dayLong: 1, 22*dayLong + time.Second: 0} {
		list, err := d.WriteList(t0.Add(after))
		if err != nil || list.Revoked != want {
			t.Errorf("after %s the list names %d, want %d; %v", after, list.Revoked, want, err)
		}
	}
	if all, err := d.List(); err != nil || len(all) != 2 || !all[0].Revoked() {
		t.Errorf("%+v, %v", all, err)
	}
}
