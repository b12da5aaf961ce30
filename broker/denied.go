package broker

import (
	"time"

	"github.com/redoubtmq/redoubt/audit"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/session"
)

// What a client hears of a denial is that there was one, and the reference by which the
// operator finds why: what the rules say is the operator's. It is none of the client's
// business which rule it was, and all of the operator's.
func deniedText(ref audit.Ref) string {
	if ref == 0 {
		return ""
	}
	return "not authorized; the operator finds the reason by ref " + ref.String()
}

// deny answers a QoS 1 or 2 publish that the rules have refused with the reference of that,
// if the client wants it and can take it [MQTT-3.4.2-2] [MQTT-3.5.2-2].
func (h *Home) deny(r *resident, q mqtt.QoS, id uint16, ref audit.Ref) (answered bool) {
	if ref == 0 || r.terse {
		return false
	}
	a := mqtt.Ack{Type: mqtt.PUBACK, PacketID: id, Reason: mqtt.NotAuthorized, ReasonString: deniedText(ref)}
	if q == 2 {
		a.Type = mqtt.PUBREC
	}
	b := a.Append(nil, mqtt.V5, 0)
	if !r.s.Fits(len(b)) {
		return false
	}
	h.send(r, append(h.scratch.outs, session.Packet(b)))
	return true
}

// failDenied ends the connection of a client that was refused something. Where it was not
// the rules nothing has been written down, and ref is of something else.
func (h *Home) failDenied(now time.Time, r *resident, rc mqtt.ReasonCode, ref audit.Ref) {
	if rc != mqtt.NotAuthorized {
		h.fail(now, r, &mqtt.Error{Reason: rc})
		return
	}
	h.disconnect(now, r, &mqtt.Disconnect{Reason: rc, ReasonString: deniedText(ref)}, CauseOf(&mqtt.Error{Reason: rc}))
}

// explainDenied adds the reference of a denial to a SUBACK, if the client wants it and can
// take it [MQTT-3.9.2-1].
func explainDenied(r *resident, ack *mqtt.Suback, ref audit.Ref) {
	if ref == 0 || r.terse || r.s.Version() != mqtt.V5 {
		return
	}
	if ack.ReasonString = deniedText(ref); !r.s.Fits(len(ack.Append(nil, mqtt.V5, 0))) {
		ack.ReasonString = ""
	}
}
