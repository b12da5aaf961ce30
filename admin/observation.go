package admin

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/redoubtmq/redoubt/auth/observe"
)

// Observers watch what clients do, for a limited time.
type Observers interface {
	// Observe begins; started is false if that is under way.
	Observe(d time.Duration) (started bool)
	// Observed is what was seen the last time, so far; ok is false if there was none.
	Observed() (s observe.Suggestion, ok bool)
	// EndObservation stops it, and with forget drops what was seen.
	EndObservation(forget bool)
}

// RuleSuggestion is what was seen, and rules that would allow it and little more.
type RuleSuggestion struct {
	From        time.Time `json:"from" doc:"Since when it was watched."`
	Until       time.Time `json:"until" doc:"When it ends, or has ended."`
	Active      bool      `json:"active" doc:"It goes on."`
	Users       int       `json:"users" doc:"Users that were seen."`
	Kinds       int       `json:"kinds" doc:"Kinds of topics, each for each user."`
	NotKept     int       `json:"not_kept" doc:"Judgements that had no place: a user has 64 kinds, all together 8,192."`
	NotProposed int       `json:"not_proposed" doc:"Judgements of clients without a user name, or about topics that are too long or hold ${."`
	Refused     int       `json:"refused" doc:"Judgements that the rules in force refused; none of that is proposed."`
	Rules       int       `json:"rules" doc:"Rules in the file."`
	File        string    `json:"file" doc:"A rules file, with comments."`
}

type (
	observeBody struct {
		Body struct {
			Seconds int `json:"seconds" minimum:"1" maximum:"604800" doc:"For how long; it ends by itself."`
		}
	}
	endObservation struct {
		Keep bool `query:"keep" doc:"What was seen stays until the next time."`
	}
	suggestionAnswer struct{ Body RuleSuggestion }
)

func registerObservation(api huma.API, o *Options) {
	const tag, path = "Authorization", prefix + "/authorization/observation"
	register(api, endpoint{
		method: http.MethodPost, path: path, id: "startObservation", role: administrator, scope: scopeAuthorization, tag: tag,
		summary: "Watch for a time what clients publish and subscribe to, to suggest rules", status: http.StatusNoContent, errors: []int{http.StatusConflict},
	}, func(ctx context.Context, in *observeBody) (*empty, error) {
		if !o.Observers.Observe(time.Duration(in.Body.Seconds) * time.Second) {
			return nil, newProblem(http.StatusConflict, "somebody watches already: redoubt acl suggest shows what was seen so far, and with --forget ends it")
		}
		o.Log.LogAttrs(ctx, loudly(o), "an operator watches what clients do, to suggest rules", append(actor(ctx), slog.Int("seconds", in.Body.Seconds))...)
		return nil, nil
	})
	register(api, endpoint{
		method: http.MethodGet, path: path, id: "getObservation", role: viewer, scope: scopeAuthorization, tag: tag,
		summary: "What was seen, and rules that would allow it", errors: []int{http.StatusNotFound},
	}, func(context.Context, *none) (*suggestionAnswer, error) {
		s, ok := o.Observers.Observed()
		if !ok {
			return nil, newProblem(http.StatusNotFound, "nobody has watched yet; begin with: redoubt acl suggest --for 24h")
		}
		return &suggestionAnswer{RuleSuggestion{
			From: s.From.UTC(), Until: s.Until.UTC(), Active: s.Active, Users: s.Users, Kinds: s.Kinds, NotKept: s.Left, NotProposed: s.Odd, Refused: s.Refused, Rules: s.Rules, File: s.Text,
		}}, nil
	})
	register(api, endpoint{
		method: http.MethodDelete, path: path, id: "endObservation", role: administrator, scope: scopeAuthorization, tag: tag,
		summary: "End watching, and forget what was seen", status: http.StatusNoContent,
	}, func(ctx context.Context, in *endObservation) (*empty, error) {
		o.Observers.EndObservation(!in.Keep)
		o.Log.LogAttrs(ctx, loudly(o), "an operator has ended watching what clients do", actor(ctx)...)
		return nil, nil
	})
}

// Observe is POST /authorization/observation.
func (c *Client) Observe(ctx context.Context, d time.Duration) error {
	_, err := call[struct{}](ctx, c, http.MethodPost, "/authorization/observation", map[string]int{"seconds": int(d / time.Second)})
	return err
}

// Observed is GET /authorization/observation.
func (c *Client) Observed(ctx context.Context) (RuleSuggestion, error) {
	return call[RuleSuggestion](ctx, c, http.MethodGet, "/authorization/observation", nil)
}

// EndObservation is DELETE /authorization/observation.
func (c *Client) EndObservation(ctx context.Context, keep bool) error {
	path := "/authorization/observation"
	if keep {
		path += "?keep=true"
	}
	_, err := call[struct{}](ctx, c, http.MethodDelete, path, nil)
	return err
}
