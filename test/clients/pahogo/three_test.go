package pahogo

import (
	"fmt"
	"net"
	"syscall"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// old is a client of 3.1 or 3.1.1.
type old struct {
	mqtt.Client
	in   chan message
	lost chan error
	had  bool
	raw  syscall.RawConn
}

// three opens clients of one version.
func three(version uint) opener {
	return func(id string, h how) client {
		c := &old{in: make(chan message, 100), lost: make(chan error, 1)}
		o := mqtt.NewClientOptions().SetProtocolVersion(version).SetClientID(settings.Name + "-" + id).SetCleanSession(!h.keep)
		o.SetTLSConfig(trust).SetAutoReconnect(false).SetConnectTimeout(wait).SetWriteTimeout(wait)
		o.SetUsername(settings.User).SetPassword(settings.Password)
		if h.other {
			o.SetUsername(settings.OtherName).SetPassword(settings.OtherPassword)
		}
		if h.will != "" {
			o.SetWill(h.will, "gone", 1, false)
		}
		at := settings.Port
		if h.port != 0 {
			at = h.port
		}
		scheme := "tls"
		if settings.Path != "" {
			scheme = "wss"
		}
		o.AddBroker(fmt.Sprintf("%s://%s:%d%s", scheme, settings.Host, at, settings.Path))
		o.SetDialer(&net.Dialer{Timeout: wait, Control: func(_, _ string, raw syscall.RawConn) error {
			c.raw = raw
			return nil
		}})
		o.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) {
			c.in <- message{m.Topic(), string(m.Payload()), m.Qos(), m.Retained(), nil}
		})
		o.SetConnectionLostHandler(func(_ mqtt.Client, err error) { c.lost <- err })
		c.Client = mqtt.NewClient(o)
		token := c.Connect()
		done(token, "CONNECT")
		c.had = token.(*mqtt.ConnectToken).SessionPresent()
		return c
	}
}

func done(t mqtt.Token, what string) {
	check(t.WaitTimeout(wait), "no answer to %s", what)
	noError(t.Error(), what)
}

func (c *old) present() bool       { return c.had }
func (c *old) inbox() chan message { return c.in }
func (c *old) leave()              { c.Disconnect(100) }

func (c *old) say(topic, payload string, qos byte, retain bool) {
	done(c.Publish(topic, qos, retain, payload), "PUBLISH "+topic)
}

func (c *old) ask(topic string, qos byte) int {
	t := c.Subscribe(topic, qos, nil).(*mqtt.SubscribeToken)
	select {
	case <-t.Done():
		for _, code := range t.Result() { // of $share/g/t the library keeps t
			return int(code)
		}
		return -1
	case <-c.lost:
		return -1
	}
}

func (c *old) cut() {
	if settings.Path != "" {
		c.leave()
		return
	}
	_ = c.raw.Control(func(fd uintptr) { _ = syscall.Shutdown(int(fd), syscall.SHUT_RDWR) })
}
