package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/redoubtmq/redoubt/auth/bans"
	"github.com/redoubtmq/redoubt/auth/tokens"
)

// Tokens are the tokens that operators of a broker have revoked.
type Tokens interface {
	// RevokedTokens are those that are not over, in order.
	RevokedTokens(now time.Time) []*tokens.Revocation
	// RevokeTokens puts a checked revocation in force, and closes the clients that it hits. It
	// calls before when it is durable and before it is in force.
	RevokeTokens(r *tokens.Revocation, before func()) error
	// RestoreTokens takes one back, and calls before in the same way.
	RestoreTokens(as, who string, before func(*tokens.Revocation)) error
}

// NewRevocation is a revocation to make.
type NewRevocation struct {
	As     string `json:"as" enum:"jti,subject" doc:"jti: the token of that name. subject: all tokens of that identity that were made before a time."`
	Who    string `json:"who" minLength:"1" maxLength:"1024" doc:"The jti of the token, or the identity."`
	Before string `json:"before,omitempty" maxLength:"64" doc:"Of a subject: tokens with an iat before this (RFC 3339), and those without iat."`
	Reason string `json:"reason,omitempty" maxLength:"512" doc:"Why, for whoever reads the list or the log. No client sees it."`
	Until  string `json:"until,omitempty" maxLength:"64" doc:"When it can be forgotten, as RFC 3339: when all tokens that it hits have expired. infinity or nothing: never."`
}

// RevocationInfo is a revocation that is in force.
type RevocationInfo struct {
	NewRevocation
	By string `json:"by,omitempty" doc:"Who made it."`
	At string `json:"at" doc:"When, as RFC 3339."`
}

// RevocationPage is one page of revocations.
type RevocationPage struct {
	Data []RevocationInfo `json:"data" doc:"Revocations, by kind and name."`
	Meta Meta             `json:"meta"`
}

type (
	listRevocations struct {
		Page  int `query:"page" minimum:"1" maximum:"1000000" default:"1" doc:"Page; the first is 1."`
		Limit int `query:"limit" minimum:"1" maximum:"10000" default:"100" doc:"Entries on a page."`
	}
	addRevocation struct{ Body NewRevocation }
	oneRevocation struct {
		As  string `path:"as" maxLength:"16" doc:"What it goes by: jti or subject."`
		Who string `path:"who" minLength:"1" maxLength:"3072" doc:"The jti or the identity; a slash in it is written %2F."`
	}
	revocationPageAnswer struct{ Body RevocationPage }
	revocationAnswer     struct{ Body RevocationInfo }
)

// tokenRoom answers what is about tokens.
type tokenRoom struct{ o *Options }

func registerTokens(api huma.API, o *Options) {
	r := &tokenRoom{o}
	const tag, path = "Tokens", prefix + "/tokens/revoked"
	register(api, endpoint{
		method: http.MethodGet, path: path, id: "listRevokedTokens", role: viewer, scope: scopeTokens, tag: tag, summary: "Which tokens were revoked",
	}, r.list)
	register(api, endpoint{
		method: http.MethodPost, path: path, id: "revokeTokens", role: administrator, scope: scopeTokens, tag: tag,
		summary: "Revoke a token, or those of somebody, and close their clients", errors: []int{http.StatusConflict},
	}, r.add)
	register(api, endpoint{
		method: http.MethodDelete, path: path + "/{as}/{who...}", id: "restoreTokens", role: administrator, scope: scopeTokens, tag: tag,
		summary: "Take a revocation back", status: http.StatusNoContent, errors: []int{http.StatusNotFound},
	}, r.remove)
}

func revocationInfo(t *tokens.Revocation) RevocationInfo {
	i := RevocationInfo{NewRevocation: NewRevocation{As: t.As, Who: t.Who, Reason: t.Reason, Until: bans.UntilText(t.Until)}, By: t.By, At: bans.TimeText(t.At)}
	if t.Before > 0 {
		i.Before = bans.TimeText(t.Before)
	}
	return i
}

