package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
)

// operations lists every operation of the document.
func operations(t *testing.T, api huma.API) map[string]*huma.Operation {
	t.Helper()
	out := make(map[string]*huma.Operation)
	for path, item := range api.OpenAPI().Paths {
		for method, op := range map[string]*huma.Operation{
			"GET": item.Get, "PUT": item.Put, "POST": item.Post, "DELETE": item.Delete, "PATCH": item.Patch,
			"HEAD": item.Head, "OPTIONS": item.Options, "TRACE": item.Trace,
		} {
			if op != nil {
				out[method+" "+path] = op
			}
		}
	}
	return out
}

// Every operation says who may use it, and what changes something is not for
// viewers.
func TestEveryOperationDeclaresRoleAndScope(t *testing.T) {
	r := newRig(t, nil)
	ops := operations(t, r.server.api)
	for name, op := range ops {
		need, _ := op.Extensions[roleKey].(string)
		about, _ := op.Extensions[scopeKey].(string)
		if role(need).rank() == 0 {
			t.Errorf("%s declares no role", name)
		}
		if !slices.Contains(allScopes, scope(about)) {
			t.Errorf("%s declares no scope", name)
		}
		reads := op.Method == http.MethodGet || op.OperationID == "checkAccess" || op.OperationID == "whyAccess"
		if !reads && role(need) != administrator {
			t.Errorf("%s changes something and is open to %q", name, need)
		}
		if most := bodyMax(op.Method + " " + op.Path); op.MaxBodyBytes != most || most != bodyBytesMax && op.OperationID != "importBans" && op.OperationID != "importUsers" {
			t.Errorf("%s takes %d bytes", name, op.MaxBodyBytes)
		}
		if op.Summary == "" || op.OperationID == "" || len(op.Tags) == 0 {
			t.Errorf("%s is not documented", name)
		}
	}
	want := []string{
		"DELETE /api/v5/authentication/{id}/users/{user_id}", "GET /api/v5/authentication/{id}/users", "GET /api/v5/authorization/rules",
		"GET /api/v5/status", "POST /api/v5/authentication/{id}/users", "POST /api/v5/authorization/check", "POST /api/v5/reload",
		"PUT /api/v5/authentication/{id}/users/{user_id}", "POST /api/v5/probe", "POST /api/v5/probe/denial", "DELETE /api/v5/probe/{user_id}", "GET /api/v5/limits",
		"GET /api/v5/top", "GET /api/v5/clients", "GET /api/v5/clients/{clientid}", "DELETE /api/v5/clients/{clientid}",
		"GET /api/v5/sessions", "GET /api/v5/sessions/{clientid}", "DELETE /api/v5/sessions/{clientid}", "GET /api/v5/subscriptions",
		"GET /api/v5/mqtt/retainer/messages", "DELETE /api/v5/mqtt/retainer/messages",
		"GET /api/v5/mqtt/retainer/message/{topic}", "DELETE /api/v5/mqtt/retainer/message/{topic}",
		"GET /api/v5/log/level", "PUT /api/v5/log/level",
		"GET /api/v5/configs", "PUT /api/v5/configs/{key}", "DELETE /api/v5/configs/{key}",
		"GET /api/v5/banned", "POST /api/v5/banned", "POST /api/v5/banned/import", "DELETE /api/v5/banned/{as}/{who}",
		"POST /api/v5/authentication/{id}/import_users", "GET /api/v5/authentication/{id}/export_users",
		"GET /api/v5/authorization/sources/built_in_database/rules/users", "POST /api/v5/authorization/sources/built_in_database/rules/users",
		"GET /api/v5/authorization/sources/built_in_database/rules/users/{name}", "PUT /api/v5/authorization/sources/built_in_database/rules/users/{name}",
		"DELETE /api/v5/authorization/sources/built_in_database/rules/users/{name}",
		"GET /api/v5/authorization/sources/built_in_database/rules/clients", "POST /api/v5/authorization/sources/built_in_database/rules/clients",
		"GET /api/v5/authorization/sources/built_in_database/rules/clients/{name}", "PUT /api/v5/authorization/sources/built_in_database/rules/clients/{name}",
		"DELETE /api/v5/authorization/sources/built_in_database/rules/clients/{name}",
		"GET /api/v5/authorization/sources/built_in_database/rules/all", "POST /api/v5/authorization/sources/built_in_database/rules/all",
		"DELETE /api/v5/authorization/sources/built_in_database/rules/all", "PATCH /api/v5/authorization/sources/built_in_database/rules",
		"PUT /api/v5/configs/{key}/entries/{entry}", "DELETE /api/v5/configs/{key}/entries/{entry}",
		"GET /api/v5/listeners", "GET /api/v5/listeners/{id}", "POST /api/v5/listeners/{id}/stop", "POST /api/v5/listeners/{id}/start", "POST /api/v5/listeners/{id}/restart",
		"GET /api/v5/authorization/refusals", "POST /api/v5/authorization/why", "POST /api/v5/authorization/refresh", "GET /api/v5/authorization/effective", "GET /api/v5/authorization/lint",
		"GET /api/v5/authorization/differences", "DELETE /api/v5/authorization/differences",
		"GET /api/v5/authorization/observation", "POST /api/v5/authorization/observation", "DELETE /api/v5/authorization/observation",
		"POST /api/v5/authentication/test", "GET /api/v5/probe/chains", "DELETE /api/v5/probe/{user_id}/grant",
		"GET /api/v5/tokens/revoked", "POST /api/v5/tokens/revoked", "DELETE /api/v5/tokens/revoked/{as}/{who}",
	}
	for _, w := range want {
		if ops[w] == nil {
			t.Errorf("%s is missing", w)
		}
	}
	if len(ops) != len(want) {
		t.Errorf("%d operations, the test knows %d", len(ops), len(want))
	}
}

