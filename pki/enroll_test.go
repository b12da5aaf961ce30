package pki

import (
	"testing"
	"time"
)

// TestRenewingByTheCertificateBefore: it must be on record, of that name, not revoked and
// not expired; and nobody fills the record so.
func TestRenewingByTheCertificateBefore(t *testing.T) {
	d, _ := newDevices(t)
	out, first := issue(t, d, t0, "dev", 30*dayLong)
	at := t0.Add(20 * dayLong)
	next, err := d.RenewShown(at, orderFor(t, "dev"), first)
	if err != nil || next.How != "renewal "+out.Serial || !next.NotAfter.Equal(at.Add(30*dayLong)) {
		t.Fatalf("%v %+v", err, next)
	}
	second, err := next.Parsed()
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.RenewShown(at, orderFor(t, "other"), second)
	wantDenied(t, err, DeniedCertificate, "not on record")
	_, err = d.RenewShown(t0.Add(31*dayLong), orderFor(t, "dev"), first)
	wantDenied(t, err, DeniedCertificate, "expired")
	// Of another CA, with the same number: only the fingerprint tells.
	elsewhere, _ := newDevices(t)
	_, stranger := issue(t, elsewhere, t0, "dev", 30*dayLong)
	stranger.SerialNumber = first.SerialNumber
	_, err = d.RenewShown(at, orderFor(t, "dev"), stranger)
	wantDenied(t, err, DeniedCertificate, "not on record")

	if _, err = d.RenewShown(at, orderFor(t, "dev"), second); err != nil {
		t.Errorf("a third: %v", err)
	}
	_, err = d.RenewShown(at, orderFor(t, "dev"), second)
	wantDenied(t, err, DeniedCertificate, "has 3 valid certificates")
	if _, _, err := d.Revoke(at, out.Serial, false, "superseded"); err != nil {
		t.Fatal(err)
	}
	_, err = d.RenewShown(at, orderFor(t, "dev"), first)
	wantDenied(t, err, DeniedCertificate, "was revoked")
	if _, err = d.RenewShown(at, orderFor(t, "dev"), second); err != nil {
		t.Errorf("after one was revoked: %v", err)
	}
}

// TestAClaimGetsTheFirstCertificateOnly: not that of a device there is, nor that of one that
// was put out; and so many a day.
func TestAClaimGetsTheFirstCertificateOnly(t *testing.T) {
	d, _ := newDevices(t)
	claims, _ := newDevices(t)
	_, claim := issue(t, claims, t0, "batch-7", dayLong)
	_, otherClaim := issue(t, claims, t0, "batch-8", dayLong)
	first, err := d.EnrollClaim(t0, orderFor(t, "dev-1"), claim, 2)
	if err != nil || first.How != "claim "+hexOf(claim.SerialNumber) {
		t.Fatalf("%v %+v", err, first)
	}
	_, err = d.EnrollClaim(t0, orderFor(t, "dev-1"), claim, 2)
	wantDenied(t, err, DeniedClaim, "has had a certificate")
	if _, _, err := d.Revoke(t0, "dev-1", false, "keyCompromise"); err != nil {
		t.Fatal(err)
	}
	_, err = d.EnrollClaim(t0, orderFor(t, "dev-1"), claim, 2)
	wantDenied(t, err, DeniedClaim, "has had a certificate")
	if _, err = d.EnrollClaim(t0, orderFor(t, "dev-2"), claim, 2); err != nil {
		t.Error(err)
	}
	_, err = d.EnrollClaim(t0.Add(23*time.Hour), orderFor(t, "dev-3"), claim, 2)
	wantDenied(t, err, DeniedClaim, "within a day")
	if _, err = d.EnrollClaim(t0, orderFor(t, "dev-4"), otherClaim, 2); err != nil {
		t.Errorf("another claim certificate: %v", err)
	}
	if _, err = d.EnrollClaim(t0.Add(25*time.Hour), orderFor(t, "dev-3"), claim, 2); err != nil {
		t.Errorf("a day later: %v", err)
	}
}

// TestWhoIssuesClaimsIssuesNothingElse: not the same CA, nor one above or below the other.
func TestWhoIssuesClaimsIssuesNothingElse(t *testing.T) {
	tr := newTrust(t)
	load := func(file string) *Clients {
		c := &Clients{Ask: ClientCertRequired}
		if err := c.LoadClientCAs([]string{file}, t0); err != nil {
			t.Fatal(err)
		}
		return c
	}
	_, dir := newDevices(t)
	_, other := newDevices(t)
	if x := load(DevicesCA(dir)).Overlaps(load(DevicesCA(other))); x != nil {
		t.Errorf("two CAs: %s", x.Subject)
	}
	if load(DevicesCA(dir)).Overlaps(load(DevicesCA(dir))) == nil {
		t.Error("one CA is two")
	}
	root, sub := put2(t, certPEM(tr.root)), put2(t, certPEM(tr.between))
	if load(root).Overlaps(load(sub)) == nil || load(sub).Overlaps(load(root)) == nil {
		t.Error("a CA and one below it are two")
	}
}
