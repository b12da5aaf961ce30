package main

import (
	"crypto/tls"
	"fmt"
	"sync"
	"time"

	"github.com/redoubtmq/redoubt/alarm"
	"github.com/redoubtmq/redoubt/auth/lookup"
	"github.com/redoubtmq/redoubt/backend"
	"github.com/redoubtmq/redoubt/backend/web"
	"github.com/redoubtmq/redoubt/config"
)

// openService makes the driver of a service over HTTP. The configuration has judged it.
func (n *node) openService(c *config.Backend, secured *tls.Config, troubled func(time.Time, bool, string)) backend.Driver {
	to, host, base, err := c.ServiceURL()
	if err != nil {
		panic("BUG: a back end of the url " + c.URL)
	}
	opt := web.Options{Server: to, Host: host, Base: base, Username: c.Username, Password: passwordLine(c.Password), TLS: secured,
		Failures: c.Breaker.Failures, Troubled: troubled}
	for i := range c.Headers {
		h := &c.Headers[i]
		opt.Headers = append(opt.Headers, web.Header{Name: h.Name, Value: passwordLine(h.Text())})
	}
	return web.New(opt, n.clock)
}

// downAlarm is the alarm of a back end, which two may raise for their own reasons: the breaker
// when it opens, and a driver whose server is there and answers nobody.
type downAlarm struct {
	n    *node
	name string

	mu               sync.Mutex // guards everything below
	breaker, trouble string     // why; "" is none

	telling turnOf
}

// turnOf has alarms told in turn, without the lock of what they are about.
type turnOf struct {
	mu sync.Mutex // guards nothing: who holds it tells
}

func (d *downAlarm) ofBreaker(now time.Time, down bool, why string) {
	d.set(now, &d.breaker, down, why)
}
func (d *downAlarm) ofDriver(now time.Time, down bool, why string) { d.set(now, &d.trouble, down, why) }

func (d *downAlarm) set(now time.Time, which *string, down bool, why string) {
	d.mu.Lock()
	*which = ""
	if down {
		*which = why
	}
	d.mu.Unlock()
	d.telling.mu.Lock()
	defer d.telling.mu.Unlock()
	d.mu.Lock()
	breaker, trouble := d.breaker, d.trouble // by now: who comes here last says what holds
	d.mu.Unlock()
	switch {
	case breaker != "":
		d.n.alarms.Raise(now, alarm.BackendDown, d.name, breaker)
	case trouble != "":
		d.n.alarms.Raise(now, alarm.BackendDown, d.name, trouble)
	default:
		d.n.alarms.Clear(now, alarm.BackendDown, d.name)
	}
}

// serviceConf is what an authenticator that asks a service is made from.
type serviceConf struct {
	config.HTTPAuthenticator
	at uint64 // number of the back end
}

// serviceOf answers the section of such an authenticator, and how it is made.
func (n *node) serviceOf(c *config.Config, name string) (conf any, make func() (*asked, error), err error) {
	section := c.Authn.HTTP[name]
	at := n.askable.next[section.Backend]
	if at == nil {
		return nil, nil, fmt.Errorf("authn.http.%s: there is no back end %s", name, section.Backend)
	}
	call, err := section.Call()
	if err != nil {
		return nil, nil, fmt.Errorf("authn.http.%s.query: %w", name, err)
	}
	opt := lookup.ServiceOptions{
		Name: name, Backend: at.Backend, Call: call, NoContent: section.NoContent == config.NoContentAllows,
		Superuser: section.Superuser == config.Honoured, Attributes: section.Attributes == config.Honoured,
		Cache: backend.CacheOptions{Entries: section.Cache.Entries, Positive: section.Cache.Positive.Std(), Negative: section.Cache.Negative.Std()},
	}
	section.When = "" // is the chain's
	return serviceConf{section, at.number}, func() (*asked, error) {
		return &asked{Authenticator: lookup.NewService(opt, n.clock)}, nil
	}, nil
}
