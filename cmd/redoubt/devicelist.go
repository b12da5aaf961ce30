package main

import "github.com/redoubtmq/redoubt/pki"

// freshenDevices keeps the revocation list of the CA of devices from growing old. Listeners
// notice by themselves that it is another one.
func (n *node) freshenDevices() {
	list, changed, err := pki.RefreshDevices(n.loaded.Load().Config.Node.DataDir, n.clock.Now())
	switch {
	case err != nil:
		n.log.Error("the revocation list of devices could not be renewed; when it is too old, no device with a certificate is let in", "error", err.Error())
	case changed:
		n.log.Info("the revocation list of devices was renewed", "number", list.Number, "revoked", list.Revoked, "next_update", list.NextUpdate)
	}
}