func (r *tokenRoom) list(_ context.Context, q *listRevocations) (*revocationPageAnswer, error) {
	page := RevocationPage{Data: []RevocationInfo{}, Meta: Meta{Page: q.Page, Limit: q.Limit}}
	all := r.o.Tokens.RevokedTokens(r.o.Clock.Now())
	page.Meta.Count = len(all)
	first := min((q.Page-1)*q.Limit, len(all))
	for _, t := range all[first:min(first+q.Limit, len(all))] {
		page.Data = append(page.Data, revocationInfo(t))
	}
	page.Meta.HasNext = page.Meta.Count > first+q.Limit
	return &revocationPageAnswer{page}, nil
}

func revocationAttrs(t *tokens.Revocation) []slog.Attr {
	i := revocationInfo(t)
	return []slog.Attr{slog.String("as", i.As), slog.String("who", clipped(i.Who)), slog.String("before", i.Before), slog.String("reason", i.Reason), slog.String("until", i.Until)}
}

func (r *tokenRoom) add(ctx context.Context, in *addRevocation) (*revocationAnswer, error) {
	now, b := r.o.Clock.Now(), &in.Body
	t := &tokens.Revocation{As: b.As, Who: b.Who, By: maker(ctx), Reason: b.Reason, At: now.Unix()}
	var err, wrong error
	t.Until, err = bans.ParseUntil(b.Until)
	if b.Before != "" {
		var at time.Time
		if at, wrong = time.Parse(time.RFC3339, b.Before); wrong == nil {
			t.Before = at.Unix()
		} else {
			wrong = fmt.Errorf("before is %q, which is no time; write it as 2027-03-31T12:00:00Z", clipped(b.Before))
		}
	}
	if err := cmp.Or(err, wrong, t.Check()); err != nil {
		return nil, newProblem(http.StatusUnprocessableEntity, err.Error())
	}
	err = r.o.Tokens.RevokeTokens(t, func() {
		r.o.Log.LogAttrs(ctx, loudly(r.o), "tokens revoked by an operator", append(actor(ctx), revocationAttrs(t)...)...)
	})
	if err != nil {
		return nil, revocationRefused(err)
	}
	return &revocationAnswer{revocationInfo(t)}, nil
}

func (r *tokenRoom) remove(ctx context.Context, in *oneRevocation) (*empty, error) {
	err := r.o.Tokens.RestoreTokens(in.As, in.Who, func(t *tokens.Revocation) {
		r.o.Log.LogAttrs(ctx, loudly(r.o), "revocation of tokens taken back by an operator", append(actor(ctx), revocationAttrs(t)...)...)
	})
	if err != nil {
		return nil, revocationRefused(err)
	}
	return nil, nil
}

// revocationRefused turns an error of Tokens into an answer.
func revocationRefused(err error) error {
	var keep *tokens.KeepError
	status := http.StatusUnprocessableEntity
	switch {
	case errors.Is(err, tokens.ErrUnknown):
		status = http.StatusNotFound
	case errors.Is(err, tokens.ErrFull):
		status = http.StatusConflict
	case errors.As(err, &keep): // the log takes nothing now
		status = http.StatusServiceUnavailable
	}
	return newProblem(status, err.Error())
}

// EachRevokedToken is GET /tokens/revoked, all pages. It takes no filter.
func (c *Client) EachRevokedToken(ctx context.Context, _ Filter, fn func(*RevocationInfo) error) error {
	v := url.Values{"limit": {strconv.Itoa(RowsMax)}}
	for n := 1; ; n++ {
		v.Set("page", strconv.Itoa(n))
		page, err := call[RevocationPage](ctx, c, http.MethodGet, "/tokens/revoked?"+v.Encode(), nil)
		if err != nil {
			return err
		}
		for i := range page.Data {
			if err := fn(&page.Data[i]); err != nil {
				return err
			}
		}
		if !page.Meta.HasNext {
			return nil
		}
	}
}

// RevokeTokens is POST /tokens/revoked.
func (c *Client) RevokeTokens(ctx context.Context, r *NewRevocation) (RevocationInfo, error) {
	return call[RevocationInfo](ctx, c, http.MethodPost, "/tokens/revoked", r)
}

// RestoreTokens is DELETE /tokens/revoked/{as}/{who}.
func (c *Client) RestoreTokens(ctx context.Context, as, who string) error {
	_, err := call[struct{}](ctx, c, http.MethodDelete, "/tokens/revoked/"+segment(as)+"/"+segment(who), nil)
	return err
}
