package harden

import "context"

// RefusedConnect is what the broker keeps of a CONNECT that it has refused.
type RefusedConnect struct {
	By  string // the authenticator; empty: none, as at the end of a chain
	Why string
}

// enter connects a user of the probes, which is a positive control: who is not let in is said
// with who in the broker has refused it. Those users are known to the authenticator builtin
// alone; another that stands before it in the chain and refuses whom it does not know, where it
// could pass them on, leaves nothing to try the rest with.
func (e *Env) enter(ctx context.Context, p *endpoint, c connectPacket) (m *client, s said, actual string) {
	if c.clientID == "" {
		c.clientID = e.clientID()
	}
	if m, s = e.connect(ctx, p, c); m != nil || s.packet == nil || s.packet.typ != typeConnack || s.is(typeConnack, unsupportedVersion(c.level)) {
		return m, s, s.String()
	}
	r, err := e.Broker.Refused(ctx, c.clientID)
	switch {
	case err != nil || r.Why == "": // it is not said, then
		return m, s, s.String()
	case r.By == "":
		return m, s, s.String() + ": " + shortened(r.Why)
	case r.By == "builtin":
		return m, s, s.String() + " by authenticator builtin: " + shortened(r.Why)
	}
	return m, s, s.String() + " by authenticator " + shortened(r.By) + ", before builtin, which has the users of the probes: " + shortened(r.Why)
}
