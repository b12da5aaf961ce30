package client

import (
	"context"
	"errors"
	"time"

	"github.com/redoubtmq/redoubt/mqtt"
)

// Dial connects and waits for CONNACK. ctx bounds the connecting only. Every
// failure is an *Error.
func Dial(ctx context.Context, o Options) (*Client, error) {
	o.complete()
	if err := o.verify(); err != nil {
		return nil, err
	}
	if err := verifyConnect(&o); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, o.ConnectTimeout)
	defer cancel()

	c := &Client{opt: o, version: o.Connect.Version, began: o.Clock.Now()}
	if err := c.open(ctx, limited); err != nil {
		return nil, err
	}
	r := &reader{conn: c.conn, version: c.version, limit: int(o.Connect.MaximumPacketSize)}
	if err := c.greet(ctx, limited, r); err != nil {
		_ = c.conn.Close()
		return nil, err
	}
	c.start(r)
	return c, nil
}

// open makes the connection, with TLS if wanted.
func (c *Client) open(parent, ctx context.Context) error {
	o := &c.opt
	var setup *tlsSetup
	if o.TLS != nil {
		var err error
		if setup, err = o.TLS.setup(o.Host, o.Clock.Now); err != nil {
			return err
		}
	}
	conn, words, err := open(parent, ctx, o, setup)
	if err != nil {
		return err
	}
	c.conn, c.tls = conn, setup
	if words != "" {
		c.tracef("%s", words)
	}
	return nil
}

// greet sends CONNECT and reads CONNACK.
func (c *Client) greet(parent, ctx context.Context, r *reader) error {
	past := time.Unix(1, 0)
	stop := context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(past) })
	defer stop()

	c.opt.Connect.Password = c.opt.Password.Reveal()
	packet := c.opt.Connect.Append(nil, c.version, 0)
	c.opt.Connect.Password = nil
	c.tracef("sending CONNECT version=%s client=%s clean_start=%t keep_alive=%ds",
		c.version, quote(c.opt.Connect.ClientID), c.opt.Connect.CleanStart, c.opt.Connect.KeepAlive)
	_, writeErr := c.conn.Write(packet)
	clear(packet) // it holds the password
	// A server that hangs up early may make the write fail, but what it said
	// before, an alert or a CONNACK, is there to be read.
	h, body, err := r.packet()
	if err != nil {
		if parent.Err() != nil {
			return interrupted(parent)
		}
		return c.explainNoConnack(r, writeErr, err)
	}
	if h.Type != mqtt.CONNACK {
		return &Error{Kind: KindNoConnack, What: "the server answered CONNECT with " + h.Type.String() + " and not with CONNACK [MQTT-3.2.0-1]"}
	}
	v := c.version
	if v == mqtt.V5 && len(body) == 2 {
		v = mqtt.V311 // an older server refuses 5.0 in its own format
	}
	if err := mqtt.DecodeConnack(body, h, v, packetLimits, &c.connack); err != nil {
		return c.ended(err)
	}
	c.tracef("received CONNACK reason=%s session_present=%t", c.connack.Reason, c.connack.SessionPresent)
	if c.connack.Reason != mqtt.Success {
		return explainConnack(&c.opt, &c.connack)
	}
	if v != c.version {
		return &Error{Kind: KindProtocol, What: "the server accepted MQTT 5.0 in the format of 3.1.1", Help: []string{"try -V 311"}}
	}
	if !stop() { // ctx ended just now, and the deadline may be set any moment
		if parent.Err() != nil {
			return interrupted(parent)
		}
		return noConnack(&c.opt, nil, context.DeadlineExceeded)
	}
	return nil
}

// explainNoConnack sorts what can come in place of a CONNACK.
func (c *Client) explainNoConnack(r *reader, writeErr, readErr error) error {
	for _, err := range []error{readErr, writeErr} {
		if alert, ok := remoteAlert(err); ok && c.tls != nil {
			return explainAlert(&c.opt, c.tls, alert, err)
		}
	}
	var broken *mqtt.Error
	if errors.As(readErr, &broken) && !(c.tls == nil && looksLikeTLS(r.rest())) {
		return &Error{
			Kind: KindNoConnack, Err: readErr,
			What: "what the server at " + c.opt.address() + " sent is no MQTT",
			Help: []string{"some other service listens at that port"},
		}
	}
	err := noConnack(&c.opt, r.rest(), readErr)
	if c.tls != nil && c.tls.asked.Load() && c.tls.own == nil && err.Kind == KindNoConnack {
		err.Help = append(err.Help, "it asked for a client certificate and got none: perhaps it insists on one (--cert, --key)")
	}
	return err
}

// start sets the Client going after CONNACK.
func (c *Client) start(r *reader) {
	if a := c.connack.AssignedClientID; a != "" {
		c.id = a
	} else {
		c.id = c.opt.Connect.ClientID
	}
	slots := c.opt.Inflight
	if m := int(c.connack.ReceiveMaximum); m > 0 { // [MQTT-3.3.4-7]
		slots = min(slots, m)
	}
	c.slots = make(chan struct{}, slots)
	c.done = make(chan struct{})
	c.pending = make(map[uint16]*Pending)
	if c.connack.SessionPresent {
		c.lastID = randomID()
	}
	c.out.init()
	c.in.init(c.opt.Receive, c.version, c.opt.Connect.ReceiveMaximum, c.opt.Connect.TopicAliasMaximum)
	c.lastRead.Store(int64(c.opt.Clock.Now().Sub(c.began)))
	c.wg.Add(2)
	go c.readLoop(r)
	go c.writeLoop()
}