func TestOperationWithoutRoleDoesNotStart(t *testing.T) {
	for _, e := range []endpoint{{scope: scopeStatus}, {role: viewer}, {role: "root", scope: scopeStatus}} {
		func() {
			defer func() {
				if v, ok := recover().(string); !ok || !strings.HasPrefix(v, "BUG: ") {
					t.Errorf("role %q, scope %q: recovered %v, want a BUG panic", e.role, e.scope, v)
				}
			}()
			register(nil, e, func(_ context.Context, _ *none) (*none, error) { return nil, nil })
		}()
	}
}

func TestRolesAndScopesAreEnforced(t *testing.T) {
	op := func(r, s any) *huma.Operation {
		return &huma.Operation{Extensions: map[string]any{roleKey: r, scopeKey: s}}
	}
	for _, c := range []struct {
		who  caller
		op   *huma.Operation
		want bool
	}{
		{caller{administrator, allScopes}, op("administrator", "users"), true},
		{caller{administrator, allScopes}, op("viewer", "users"), true},
		{caller{viewer, allScopes}, op("viewer", "users"), true},
		{caller{viewer, allScopes}, op("administrator", "users"), false},
		{caller{administrator, []scope{scopeStatus}}, op("viewer", "users"), false},
		{caller{}, op("viewer", "users"), false},
		{caller{"root", allScopes}, op("viewer", "users"), false},
		{caller{administrator, allScopes}, op("", "users"), false},
		{caller{administrator, allScopes}, op("viewer", ""), false},
		{caller{administrator, allScopes}, op(nil, nil), false},
		{caller{administrator, allScopes}, &huma.Operation{}, false},
	} {
		if got := c.who.may(c.op); got != c.want {
			t.Errorf("%+v at %v: %v, want %v", c.who, c.op.Extensions, got, c.want)
		}
	}
}

func TestOpenAPIDocument(t *testing.T) {
	r := newRig(t, nil)
	resp, body := r.raw(http.MethodGet, openAPIPath, "")
	var doc struct {
		OpenAPI    string
		Components struct {
			Schemas map[string]struct {
				Properties map[string]any
			}
		}
		Paths map[string]map[string]map[string]any
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v", resp.StatusCode, err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") || doc.Paths["/api/v5/reload"]["post"][roleKey] != "administrator" {
		t.Errorf("version %q, reload needs %v", doc.OpenAPI, doc.Paths["/api/v5/reload"]["post"][roleKey])
	}
	if _, ok := doc.Components.Schemas["Problem"].Properties["request_id"]; !ok {
		t.Error("errors are not documented as problems with a request id")
	}
	for name, s := range doc.Components.Schemas {
		if _, ok := s.Properties["$schema"]; ok {
			t.Errorf("%s has a $schema property nobody asked for", name)
		}
	}
}

