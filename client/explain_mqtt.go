package client

import (
	"errors"
	"fmt"
	"strings"

	"github.com/redoubtmq/redoubt/mqtt"
)

// serverSays is the server's own explanation, if it gave one. It may hold the
// correlation id under which the operator finds the full story.
func serverSays(reason string) []string {
	if reason == "" {
		return nil
	}
	return []string{"the server says: " + quote(reason)}
}

// askWhy is how an operator sees what decides, by what the server has said. What could be done
// now is asked of a session, with the rules that came with the client, which `redoubt acl test`
// does not know: where the session goes with us, there is none to ask when somebody looks.
func (c *Client) askWhy(reasonString, action, topic string) []string {
	id := c.id
	if id == "" {
		id = "CLIENT"
	}
	help := whyRef(reasonString)
	if o := &c.opt.Connect; o.SessionExpiry > 0 || o.Version != mqtt.V5 && !o.CleanStart {
		return append(help, "the operator sees the rule with: redoubt why "+shellWord(id)+" "+action+" "+shellWord(topic))
	}
	if len(help) == 0 {
		help = []string{"the operator sees what this client was refused with: redoubt why " + shellWord(id)}
	}
	return help
}

// explainConnack is a refusal in CONNACK.
func explainConnack(o *Options, a *mqtt.Connack) error {
	e := &Error{Kind: KindConnectRefused, Reason: a.Reason, Details: serverSays(a.ReasonString)}
	code := fmt.Sprintf("0x%02X", byte(a.Reason))
	if o.Connect.Version != mqtt.V5 {
		code = fmt.Sprintf("return code %d", mqtt.ConnackV3(a.Reason))
	}
	e.What = fmt.Sprintf("the server refused the connection: %s (CONNACK %s)", a.Reason, code)
	user := o.Connect.Username
	switch a.Reason {
	case mqtt.BadUserNameOrPassword:
		e.Kind = KindBadCredentials
	case mqtt.NotAuthorized:
		e.Kind = KindNotAuthorized
	}
	switch a.Reason {
	case mqtt.NotAuthorized, mqtt.BadUserNameOrPassword:
		switch { // version 3 has one code for a ban, too many attempts and a wrong password
		case a.Reason == mqtt.NotAuthorized && o.Connect.Version == mqtt.V5 && o.Connect.HasUsername:
			e.Help = notAllowedIn(o)
		case !o.Connect.HasUsername:
			e.Help = []string{"no user name was given: -u NAME, with --password-file FILE or the variable REDOUBT_PASSWORD"}
		case !o.Connect.HasPassword:
			e.Help = []string{"no password was given: --password-file FILE or the variable REDOUBT_PASSWORD"}
		default:
			e.Help = []string{
				"check the user name and the password; on purpose the server does not say which of them is wrong",
				"the operator finds the reason in the server's log and sets a new password with: redoubt user passwd " + shellWord(user),
			}
		}
		if o.Connect.HasPassword && o.Connect.Version != mqtt.V5 && a.Reason == mqtt.NotAuthorized {
			e.Help = append(e.Help, "or the user or the client id is banned, such as for connecting too often; the operator sees it with: redoubt ban list")
		}
	case mqtt.ClientIdentifierNotValid:
		e.Help = []string{"choose another client id with -i"}
	case mqtt.UnsupportedProtocolVersion:
		e.Help = []string{"try another version of MQTT: -V 5 or -V 311"}
	case mqtt.ServerBusy, mqtt.ServerUnavailable, mqtt.ConnectionRateExceeded:
		e.Help = []string{"try again later"}
	case mqtt.Banned:
		e.Help = []string{
			"the operator sees until when, and why, with redoubt ban list, and lifts it with redoubt ban delete",
			"a ban for connecting too often ends by itself: keep one connection (redoubt pub -l), or leave out -i",
		}
	}
	e.Help = append(whyRef(a.ReasonString), e.Help...)
	if a.ServerReference != "" {
		e.Details = append(e.Details, "it refers to the server "+quote(a.ServerReference))
	}
	return e
}

// notAllowedIn is for a client that is not let in whatever its password: 0x87.
func notAllowedIn(o *Options) []string {
	help := "the operator finds the reason in the server's log"
	if id := o.Connect.ClientID; id != "" {
		help = "the operator finds the reason with: redoubt why " + shellWord(id)
	}
	return []string{"this client may not connect here; for a wrong password the server has another reason code", help}
}

// explainDisconnect is a DISCONNECT from the server.
func (c *Client) explainDisconnect(d *mqtt.Disconnect) error {
	e := &Error{
		Kind: KindDisconnected, Reason: d.Reason, Details: serverSays(d.ReasonString),
		What: fmt.Sprintf("the server ended the connection: %s (DISCONNECT 0x%02X)", reasonOfDisconnect(d.Reason), byte(d.Reason)),
	}
	switch d.Reason {
	case mqtt.SessionTakenOver:
		e.Help = []string{"another client connected with the same client id, " + quote(c.id)}
	case mqtt.ServerShuttingDown, mqtt.ServerBusy:
		e.Help = []string{"try again later"}
	case mqtt.PacketTooLarge:
		if limit := c.connack.MaximumPacketSize; limit > 0 {
			e.Help = []string{fmt.Sprintf("the server takes packets of at most %d bytes", limit)}
		}
	}
	e.Help = append(whyRef(d.ReasonString), e.Help...)
	if d.ServerReference != "" {
		e.Details = append(e.Details, "it refers to the server "+quote(d.ServerReference))
	}
	return e
}

