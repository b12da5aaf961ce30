package lookup

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/backend"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
	"github.com/redoubtmq/redoubt/mqtt"
)

// counter is a Service over a table.
type counter struct {
	*Service
	table *table
	clock *clock.Manual
}

func newCounter(t *testing.T, query string, set func(*ServiceOptions)) *counter {
	t.Helper()
	c := &counter{table: &table{}, clock: clock.NewManual(noon)}
	opt := ServiceOptions{Name: "svc", Backend: c.table, Call: callOf(t, query), Cache: backend.CacheOptions{Entries: 10, Positive: time.Minute, Negative: 5 * time.Second}}
	if set != nil {
		set(&opt)
	}
	c.Service = NewService(opt, c.clock)
	return c
}

func said(status, body string) []backend.Row {
	return []backend.Row{fields("status", status, "body", body)}
}

func (c *counter) login(user, password string, change ...func(*auth.Request)) (r auth.Result) {
	req := &auth.Request{ClientID: "c1", Username: user, HasUsername: user != "", HasPassword: true, Password: secret.FromString(password), Addr: netip.MustParseAddr("192.0.2.1")}
	for _, fn := range change {
		fn(req)
	}
	c.Authenticate(req, func(got auth.Result) { r = got })
	return r
}

const judgeQuery = `POST /auth {"username": "${username}", "password": "${password}"}`

// What is no answer is never an allow, and never passes a client on.
func TestAnswersOfAService(t *testing.T) {
	in := noon.Add(time.Hour).Unix()
	for body, want := range map[string]struct {
		auth.Outcome
		detail string
	}{
		`{"result":"allow"}`:  {auth.Allow, ""},
		`{"result":"deny"}`:   {auth.Deny, "says no"},
		`{"result":"ignore"}`: {auth.Ignore, "the service says ignore"},
		`{"result":"allow","is_superuser":false,"acl":[],"client_attrs":{}}`: {auth.Allow, ""},
		`{"result":"Allow"}`:                 {auth.Unavailable, "none of allow"},
		`{"result":true}`:                    {auth.Unavailable, "none of allow"},
		`{"result":["allow"]}`:               {auth.Unavailable, "none of allow"},
		`{}`:                                 {auth.Unavailable, "no result"},
		`{"is_superuser":true}`:              {auth.Unavailable, "no result"},
		`"allow"`:                            {auth.Unavailable, "no JSON object"},
		`[{"result":"allow"}]`:               {auth.Unavailable, "no JSON object"},
		`{"result":"deny","result":"allow"}`: {auth.Unavailable, "twice"},
		`{"result":"allow","r\u0065sult":"deny"}`:           {auth.Unavailable, "twice"},
		`{"RESULT":"allow"}`:                                {auth.Unavailable, "no meaning"},
		`{"result":"ignore","locked":true}`:                 {auth.Unavailable, "no meaning"},
		`{"result":"allow"} {"result":"deny"}`:              {auth.Unavailable, "not JSON"},
		"{\"result\":\"allow\",\"username\":\"\xff\"}":      {auth.Unavailable, "UTF-8"},
		`{"result":"allow","is_superuser":"yes"}`:           {auth.Unavailable, "is_superuser"},
		`{"result":"allow","is_superuser":1}`:               {auth.Unavailable, "is_superuser"},
		`{"result":"allow","username":""}`:                  {auth.Unavailable, "username"},
		`{"result":"allow","username":"a\u200bb"}`:          {auth.Deny, "nobody sees"},
		`{"result":"allow","client_attrs":{"a":1}}`:         {auth.Unavailable, "client_attrs"},
		`{"result":"allow","client_attrs":{"a":"x\u0000"}}`: {auth.Unavailable, "client_attrs"},
		`{"result":"allow","acl":null}`:                     {auth.Unavailable, "acl"},
		`{"result":"allow","acl":[{"permission":"allow","action":"publish","topic":"a","username":"x"}]}`: {auth.Unavailable, "username"},
		`{"result":"allow","acl":[{"permission":"deny","action":"publish","topic":"a/#/b"}]}`:             {auth.Unavailable, "acl"},
		`{"result":"allow","clientid_override":"x"}`:                                                      {auth.Unavailable, "clientid_override"},
		`{"result":"allow","expire_at":"soon"}`:                                                           {auth.Unavailable, "expire_at"},
		`{"result":"allow","expire_at":1.5e9}`:                                                            {auth.Unavailable, "expire_at"},
		`{"result":"allow","expire_at":null}`:                                                             {auth.Unavailable, "expire_at"},
		fmt.Sprintf(`{"result":"allow","expire_at":%d000}`, in):                                           {auth.Unavailable, "milliseconds"},
		`{"result":"allow","expire_at":3600}`:                                                             {auth.Deny, "has passed"},
		fmt.Sprintf(`{"result":"allow","expire_at":%d}`, noon.Unix()):                                     {auth.Deny, "has passed"},
		fmt.Sprintf(`{"result":"allow","expire_at":%d}`, in):                                              {auth.Allow, ""},
		``: {auth.Unavailable, "JSON"},
	} {
		c := newCounter(t, judgeQuery, nil)
		c.table.rows = said("200", body)
		r := c.login("ann", "right")
		if r.Outcome != want.Outcome || !strings.Contains(r.Detail, want.detail) || r.Outcome != auth.Ignore && r.Outcome != auth.Allow && r.Reason < mqtt.UnspecifiedError {
			t.Errorf("%s: %+v, want %v", body, r, want)
		}
		if r.Outcome == auth.Allow && (r.Principal.Identity != "ann" || r.Principal.Username != "ann" || r.Principal.Claims.Superuser) {
			t.Errorf("%s: %+v", body, r.Principal)
		}
	}
	for kind := backend.Down; kind <= backend.BadAnswer; kind++ {
		c := newCounter(t, judgeQuery, nil)
		c.table.err = backend.Failed(kind, "why")
		if r := c.login("ann", "right"); r.Outcome != auth.Unavailable || r.Reason == mqtt.BadUserNameOrPassword || !strings.HasSuffix(r.Detail, ": why") {
			t.Errorf("%v: %+v", kind, r)
		}
	}
	c := newCounter(t, judgeQuery, nil)
	c.table.rows = said("204", "")
	if r := c.login("ann", "right"); r.Outcome != auth.Unavailable || !strings.Contains(r.Detail, "no_content") {
		t.Errorf("204: %+v", r)
	}
	c = newCounter(t, judgeQuery, func(o *ServiceOptions) { o.NoContent = true })
	c.table.rows = said("204", "")
	if r := c.login("ann", "right"); r.Outcome != auth.Allow || r.Principal.Claims.Superuser {
		t.Errorf("204, as the operator wants it: %+v", r)
	}
}