// Whatever goes wrong, the answer has one shape.
func TestErrorsAreProblems(t *testing.T) {
	r := newRig(t, nil)
	const users = "/api/v5/authentication/builtin/users"
	for _, c := range []struct {
		name, method, target, body, contentType string
		status                                  int
		want                                    string
	}{
		{"no path", "GET", "/api/v5/nothing", "", "", 404, "no such path"},
		{"root", "GET", "/", "", "", 404, "no such path"},
		{"wrong method", "DELETE", "/api/v5/status", "", "", 405, "GET, HEAD"},
		{"double slash", "GET", "/api/v5//status", "", "", 404, "no such path"},
		{"dots", "GET", "/api/v5/authentication/../status", "", "", 404, "no such path"},
		{"trailing slash", "GET", "/api/v5/status/", "", "", 404, "no such path"},
		{"unknown query", "GET", users + "?like=x", "", "", 422, "query.like"},
		{"page of words", "GET", users + "?page=two", "", "", 422, "query.page"},
		{"page zero", "GET", users + "?page=0", "", "", 422, "query.page"},
		{"huge limit", "GET", users + "?limit=10001", "", "", 422, "query.limit"},
		{"other authenticator", "GET", "/api/v5/authentication/ldap/users", "", "", 404, "builtin"},
		{"no JSON", "POST", users, "{", "", 400, ""},
		{"empty body", "POST", users, "", "", 400, ""},
		{"missing name", "POST", users, "{}", "", 422, "#"},
		{"unknown field", "POST", users, `{"user_id":"a","admin":true}`, "", 422, "#/admin"},
		{"other capitals", "POST", users, `{"USER_ID":"a"}`, "", 422, "#/USER_ID"},
		{"wrong type", "POST", users, `{"user_id":7}`, "", 422, "#/user_id"},
		{"empty name", "POST", users, `{"user_id":""}`, "", 422, "#/user_id"},
		{"superuser", "POST", users, `{"user_id":"a","is_superuser":true}`, "", 422, "no superusers"},
		{"xml", "POST", users, `<user/>`, "application/xml", 415, ""},
		{"unknown user", "DELETE", users + "/nobody", "", "", 404, "does not exist"},
		{"short password", "PUT", users + "/nobody", `{"password":"abc"}`, "", 422, "fewer than 8"},
		{"bad action", "POST", "/api/v5/authorization/check", `{"action":"all","topic":"a"}`, "", 422, "#/action"},
		{"bad qos", "POST", "/api/v5/authorization/check", `{"action":"publish","topic":"a","qos":3}`, "", 422, "#/qos"},
		{"bad address", "POST", "/api/v5/authorization/check", `{"action":"publish","topic":"a","ip_address":"here"}`, "", 422, "ip_address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.contentType == "" {
				c.contentType = "application/json"
			}
			resp, body := r.rawWith(c.method, c.target, c.body, c.contentType)
			var p Problem
			if err := json.Unmarshal([]byte(body), &p); err != nil {
				t.Fatalf("status %d, no problem: %v in %q", resp.StatusCode, err, body)
			}
			if resp.StatusCode != c.status || p.Status != c.status || resp.Header.Get("Content-Type") != problemType {
				t.Errorf("status %d (in the body %d, as %s), want %d: %s", resp.StatusCode, p.Status, resp.Header.Get("Content-Type"), c.status, body)
			}
			if p.RequestID == "" || p.RequestID != resp.Header.Get("X-Request-Id") {
				t.Errorf("request id %q, header %q", p.RequestID, resp.Header.Get("X-Request-Id"))
			}
			if p.Detail == "" || p.Title == "" || p.Type == "" || !strings.Contains(body, c.want) {
				t.Errorf("%s lacks %q", body, c.want)
			}
			if !strings.Contains(r.log.String(), p.RequestID) {
				t.Error("the request id is not in the log")
			}
		})
	}
	if n := r.store.Len(); n != 0 {
		t.Errorf("%d users were made by requests that were refused", n)
	}
}

func TestAnswersAreNotKept(t *testing.T) {
	r := newRig(t, nil)
	resp, _ := r.raw(http.MethodGet, "/api/v5/status", "")
	if resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers %v", resp.Header)
	}
}
