package pahogo

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
)

// five is a client of 5.0.
type five struct {
	*paho.Client
	in   chan message
	gone chan *paho.Disconnect
	hear chan *paho.Publish // what waits for Ack
	ack  *paho.Connack
	conn io.Closer
}

func openFive(id string, h how) client { return newFive(id, h, nil) }

// newFive connects. change may do to CONNECT and to the client what it likes.
func newFive(id string, h how, change func(*paho.Connect, *paho.ClientConfig)) *five {
	f := &five{in: make(chan message, 100), gone: make(chan *paho.Disconnect, 1), hear: make(chan *paho.Publish, 100)}
	at := settings.Port
	if h.port != 0 {
		at = h.port
	}
	conn, err := tls.Dial("tcp", fmt.Sprintf("%s:%d", settings.Host, at), trust)
	noError(err, "dial")
	f.conn = conn.NetConn()
	if id != "" {
		id = settings.Name + "-" + id
	}
	config := paho.ClientConfig{
		Conn: packets.NewThreadSafeConn(conn), PacketTimeout: wait,
		OnServerDisconnect: func(d *paho.Disconnect) { f.gone <- d },
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(r paho.PublishReceived) (bool, error) {
			p := r.Packet
			f.in <- message{p.Topic, string(p.Payload), p.QoS, p.Retain, p.Properties}
			f.hear <- p
			return true, nil
		}},
	}
	connect := &paho.Connect{
		ClientID: id, CleanStart: !h.keep, KeepAlive: 30, UsernameFlag: true, PasswordFlag: true,
		Username: settings.User, Password: []byte(settings.Password), Properties: &paho.ConnectProperties{RequestProblemInfo: true},
	}
	if h.other {
		connect.Username, connect.Password = settings.OtherName, []byte(settings.OtherPassword)
	}
	if h.keep {
		connect.Properties.SessionExpiryInterval = of(uint32(3600))
	}
	if h.will != "" {
		connect.WillMessage = &paho.WillMessage{Topic: h.will, Payload: []byte("gone"), QoS: 1}
		connect.WillProperties = &paho.WillProperties{}
	}
	if change != nil {
		change(connect, &config)
	}
	f.Client = paho.NewClient(config)
	ctx, cancel := limit()
	defer cancel()
	f.ack, err = f.Connect(ctx, connect)
	noError(err, "CONNECT")
	return f
}

func of[T any](v T) *T { return &v }

func limit() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), wait)
}

func (f *five) present() bool       { return f.ack.SessionPresent }
func (f *five) inbox() chan message { return f.in }
func (f *five) leave()              { _ = f.Disconnect(&paho.Disconnect{}) }
func (f *five) cut()                { _ = f.conn.Close() }

func (f *five) say(topic, payload string, qos byte, retain bool) {
	f.publish(&paho.Publish{Topic: topic, Payload: []byte(payload), QoS: qos, Retain: retain})
}

// publish answers the reason code.
func (f *five) publish(p *paho.Publish) byte {
	ctx, cancel := limit()
	defer cancel()
	r, err := f.Publish(ctx, p)
	if r == nil {
		noError(err, "PUBLISH "+p.Topic)
	}
	return r.ReasonCode
}

func (f *five) with(topic, payload string, p paho.PublishProperties) {
	f.publish(&paho.Publish{Topic: topic, Payload: []byte(payload), QoS: 1, Properties: &p})
}

func (f *five) ask(topic string, qos byte) int {
	return f.askFor(paho.SubscribeOptions{Topic: topic, QoS: qos}, 0)
}

func (f *five) askFor(o paho.SubscribeOptions, identifier int) int {
	s := &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{o}}
	if identifier != 0 {
		s.Properties = &paho.SubscribeProperties{SubscriptionIdentifier: &identifier}
	}
	ctx, cancel := limit()
	defer cancel()
	ack, err := f.Subscribe(ctx, s)
	if ack == nil {
		noError(err, "SUBSCRIBE "+o.Topic)
	}
	return int(ack.Reasons[0])
}

// goodbye is the DISCONNECT that must come.
func (f *five) goodbye() *paho.Disconnect {
	ctx, cancel := limit()
	defer cancel()
	select {
	case d := <-f.gone:
		return d
	case <-ctx.Done():
		panic(failed("no DISCONNECT"))
	}
}

// properties of the message that must come next.
func (f *five) properties(payload string) *paho.PublishProperties {
	return get(f, payload).rest.(*paho.PublishProperties)
}