func TestWhatAServiceGives(t *testing.T) {
	const body = `{"result":"allow","username":"pump-7","is_superuser":true,"client_attrs":{"site":"n"},"expire_at":1772370000,
		"acl":[{"permission":"deny","action":"all","topic":"x/#"},{"permission":"allow","action":"publish","topics":["up/${username}"],"qos":[0,1]}]}`
	for _, believed := range []bool{false, true} {
		c := newCounter(t, judgeQuery, func(o *ServiceOptions) { o.Superuser, o.Attributes = believed, believed })
		c.table.rows = said("200", body)
		r := c.login("ann", "right")
		if r.Outcome != auth.Allow {
			t.Fatal(r)
		}
		got := r.Principal.Claims
		if r.Principal.Identity != "pump-7" || r.Principal.Username != "pump-7" || got.Superuser != believed || (got.Attrs["site"] == "n") != believed || got.Until.Unix() != 1772370000 {
			t.Errorf("%+v %+v", r.Principal, got)
		}
		if len(got.Rules) != 1 || got.Rules[0].Source != auth.SourceClaims || len(got.Rules[0].Rules) != 2 || got.Rules[0].Rules[1].Text != `allow: publish, topics: ["up/${username}"], qos: [0, 1]` {
			t.Errorf("%+v", got.Rules)
		}
	}
}

// Nobody is asked about who brings no proof, and a name that was only said is not proved.
func TestServiceWantsProof(t *testing.T) {
	c := newCounter(t, judgeQuery, nil)
	c.table.rows = said("200", `{"result":"allow"}`)
	if r := c.login("ann", ""); r.Outcome != auth.Deny {
		t.Errorf("an empty password: %+v", r)
	}
	if r := c.login("ann", "", func(req *auth.Request) { req.HasPassword = false }); r.Outcome != auth.Deny {
		t.Errorf("none: %+v", r)
	}
	if r := c.login("", "right"); r.Outcome != auth.Ignore || r.Detail != nothingAsked {
		t.Errorf("no name: %+v", r)
	}
	for _, name := range []string{"a\r\nX: 1", "\x00", "ann\x7f"} {
		if r := c.login(name, "right"); r.Outcome != auth.Deny || r.Reason != mqtt.BadUserNameOrPassword {
			t.Errorf("%q: %+v", name, r)
		}
	}
	if len(c.table.asked) != 0 {
		t.Errorf("%d were asked about", len(c.table.asked))
	}
	if r := c.login("ann ", "right"); r.Outcome != auth.Deny {
		t.Errorf("spaces around a name: %+v", r)
	}
	c = newCounter(t, "GET /devices/${cert_common_name}?u=${username}", nil)
	c.table.rows = said("200", `{"result":"allow"}`)
	if r := c.login("ann", "right"); r.Outcome != auth.Ignore || r.Detail == "" || len(c.table.asked) != 0 {
		t.Errorf("no certificate: %+v", r)
	}
	if r := c.login("ann", "", func(req *auth.Request) { req.Certificate.CommonName = "pump-7" }); r.Outcome != auth.Allow || r.Principal.Identity != "pump-7" || r.Principal.Username != "" {
		t.Errorf("a certificate, and another user name: %+v", r)
	}
}

