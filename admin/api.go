package admin

import (
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// prefix is EMQX's, so that its clients find what they know.
const prefix = "/api/v5"

// openAPIPath serves the document of this API to those who may use it.
const openAPIPath = prefix + "/openapi.json"

// newAPI builds the operations on a mux of their own.
func newAPI(o *Options) (*http.ServeMux, huma.API) {
	mux := http.NewServeMux()
	c := huma.DefaultConfig("Redoubt administration API", o.Version)
	// huma's own pages are left out: the document is served below from one
	// immutable copy, and the documentation page loads scripts from elsewhere.
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "", "", ""
	c.CreateHooks = nil // no $schema links in answers
	c.RejectUnknownQueryParameters = true
	c.Transformers = []huma.Transformer{func(ctx huma.Context, _ string, v any) (any, error) {
		if p, ok := v.(*Problem); ok {
			p.RequestID = requestID(ctx.Context())
		}
		return v, nil
	}}
	api := humago.New(mux, c)
	api.UseMiddleware(authorize(api))
	registerStatus(api, o)
	registerReload(api, o)
	registerUsers(api, o)
	registerAuthorization(api, o)
	if o.Rules != nil {
		registerBuiltinRules(api, o)
	}
	if o.RuleReader != nil {
		registerRefresh(api, o)
	}
	if o.Probes != nil {
		registerProbes(api, o.Probes)
	}
	if o.Chains != nil {
		registerCanaries(api, o.Chains)
	}
	if o.Limits != nil {
		registerLimits(api, o.Limits)
	}
	cur := newCursors()
	if o.Clients != nil {
		registerClients(api, o, cur)
	}
	if o.Retained != nil {
		registerRetained(api, o, cur)
	}
	if o.LogLevel != nil {
		registerLogLevel(api, o)
	}
	if o.Settings != nil {
		registerSettings(api, o)
	}

	if o.Bans != nil {
		registerBans(api, o)
	}
	if o.Whys != nil && o.Clients != nil {
		registerWhy(api, o)
		registerEffective(api, o)
		registerLint(api, o)
	}
	if o.Listeners != nil {
		registerListeners(api, o)
	}
	if o.Tokens != nil {
		registerTokens(api, o)
	}
	if o.Logins != nil {
		registerLogins(api, o)
	}
	if o.Candidates != nil {
		registerDifferences(api, o)
	}
	if o.Observers != nil {
		registerObservation(api, o)
	}
	if o.Talkers != nil {
		registerTop(api, o)
	}
	plainPaths(api.OpenAPI())
	// Encoded when somebody first asks: it takes more than all else a start does, and most
	// brokers are never asked. Nothing changes what it is made of any more.
	doc := sync.OnceValues(func() ([]byte, error) { return json.Marshal(api.OpenAPI()) })
	mux.HandleFunc("GET "+openAPIPath, func(w http.ResponseWriter, _ *http.Request) {
		b, err := doc()
		if err != nil { // a bug, and no reason for more than this answer
			http.Error(w, "BUG: the OpenAPI document cannot be encoded: "+err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(b) // the caller hung up
	})
	return mux, api
}

// plainPaths writes {name...} as {name}. Only our mux knows the longer form: it is
// how it takes a last segment that is a slash (%2F), which is a client identifier
// and a topic name like any other. Nobody may be beyond reach by his name.
func plainPaths(doc *huma.OpenAPI) {
	for path, item := range maps.Clone(doc.Paths) {
		if plain := strings.ReplaceAll(path, "...}", "}"); plain != path {
			delete(doc.Paths, path)
			doc.Paths[plain] = item
		}
	}
}
