package broker

import (
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/metrics"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/fact"
)

// What a client leaves to be sent later, its will and its delayed messages, is judged when it
// is sent: nobody may speak any more with a token that was revoked since. So the log has the
// name of the token beside both, and it does not matter whether the process has begun again
// meanwhile.

// tokenOf is what the log has of the token that a client has shown.
func tokenOf(by *auth.Principal) fact.Token {
	c := by.Claims
	if c == nil || c.Issued.IsZero() {
		return fact.Token{}
	}
	return fact.Token{Shown: true, ID: c.TokenID, Issued: c.Issued.Unix()}
}

// claimsOf are those of a client that the log tells of.
func claimsOf(t *fact.Token) *auth.Claims {
	if !t.Shown {
		return auth.Unproven
	}
	return auth.UnprovenToken(t.ID, time.Unix(t.Issued, 0))
}

// restoredClaims are those of a session that the log tells of. Without a will nothing
// will be sent in its client's name.
func restoredClaims(w *fact.Will) *auth.Claims {
	if w == nil {
		return auth.Unproven
	}
	return claimsOf(&w.By)
}

// withdrawn tells whether what a client has left was sent with a token that was taken back
// since, and counts it.
func (h *Home) withdrawn(by *auth.Principal) bool {
	if !h.revoked(by) {
		return false
	}
	h.count.Inc(metrics.CredentialsSilenced)
	return true
}

// willFact is a will as the log has it.
func willFact(w *mqtt.Will, by *auth.Principal) fact.Will {
	return fact.Will{
		Topic: []byte(w.Topic), Props: w.Props, Payload: w.Payload, QoS: uint8(w.QoS), Retain: w.Retain,
		HasExpiry: w.HasMessageExpiry, ExpirySeconds: w.MessageExpiry, DelaySeconds: w.DelaySeconds, By: tokenOf(by),
	}
}

// renewWill says to the log that the will is now of who has shown another token.
func (h *Home) renewWill(now time.Time, r *resident, before fact.Token) {
	w := r.s.Will()
	if w == nil || r.log == nil || tokenOf(&r.by) == before {
		return
	}
	h.part()
	body := willFact(w, &r.by)
	h.say(now, r.log, store.Will, body.Append)
	h.wire.Again()
}