// An answer is remembered for the same question with the same password, and an allow no
// longer than it is good.
func TestServiceAnswersAreRemembered(t *testing.T) {
	c := newCounter(t, judgeQuery, nil)
	asked := func(want int, what string) {
		t.Helper()
		if len(c.table.asked) != want {
			t.Errorf("%s: %d questions, want %d", what, len(c.table.asked), want)
		}
	}
	c.table.rows = said("200", fmt.Sprintf(`{"result":"allow","expire_at":%d}`, noon.Unix()+30))
	if r := c.login("ann", "right"); r.Cached {
		t.Error("the first answer is called remembered")
	}
	if r := c.login("ann", "right"); !r.Cached {
		t.Error("what is remembered is not called that")
	}
	asked(1, "the same")
	c.table.rows = said("200", `{"result":"deny"}`)
	if r := c.login("ann", "wrong"); r.Outcome != auth.Deny {
		t.Errorf("another password: %+v", r)
	}
	asked(2, "another password")
	c.login("ann", "wrong")
	asked(2, "a deny")
	c.clock.Advance(6 * time.Second)
	c.login("ann", "wrong")
	asked(3, "a deny, later")
	c.clock.Advance(25 * time.Second)
	if r := c.login("ann", "right"); r.Outcome != auth.Deny {
		t.Errorf("expired, and remembered: %+v", r)
	}
	c.Forget()
	c.table.rows = said("200", `{"result":"allow"}`)
	c.login("ann", "right")
	asked(4, "forgotten")
	c.table.err = backend.Failed(backend.Rejected, "500")
	c.clock.Advance(2 * time.Minute)
	c.login("ann", "right")
	c.login("ann", "right")
	asked(6, "no answer is not remembered")
	c.table.err, c.table.rows = nil, said("200", `{"result":"allow","client_attrs":{`+strings.Repeat(" ", cachedBytesMax)+`}}`)
	c.login("ann", "right")
	c.login("ann", "right")
	asked(8, "a long answer")
	for i := range 30 { // who is denied pushes nobody out who is not
		c.table.rows = said("200", `{"result":"deny"}`)
		if i == 0 {
			c.table.rows = said("200", `{"result":"allow"}`)
		}
		c.login(fmt.Sprint("u", i), "x")
	}
	c.login("u0", "x")
	asked(38, "an allow among many denies")
}

// The rules of a client come from one answer, are named by their source, and what is not
// understood is no rules.
func TestRulesOfAService(t *testing.T) {
	b := &table{rows: said("200", `{"acl":[{"permission":"deny","action":"publish","topic":"a/b"},{"permission":"allow","action":"all","topic":"a/#"}]}`)}
	s := NewSource(SourceOptions{Name: "rights", Backend: b, Query: callOf(t, "GET /acl/${username}?id=${clientid}")}, clock.NewManual(noon))
	own, err := load(s, ann)
	if err != nil || own.Source != "rights" || len(own.Rules) != 2 || own.Rules[0].Where() != "rights:1" || own.Rules[1].Source != "rights" || own.Rules[1].Text != `allow: all, topics: ["a/#"]` {
		t.Fatal(own, err)
	}
	if q := b.asked[0]; q.Args[0] != "/acl/ann?id=c1" {
		t.Errorf("%+v", q)
	}
	b.rows = said("200", `{"acl":{"pub":"a","sub":["b"]}}`)
	if own, err := load(s, ann); err != nil || len(own.Rules) != 3 || own.Rules[2].Allows() {
		t.Error(own, err)
	}
	b.rows = said("200", `{"acl":[]}`)
	if own, err := load(s, ann); err != nil || len(own.Rules) != 0 {
		t.Error(own, err)
	}
	for body, want := range map[string]string{
		`{"result":"allow"}`:      "result",
		`{"acl":[],"result":"x"}`: "result",
		`{"acl":[],"x":1}`:        "nothing else",
		`{}`:                      "nothing else",
		`[]`:                      "no JSON object",
		`{"acl":null}`:            "acl",
		`{"acl":[],"acl":[]}`:     "twice",
		`{"acl":[{"permission":"allow","action":"publish"}]}`: "topics",
		`{"acl":[` + strings.Repeat(`{"permission":"allow","action":"all","topic":"#"},`, 100) + `{"permission":"deny","action":"all","topic":"#"}]}`: "100",
	} {
		b.rows = said("200", body)
		if own, err := load(s, ann); err == nil || !strings.Contains(err.Error(), want) || len(own.Rules) != 0 {
			t.Errorf("%.60s: %v %v", body, own, err)
		}
	}
	b.rows = said("204", "")
	if _, err := load(s, ann); err == nil {
		t.Error("204 is no rules")
	}
	asked := len(b.asked)
	if _, err := load(s, &auth.Principal{Identity: "x", Username: "../x", ClientID: "c"}); err == nil || len(b.asked) != asked {
		t.Error("a name that is more than one is asked for")
	}
}
