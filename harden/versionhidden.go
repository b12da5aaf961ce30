package harden

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
)

// versionHidden is row P5.7: what strangers get is searched for the version that the broker
// says it has over its administration socket.
func versionHidden(ctx context.Context, e *Env) []Result {
	b, err := e.broker(ctx)
	if err != nil {
		return unknown(e, err.Error())
	}
	version := strings.TrimSpace(b.Version)
	if version == "" {
		return unknown(e, "the broker does not say which version it is: there is nothing to look for")
	}
	eps, _, err := e.endpoints(ctx)
	if err != nil {
		return unknown(e, err.Error())
	}
	list := make([]*endpoint, len(eps))
	for i := range eps {
		list[i] = &eps[i]
	}
	out := each(list, func(p *endpoint) Result { return e.toldAt(ctx, p, version) })
	return append(out, e.toldByPages(ctx, version)...)
}

const (
	versionWant  = "the version is not in it"
	versionTells = "it holds the version"
)

// searched adds an answer with whether it holds the version.
func (q *inquiry) searched(what, version, actual string, raw ...[]byte) {
	if slices.ContainsFunc(raw, func(b []byte) bool { return bytes.Contains(bytes.ToLower(b), bytes.ToLower([]byte(version))) }) {
		q.see(Probe, what, versionWant, versionTells, Fail)
		return
	}
	q.see(Probe, what, versionWant, actual, Pass)
}

// toldAt judges one entrance for clients.
func (e *Env) toldAt(ctx context.Context, p *endpoint, version string) Result {
	q := e.at(p.scope(), p.addr)
	q.key = p.key
	for _, level := range []byte{level5, level4} {
		what := "CONNECT without a user, " + levelName(level)
		m, answer := e.connect(ctx, p, connectPacket{level: level})
		switch {
		case m != nil: // somebody is let in; that is row P4.1
			q.searched(what, version, answer.String(), m.connack.body)
			m.drop()
		case answer.packet != nil:
			q.searched(what, version, answer.String(), answer.packet.body)
		case p.tls && refusedByTLS(answer.other):
			q.see(Probe, what, versionWant, "refused by TLS, before anything else is said", Pass)
		case answer.closed && p.tls:
			q.see(Probe, what, versionWant, "closed without a word", Pass)
		default:
			q.see(Probe, what, versionWant, answer.String(), Unknown)
		}
	}
	if p.tls {
		q.certificateTells(ctx, p, version)
	}
	if p.ws {
		q.pageTells(ctx, p, version)
	}
	return q.result(Behavioural, "strangers are not told which version runs")
}

// certificateTells looks at what is shown in the handshake.
func (q *inquiry) certificateTells(ctx context.Context, p *endpoint, version string) {
	const what = "the certificate that is shown"
	var raw [][]byte
	conf := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12, ServerName: p.serverName(), VerifyPeerCertificate: func(chain [][]byte, _ [][]*x509.Certificate) error {
		raw = chain
		return nil
	}}
	c, err := q.e.secure(ctx, p.addr, conf)
	if err == nil {
		_ = c.Close()
	}
	if len(raw) == 0 {
		q.see(Probe, what, versionWant, fmt.Sprintf("none came: %v", err), Unknown)
		return
	}
	q.searched(what, version, fmt.Sprintf("%d certificates", len(raw)), raw...)
}

// pageTells asks a listener of WebSocket for a page.
func (q *inquiry) pageTells(ctx context.Context, p *endpoint, version string) {
	plain := *p
	plain.ws = false
	for _, path := range []string{"/", p.path} {
		what := "GET " + path
		c, err := q.e.open(ctx, &plain)
		if err != nil {
			state := passIf(refusedByTLS(err.Error()), Unknown)
			q.see(Probe, what, versionWant, "no connection: "+shortened(err.Error()), state)
			continue
		}
		got := askPageOn(c, p.addr.String(), path)
		_ = c.Close()
		if refusedByTLS(got.other) {
			q.see(Probe, what, versionWant, "refused by TLS, before anything else is said", Pass)
			continue
		}
		if got.closed { // the CONNECT above had an answer here
			q.see(Probe, what, versionWant, "closed without a word", Pass)
			continue
		}
		q.pageSearched(what, version, got)
	}
}

func (q *inquiry) pageSearched(what, version string, got answerPage) {
	if got.status == 0 {
		q.see(Probe, what, versionWant, got.String(), Unknown)
		return
	}
	q.searched(what, version, got.String(), []byte(got.text))
}

// toldByPages judges what is no entrance for clients and speaks HTTP.
func (e *Env) toldByPages(ctx context.Context, version string) (out []Result) {
	all, err := e.listening(ctx)
	if err != nil {
		return nil // said already
	}
	for i := range all {
		s := &all[i]
		if s.key != "metrics" && s.key != "enroll" {
			continue
		}
		pages := []string{"/", "/livez"}
		switch {
		case s.key == "enroll":
			pages = []string{"/"}
		case !s.addr.Addr().IsLoopback():
			pages = append(pages, "/metrics")
		}
		for _, a := range e.spots(s) {
			if e.notServed(ctx, s, a) {
				continue
			}
			q := e.inquire(s.name + "@" + a.String())
			q.key = s.key
			for _, path := range pages {
				if s.key != "enroll" {
					q.pageSearched("GET "+path, version, e.askPage(ctx, a, path))
					continue
				}
				c, err := e.secure(ctx, a, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12, ServerName: "localhost"})
				if err != nil {
					q.see(Probe, "GET "+path, versionWant, shortened(err.Error()), Unknown)
					continue
				}
				q.pageSearched("GET "+path, version, askPageOn(c, a.String(), path))
				_ = c.Close()
			}
			if s.key == "metrics" && s.addr.Addr().IsLoopback() {
				q.see(ReadKernel, "GET /metrics", "", "shows it, and is on loopback", NotApplicable)
			}
			out = append(out, q.result(Behavioural, "strangers are not told which version runs"))
		}
	}
	return out
}

// refusedByTLS tells whether the other side has ended a handshake with an alert, as a listener
// does that wants a certificate.
func refusedByTLS(text string) bool { return strings.Contains(text, "remote error: tls: ") }
