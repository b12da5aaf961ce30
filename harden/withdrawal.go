package harden

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/redoubtmq/redoubt/pki"
	"github.com/redoubtmq/redoubt/pki/revoke"
)

// A certificate that was good has left something behind when it is withdrawn: sessions of
// TLS to resume, for which nobody shows it again, and connections that are open. Both
// are made here with a certificate of the run, which the broker then denies for a minute.

// withdrawnWithin is how long a connection may outlive its certificate, at most two steps
// of a probe.
const withdrawnWithin = 10 * time.Second

// withdrawal is that at one address of a listener.
type withdrawal struct {
	*asking
	mark    int // of its observations
	cert    *tls.Certificate
	tickets []ticket
	live    *client
}

// ticket is a client of TLS that has a session to resume.
type ticket struct {
	version uint16
	conf    *tls.Config
}

// withdraws tries all listeners with one denial, because each has the broker judge
// everybody who is connected.
func (e *Env) withdraws(ctx context.Context, all []*asking) {
	var ready []*withdrawal
	var user *ProbeUser
	defer func() {
		for _, w := range ready {
			w.live.leave()
		}
		if user != nil {
			_ = e.Broker.EndProbe(ctx, user.Name) // it ends by itself within a minute
		}
	}()
	var denied []string
	for _, j := range all {
		w := &withdrawal{asking: j, mark: len(j.obs)}
		var why string
		if w.cert, why = j.expendable(); w.cert == nil {
			j.see(Probe, "a session of before a revocation, and an open connection", "both end with the certificate", "not tried: "+why, Unknown)
			continue
		}
		w.resumes()
		w.connects(&user)
		ready = append(ready, w)
		if id := revoke.FingerprintID(w.cert.Leaf); !slices.Contains(denied, id) {
			denied = append(denied, id)
		}
	}
	if len(ready) == 0 {
		return
	}
	if err := e.Broker.DenyProbe(ctx, denied); err != nil {
		for _, w := range ready {
			w.see(API, "denial of the certificate of a probe", "in force", shortened(err.Error()), Unknown)
		}
		return
	}
	for _, w := range ready {
		w.withdrawn()
	}
}

// expendable is a good certificate that nobody needs.
func (j *asking) expendable() (*tls.Certificate, string) {
	switch {
	case j.prober != nil && j.good != nil:
		return j.good, ""
	case j.good == nil:
		return nil, j.noKey
	case !j.e.DenyGood:
		return nil, "it takes a certificate that the broker may deny for a minute; if nobody else has the one of --client-cert, say --deny-client-cert"
	case j.good.Leaf == nil:
		leaf, err := x509.ParseCertificate(j.good.Certificate[0])
		if err != nil {
			return nil, err.Error()
		}
		j.good.Leaf = leaf
	}
	return j.good, ""
}

// resumes gets a session to resume in each version of TLS, and resumes it.
func (w *withdrawal) resumes() {
	for _, v := range w.versions() {
		conf := showing(w.cert, v)
		conf.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		first, again := w.tries(conf), w.tries(conf)
		what := versionName(v) + ": a session that is resumed (positive control)"
		switch {
		case !first.answered || !again.answered:
			if first.answered {
				first = again
			}
			w.see(Probe, what, "answered", first.words, Unknown)
		case !again.resumed:
			w.see(Probe, versionName(v)+": a session to resume", "", "none is resumed here, so that none outlives its certificate", NotApplicable)
		default:
			w.see(Probe, what, "answered", again.words, Pass)
			w.tickets = append(w.tickets, ticket{v, conf})
		}
	}
}

// connects opens a connection that stays, as the user of the certificate or, where the
// listener knows users by passwords, as one of the run.
func (w *withdrawal) connects(user **ProbeUser) {
	const what = "a connection that stays (positive control)"
	c := connectPacket{level: w.level()}
	if !slices.Contains(w.chain, "x509") {
		if *user == nil {
			u, err := w.e.addProbe(w.ctx, false)
			if err != nil {
				w.see(API, what, "accepted", "no probe user: "+shortened(err.Error()), Unknown)
				return
			}
			*user = &u
		}
		c = (*user).as(w.level())
	}
	with := *w.p
	with.cert = w.cert
	m, answer := w.e.connect(w.ctx, &with, c)
	w.see(Probe, what, "accepted", answer.String(), passIf(m != nil, Unknown))
	w.live = m
}

// level is one of the protocol that the listener speaks.
func (j *asking) level() byte {
	if v := j.e.Config.MQTT.Versions; slices.Contains(v, "5.0") && !slices.Contains(v, "3.1.1") {
		return level5
	}
	return level4
}

// withdrawn looks what is left of a certificate that is denied now.
func (w *withdrawal) withdrawn() {
	for _, t := range w.tickets {
		g := w.tries(t.conf)
		s := Unknown
		switch {
		case g.answered:
			s = Fail
			if g.resumed {
				g.words += ", in the session of before"
			}
		case g.refused:
			s = Pass
		}
		w.see(Probe, versionName(t.version)+": a session of before its certificate was denied", "an alert before any answer", g.words, s)
	}
	if w.live != nil {
		const what, want = "a connection of before its certificate was denied", "closed within ten seconds"
		began := w.e.Clock.Now()
		switch err := w.live.ended(min(withdrawnWithin, 2*w.e.step())); {
		case err == nil:
			w.see(Probe, what, want, fmt.Sprintf("closed after %s", w.e.Clock.Now().Sub(began).Round(100*time.Millisecond)), Pass)
		default:
			w.see(Probe, what, want, shortened(err.Error()), Fail)
		}
		w.live = nil
	}
	if w.prober == nil {
		return
	}
	// What refuses everybody proves nothing.
	now := w.e.Clock.Now()
	fresh, err := w.prober.Issue(now, pki.ProbeCert{Name: "probe-" + randomText(), NotBefore: now.Add(-time.Second), NotAfter: now.Add(pki.ProbeLifeMax - time.Second), Usage: x509.ExtKeyUsageClientAuth})
	words := ""
	if err == nil {
		g := w.shows(fresh, w.versions()[0])
		if words = g.words; g.answered {
			w.see(Probe, "another good certificate (positive control)", "answered", words, Pass)
			return
		}
	} else {
		words = err.Error()
	}
	w.see(Probe, "another good certificate (positive control)", "answered", words, Unknown)
	w.doubt(w.mark)
}

// ended waits until the broker has ended the connection; whatever it says before is read
// past.
func (m *client) ended(within time.Duration) error {
	until := m.e.Clock.Now().Add(within)
	for {
		if err := m.conn.SetDeadline(until); err != nil {
			return nil // closed
		}
		p, err := readPacket(m.r)
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout():
			m.drop()
			return fmt.Errorf("still open after %s", within)
		case err != nil:
			m.drop()
			return nil
		}
		_ = m.note(&p) // an acknowledgement that cannot be sent is the end, which comes next
	}
}