// reasonOfDisconnect is the reason in the specification's words: 0x00 has other
// ones here than in an acknowledgement.
func reasonOfDisconnect(r mqtt.ReasonCode) string {
	if r == mqtt.Success {
		return "normal disconnection"
	}
	return r.String()
}

// ended explains the end of an established connection that nobody announced.
func (c *Client) ended(err error) error {
	if c.flooded.Load() {
		return errFlooded
	}
	e := &Error{Kind: KindClosed, Err: err}
	var broken *mqtt.Error
	switch {
	case errors.As(err, &broken):
		e.Kind = KindProtocol
		if broken.Reason == mqtt.PacketTooLarge {
			e.What = "the server sent a " + broken.Detail
			e.Help = []string{"with MQTT 5.0, -D connect maximum-packet-size BYTES sets what we accept"}
			return e
		}
		e.What = "the server broke the protocol: " + Printable(strings.TrimPrefix(broken.Error(), "mqtt: "))
		return e
	case isEnd(err):
		e.What = "the server closed the connection without a word"
		e.Help = []string{"its log says why"}
		if c.version != mqtt.V5 {
			e.Help = []string{"MQTT " + c.version.String() + " has no way to say why; with -V 5 the server can"}
		}
		return e
	case isTimeout(err):
		e.What = "the server has not read anything for " + c.keepAlive().String() + ": the connection is dead"
		return e
	}
	if c.tls != nil {
		if alert, ok := remoteAlert(err); ok {
			return explainAlert(&c.opt, c.tls, alert, err)
		}
	}
	e.What = "the connection failed: " + bareReason(err)
	return e
}

// unfinished is what the end of the connection means for one request that still
// waited for its answer.
func (c *Client) unfinished(p *Pending, cause error) error {
	var e *Error
	if p.topic == "" || !errors.As(cause, &e) || e.Kind != KindClosed && e.Kind != KindDisconnected || cause == errLeft {
		return cause
	}
	about := &Error{Kind: e.Kind, Reason: e.Reason, Details: e.Details, Help: e.Help, Err: e}
	if e.Kind == KindDisconnected {
		about.What = fmt.Sprintf("%s, before it acknowledged the message to %s", e.What, quote(p.topic))
		if e.Reason == mqtt.NotAuthorized {
			about.Help = c.askWhy(strings.Join(e.Details, ""), "publish", p.topic)
		}
		return about
	}
	about.What = e.What + ", before it acknowledged the message to " + quote(p.topic)
	if isEnd(e) {
		about.What = "the server closed the connection before it acknowledged the message to " + quote(p.topic)
	}
	if c.version != mqtt.V5 {
		about.Help = []string{
			"MQTT " + c.version.String() + " has no refusal of a message: a server that does not allow it, or finds it too large, can only close the connection",
			"with -V 5 the server says why; " + c.askWhy("", "publish", p.topic)[0],
		}
	}
	return about
}

// refusedPublish is a PUBACK or PUBREC of 0x80 or above.
func (c *Client) refusedPublish(topic string, a *mqtt.Ack) error {
	e := &Error{Kind: KindPublishRefused, Reason: a.Reason, Details: serverSays(a.ReasonString)}
	if a.Reason == mqtt.NotAuthorized {
		e.What = "not authorized to publish to " + quote(topic)
		e.Help = c.askWhy(a.ReasonString, "publish", topic)
		return e
	}
	e.What = fmt.Sprintf("the server refused the message to %s: %s (%s 0x%02X)", quote(topic), a.Reason, a.Type, byte(a.Reason))
	if a.Reason == mqtt.QuotaExceeded {
		e.Help = []string{"the server has no room for it: too many or too large retained or stored messages"}
	}
	return e
}

// refusedSubscription is one filter's reason of 0x80 or above.
func (c *Client) refusedSubscription(filter string, reason mqtt.ReasonCode, reasonString string) error {
	e := &Error{Kind: KindSubscribeRefused, Reason: reason, Details: serverSays(reasonString)}
	switch {
	case c.version != mqtt.V5:
		e.What = "the server refused the subscription to " + quote(filter) + " (SUBACK 0x80)"
		e.Help = []string{
			"MQTT " + c.version.String() + " gives no reason; most often it is a missing permission",
			"with -V 5 the server says why; " + c.askWhy("", "subscribe", filter)[0],
		}
	case reason == mqtt.NotAuthorized:
		e.What = "not authorized to subscribe to " + quote(filter)
		e.Help = c.askWhy(reasonString, "subscribe", filter)
	default:
		e.What = fmt.Sprintf("the server refused the subscription to %s: %s (SUBACK 0x%02X)", quote(filter), reason, byte(reason))
	}
	return e
}
