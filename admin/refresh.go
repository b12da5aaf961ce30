package admin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// RuleReader reads the rules that back ends have for who is connected.
type RuleReader interface {
	// RefreshRules reads them again, and judges by them what clients have subscribed to
	// before it answers. clientID empty: of all clients.
	RefreshRules(ctx context.Context, clientID string) (RefreshReport, error)
}

// RefreshReport says what reading rules again has found.
type RefreshReport struct {
	Sources int    `json:"sources" doc:"Back ends of authz.order that rules are read from."`
	Asked   int    `json:"asked" doc:"Questions: one a client and source."`
	Changed int    `json:"changed" doc:"Of these, how many answered other rules than the client had."`
	Failed  int    `json:"failed" doc:"How many could not be answered: the client keeps the rules it had, until authz.lookup.<name>.stale_max."`
	Why     string `json:"why,omitempty" doc:"Of one that failed."`
}

type (
	refreshRules struct {
		Body struct {
			ClientID string `json:"clientid,omitempty" maxLength:"65535" doc:"Client whose rules are read; without it those of all who are connected."`
		}
	}
	refreshAnswer struct{ Body RefreshReport }
)

func registerRefresh(api huma.API, o *Options) {
	clients := &clientRoom{Clients: o.Clients}
	register(api, endpoint{
		method: http.MethodPost, path: prefix + "/authorization/refresh", id: "refreshRules", role: administrator, scope: scopeAuthorization, tag: "Authorization",
		summary: "Read the rules that back ends have for connected clients again", errors: []int{http.StatusNotFound, http.StatusServiceUnavailable},
	}, func(ctx context.Context, in *refreshRules) (*refreshAnswer, error) {
		if id := in.Body.ClientID; id != "" {
			if _, err := clients.find(ctx, &oneClient{ClientID: id}); noneThere(err) {
				return nil, newProblem(http.StatusNotFound, "there is no session of this client identifier: redoubt clients list shows who is connected, redoubt sessions list whose session is kept")
			}
		}
		r, err := o.RuleReader.RefreshRules(ctx, in.Body.ClientID)
		o.Log.LogAttrs(ctx, slog.LevelInfo, "rules read again by an operator", append(actor(ctx), slog.String("client_id", in.Body.ClientID),
			slog.Int("asked", r.Asked), slog.Int("changed", r.Changed), slog.Int("failed", r.Failed))...)
		if err != nil {
			return nil, newProblem(http.StatusServiceUnavailable, "not all rules were read in time: "+err.Error())
		}
		return &refreshAnswer{r}, nil
	})
}

// noneThere tells whether no session was found; several are for RefreshRules to read.
func noneThere(err error) bool {
	var s huma.StatusError
	return errors.As(err, &s) && s.GetStatus() == http.StatusNotFound
}

// RefreshRules is POST /authorization/refresh.
func (c *Client) RefreshRules(ctx context.Context, clientID string) (RefreshReport, error) {
	return call[RefreshReport](ctx, c, http.MethodPost, "/authorization/refresh", map[string]string{"clientid": clientID})
}
