package admin

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// role is what a caller may do at all. The words are EMQX's.
type role string

const (
	viewer        role = "viewer"        // reads
	administrator role = "administrator" // reads and changes
)

// rank orders roles; an unknown one ranks below all.
func (r role) rank() int {
	switch r {
	case viewer:
		return 1
	case administrator:
		return 2
	}
	return 0
}

// scope is the part of the broker an operation is about. An API key will be
// limited to some; a caller on the socket has all.
type scope string

const (
	scopeStatus        scope = "status"
	scopeConfig        scope = "config"
	scopeUsers         scope = "users"
	scopeAuthorization scope = "authorization"
	scopeClients       scope = "clients"  // connections, sessions, subscriptions
	scopeRetained      scope = "retained" // retained messages, payloads included
	scopeBans          scope = "bans"     // who is shut out
	scopeListeners     scope = "listeners"
	scopeTokens        scope = "tokens" // which tokens were revoked
)

// allScopes are the scopes an operation can have.
var allScopes = []scope{scopeStatus, scopeConfig, scopeUsers, scopeAuthorization, scopeClients, scopeRetained, scopeBans, scopeListeners, scopeTokens}

// Names of the declaration in the OpenAPI document.
const (
	roleKey  = "x-redoubt-role"
	scopeKey = "x-redoubt-scope"
)

// bodyBytesMax bounds a request body. The largest meaningful one is a rule check
// with a topic of 64 KiB.
const bodyBytesMax = 1 << 20

// endpoint is what an operation declares. Nothing in it is optional but status.
type endpoint struct {
	method, path, id string
	role             role
	scope            scope
	tag, summary     string
	status           int   // of success, when not 200
	errors           []int // besides 403, 422, 500 and 503
	body             int64 // most bytes of it, when not bodyBytesMax; newGuard has to know it, too
}

// register adds an operation. It panics on one that does not say who may use it:
// such a program must not start.
func register[I, O any](api huma.API, e endpoint, handle func(context.Context, *I) (*O, error)) {
	if e.role.rank() == 0 || e.scope == "" {
		panic("BUG: admin: operation " + e.id + " declares no role or no scope")
	}
	if e.body == 0 {
		e.body = bodyBytesMax
	}
	huma.Register(api, huma.Operation{
		OperationID:   e.id,
		Method:        e.method,
		Path:          e.path,
		Summary:       e.summary,
		Tags:          []string{e.tag},
		DefaultStatus: e.status,
		MaxBodyBytes:  e.body,
		Errors:        append(e.errors, http.StatusForbidden, http.StatusUnprocessableEntity, http.StatusServiceUnavailable),
		Extensions:    map[string]any{roleKey: string(e.role), scopeKey: string(e.scope)},
	}, handle)
}

// caller is who makes a request and what they may do.
type caller struct {
	role   role
	scopes []scope
}

// callerKey finds the caller in a request's context.
type callerKey struct{}

// authorize refuses a caller whose role or scopes do not reach an operation, and
// everybody at an operation that declares none.
func authorize(api huma.API) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		who, _ := ctx.Context().Value(callerKey{}).(caller)
		if op, ok := ctx.Context().Value(matchedKey{}).(*matched); ok {
			op.id, op.reads = ctx.Operation().OperationID, ctx.Operation().Extensions[roleKey] == string(viewer)
		}
		if !who.may(ctx.Operation()) {
			_ = huma.WriteErr(api, ctx, http.StatusForbidden, "your role or its scopes do not reach this operation")
			return
		}
		next(ctx)
	}
}

func (c caller) may(op *huma.Operation) bool {
	needRole, _ := op.Extensions[roleKey].(string)
	needScope, _ := op.Extensions[scopeKey].(string)
	if role(needRole).rank() == 0 || c.role.rank() < role(needRole).rank() {
		return false
	}
	for _, s := range c.scopes {
		if s == scope(needScope) {
			return true
		}
	}
	return false
}
