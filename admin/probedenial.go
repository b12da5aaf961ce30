package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/redoubtmq/redoubt/pki/revoke"
)

// Denier refuses certificates of clients in memory, besides those of certificates.denied.
type Denier interface {
	// DenyForProbes puts a list of entries, as revoke.ParseDenied takes them, in the place of
	// the one before. When it returns, new connections are judged by it; those there are follow.
	DenyForProbes(ctx context.Context, entries []string) error
	// GrantEnded has every session judged again by the rules in force, as any change of rules.
	GrantEnded()
}

// denialsMax bounds how many certificates are denied for probes at once. A run of the
// doctor takes one for each address of a listener.
const denialsMax = 64

// errDenialsFull is answered beyond.
var errDenialsFull = fmt.Errorf("%d certificates are denied for probes already; try again in a minute", denialsMax)

// denial is one certificate that is denied for a while.
type denial struct {
	entry string
	until time.Time
}

// Deny has certificates denied for as long as a probe user lives. It only ever takes
// away, and only by a fingerprint: nobody but its holder is affected.
func (p *Probes) Deny(ctx context.Context, fingerprints []string) (until time.Time, err error) {
	entries := make([]string, len(fingerprints))
	for i, f := range fingerprints {
		if entries[i], err = revoke.DenialID("sha256:" + f); err != nil {
			return time.Time{}, err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	next := slices.Clone(p.denied)
	until = p.clock.Now().Add(probeLife)
	for _, e := range entries {
		if !slices.ContainsFunc(next, func(d denial) bool { return d.entry == e }) {
			next = append(next, denial{e, until})
		}
	}
	if len(next) > denialsMax {
		return time.Time{}, errDenialsFull
	}
	if err := p.denier.DenyForProbes(ctx, entriesOf(next)); err != nil {
		return time.Time{}, err
	}
	p.denied = next
	p.wake()
	p.log.Info("certificates denied for a probe", "certificates", entries, "expires_at", until)
	return until, nil
}

// expireDenials ends those whose time has come and answers when the next one's does. What
// could not be ended stays denied, and is tried again.
func (p *Probes) expireDenials(ctx context.Context) (next time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock.Now()
	left := slices.DeleteFunc(slices.Clone(p.denied), func(d denial) bool { return !now.Before(d.until) })
	if len(left) != len(p.denied) {
		if err := p.denier.DenyForProbes(ctx, entriesOf(left)); err != nil {
			return now.Add(probeLife)
		}
		p.log.Info("certificates are not denied for a probe any longer", "certificates", len(p.denied)-len(left))
		p.denied = left
	}
	for _, d := range left {
		if next.IsZero() || d.until.Before(next) {
			next = d.until
		}
	}
	return next
}

func entriesOf(all []denial) (entries []string) {
	for _, d := range all {
		entries = append(entries, d.entry)
	}
	return entries
}

type (
	denyProbe struct {
		Body struct {
			Fingerprints []string `json:"fingerprints" minItems:"1" maxItems:"16" doc:"SHA-256 of certificates, in hexadecimal."`
		}
	}
	// ProbeDenial says for how long certificates are denied.
	ProbeDenial struct {
		ExpiresAt time.Time `json:"expires_at" doc:"When they are not denied any longer."`
	}
	denialAnswer struct{ Body ProbeDenial }
)

func registerDenials(api huma.API, p *Probes, tag, path string) {
	register(api, endpoint{
		method: http.MethodPost, path: path + "/denial", id: "denyForProbe", role: administrator, scope: scopeUsers, tag: tag,
		summary: "Deny certificates that were made for a probe; it ends by itself after a minute", status: http.StatusCreated,
		errors: []int{http.StatusConflict},
	}, func(ctx context.Context, in *denyProbe) (*denialAnswer, error) {
		until, err := p.Deny(ctx, in.Body.Fingerprints)
		if errors.Is(err, errDenialsFull) {
			return nil, newProblem(http.StatusConflict, err.Error())
		}
		if err != nil {
			return nil, refusal(err)
		}
		return &denialAnswer{ProbeDenial{until}}, nil
	})
}

// DenyForProbe is POST /probe/denial.
func (c *Client) DenyForProbe(ctx context.Context, fingerprints []string) (ProbeDenial, error) {
	return call[ProbeDenial](ctx, c, http.MethodPost, "/probe/denial", map[string][]string{"fingerprints": fingerprints})
}
