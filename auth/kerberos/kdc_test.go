package kerberos

import (
	"os"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/kerberos/kdctest"
)

const (
	realm   = kdctest.Realm
	servant = kdctest.Servant
	mutual  = kdctest.Mutual
)

// kdc is a realm with an acceptor of ours.
type kdc struct {
	*kdctest.KDC
	t    *testing.T
	now  time.Time
	auth *Authenticator
}

func newKDC(t *testing.T, enctype string) *kdc {
	t.Helper()
	k := &kdc{KDC: kdctest.Start(t, enctype), t: t, now: time.Now()}
	k.auth = k.acceptor(func(*Options) {})
	return k
}

// acceptor is an authenticator with the keytab of the service.
func (k *kdc) acceptor(change func(*Options)) *Authenticator {
	k.t.Helper()
	b, err := os.ReadFile(k.File("service"))
	if err != nil {
		k.t.Fatal(err)
	}
	p, err := ParsePrincipal(servant)
	if err != nil {
		k.t.Fatal(err)
	}
	keys, err := ReadKeytab(b, p)
	if err != nil {
		k.t.Fatal(err)
	}
	o := Options{Name: "plant", Principal: p, Keys: keys, Realms: []string{realm}, Bare: realm, Now: func() time.Time { return k.now }}
	change(&o)
	a, err := New(o)
	if err != nil {
		k.t.Fatal(err)
	}
	return a
}

func step(e auth.Exchange, data []byte) (r auth.Result) {
	e.Step(data, func(got auth.Result) { r = got })
	return r
}

// enter is the whole conversation.
func (k *kdc) enter(a *Authenticator, who string, req *auth.Request, last []byte) auth.Result {
	k.t.Helper()
	e := a.Begin(req)
	r := step(e, k.Token(who, servant, mutual))
	if r.Outcome != auth.Continue {
		return r
	}
	k.Proven(r.Data)
	if r = step(e, nil); r.Outcome != auth.Continue {
		return r
	}
	return step(e, k.Layer(r.Data, last))
}
