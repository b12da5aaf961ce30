package test

import (
	"testing"

	"github.com/redoubtmq/redoubt/internal/testkit"
)

// TestRevokedWhateverElseIsRefused (P3.5): a listener whose client_ca cannot be read any more
// goes on with what it had, and who was revoked since is out all the same.
func TestRevokedWhateverElseIsRefused(t *testing.T) {
	t.Parallel()
	ca := newDeviceCA(t, "everything")
	gone := ca.issue("gone")
	ca.issue("kept")
	d := newDeviceDoors(t, ca, newMTLS(t, ca))
	d.withdrawal("was revoked by its issuer", func() {
		testkit.WriteFile(t, ca.path("ca.pem"), "-----BEGIN NONSENSE-----\n")
		ca.revoke(gone)
	})
}
