package backend_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/lookup"
	"github.com/redoubtmq/redoubt/auth/template"
	"github.com/redoubtmq/redoubt/backend"
	"github.com/redoubtmq/redoubt/backend/mongodb"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
)

var mongoSystem = &system{
	name:   "mongodb",
	start:  startMongo,
	driver: mongoDriver,
	users:  func(t *testing.T) lookup.Query { return mongoQuery(t, `{"username": "${username}"}`) },
	rules: func(t *testing.T) lookup.Query {
		q, err := lookup.MongoRules(`mqtt_acl??{"username": "${username}"}`)
		if err != nil {
			t.Fatal(err)
		}
		return q
	},
	slow:   backend.Question{Text: "slow?a??{}", RowsMax: 1},
	rotate: func(t *testing.T, password string) { mongo.rotate(t, password) },
	garbage: [][]byte{
		{0x16, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0xdd, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0},                                                         // shorter than any
		append([]byte{0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0, 1, 0, 0, 0, 0xdd, 7, 0, 0, 0, 0, 0, 0, 0}, 0, 0, 0),                               // longer than any
		append([]byte{0x1a, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0xdd, 7, 0, 0, 0, 0, 0, 0, 0}, 5, 0, 0, 0, 0),                                  // a document of nothing
		append([]byte{0x20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0xdd, 7, 0, 0, 0, 0, 0, 0, 0}, 11, 0, 0, 0, 2, 'a', 0, 0xff, 0xff, 0xff, 0x7f), // a text that is longer than all
	},
}

func mongoDriver(servers []backend.Server, password string, conf *tls.Config) backend.Driver {
	return mongodb.New(mongodb.Options{Servers: servers, Database: "mqtt", Username: "redoubt", Source: "admin", Password: secret.FromString(password), TLS: conf}, clock.System{})
}

func mongoQuery(t *testing.T, filter string) lookup.Query {
	t.Helper()
	q, err := lookup.Mongo("mqtt_user?password_hash,salt,is_superuser:admin,client_attrs_site:site?" + filter)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// What a client chose is a string wherever it stands, and what of a document is not
// understood is that document's business and no fault of the server's.
func TestMongoAnswers(t *testing.T) {
	s := mongoSystem
	b, a := s.open(t, s.driver(s.servers(t), ours, trusting("db.test")), backend.Options{Timeout: 10 * time.Second, Failures: 1})
	for _, name := range []string{`{"$ne":""}`, `{"$gt": ""}`, `"}, {"$ne": "`, `ann", "x": "`, "$username", `{"$arg":0}`, "ann\x00"} {
		if r := login(a, request(name, `{"$ne":""}`)); r.Outcome != auth.Ignore {
			t.Errorf("%q: %+v", name, r)
		}
		filter := get(mongo.last(), "filter")
		if want := (bson.D{{Key: "username", Value: name}}); fmt.Sprint(filter) != fmt.Sprint(want) {
			t.Errorf("%q became %v", name, filter)
		}
	}
	if r := login(a, request("ann", `{"$ne":""}`)); r.Outcome != auth.Deny {
		t.Errorf("an operator for a password: %+v", r)
	}
	find := mongo.last()
	if get(find, "collation") == nil || get(find, "limit") != int32(3) || get(find, "singleBatch") != true || get(find, "maxTimeMS") == nil || fmt.Sprint(get(get(find, "projection").(bson.D), "site")) != "1" {
		t.Errorf("%v", find)
	}
	for name, want := range map[string]string{"list": `a list in its field "password_hash"`, "half": `in its field "password_hash" something`, "bare": "password_hash is missing or empty"} {
		if r := login(a, request(name, annPassword)); r.Outcome != auth.Unavailable || !strings.Contains(r.Detail, want) {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if r := login(a, request("\xff", annPassword)); r.Outcome != auth.Deny {
		t.Errorf("no UTF-8: %+v", r)
	}
	ask := func(filter, user string) ([]backend.Row, error) {
		q := mongoQuery(t, filter).Question(&template.Values{Username: user})
		q.RowsMax = 1
		return question(b, q)
	}
	if rows, err := ask(`{"$or": [{"username": {"$in": ["${username}", "x"]}}, {"username": "r-${username}"}]}`, "ann"); err != nil || len(rows) != 1 || rows[0][2].Value != "false" || rows[0][3].Value != "hall 1" {
		t.Error(rows, err)
	}
	if rows, err := ask(`{"username": {"$ne": "${username}"}}`, "ann"); backend.KindOf(err) != backend.Excess {
		t.Error("many documents: ", rows, err)
	}
	for _, large := range []int{backend.AnswerBytesMax, 3 * backend.AnswerBytesMax} {
		mongo.set(func() { mongo.large = large })
		if rows, err := ask(`{"username": "${username}"}`, "ann"); large > 2<<20 && (backend.KindOf(err) != backend.Excess || !strings.Contains(err.Error(), "2097152")) || large < 2<<20 && err == nil && len(rows[0][1].Value) > 100 {
			t.Error("more than anybody has: ", len(rows), err)
		}
	}
	mongo.set(func() { mongo.large = 0 })
	if r := login(a, request("ann", annPassword)); r.Outcome != auth.Allow || b.Stats().Open {
		t.Errorf("after all this: %+v", r)
	}
	mongo.hangUp()
	if _, err := ask(`{"username": "${username}"}`, "root"); err != nil {
		t.Error("a connection that died while nobody used it: ", err)
	}
	if _, err := question(b, backend.Question{Text: "stepdown?a??{}", RowsMax: 1}); backend.KindOf(err) != backend.Down || !strings.Contains(err.Error(), "NotPrimaryNoSecondaryOk") || strings.Contains(err.Error(), "chose") {
		t.Error(err)
	}
}

// Rules are all that a document has; what in it is not understood may have made it narrower.
func TestMongoRulesAreWhole(t *testing.T) {
	s := mongoSystem
	b, _ := s.open(t, s.driver(s.servers(t), ours, trusting("db.test")), backend.Options{Timeout: 10 * time.Second})
	mongo.set(func() {
		mongo.lists["narrow"] = []bson.D{{{Key: "username", Value: "ann"}, {Key: "permission", Value: "allow"}, {Key: "action", Value: "all"}, {Key: "topic", Value: "#"}, {Key: "clientid_re", Value: "^x$"}}}
		mongo.lists["many"] = nil
		for range 101 {
			mongo.lists["many"] = append(mongo.lists["many"], bson.D{{Key: "username", Value: "ann"}, {Key: "permission", Value: "allow"}, {Key: "action", Value: "all"}, {Key: "topic", Value: "a"}})
		}
	})
	for query, want := range map[string]string{
		`narrow??{"username": "${username}"}`:                                       `"clientid_re" has no meaning`,
		`narrow?permission,action,topic:x,topics:topic?{"username": "${username}"}`: "",
		`many??{"username": "${username}"}`:                                         "more than 100 rows",
	} {
		q, err := lookup.MongoRules(query)
		if err != nil {
			t.Fatal(err)
		}
		source := lookup.NewSource(lookup.SourceOptions{Name: "acl", Backend: b, Query: q}, clock.System{})
		got := make(chan error)
		go source.Load(&auth.Principal{Username: "ann"}, func(own auth.Own, err error) { got <- err })
		if err := <-got; want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", query, err)
		}
	}
}

// Who is not the server that has the password is not asked; nor one that cannot help.
func TestMongoProvesItself(t *testing.T) {
	f := newFakeMongo(t, nil)
	defer f.stop()
	open := func() *backend.Backend {
		b, _ := mongoSystem.open(t, mongoDriver(mongoSystem.servers(t, f.Addr().String()), ours, nil), backend.Options{Timeout: 10 * time.Second, Failures: 100})
		return b
	}
	q := backend.Question{Text: `mqtt_user?a??{}`, RowsMax: 1}
	if _, err := question(open(), q); err != nil {
		t.Fatal(err)
	}
	f.set(func() { f.keys.Server = make([]byte, 32) })
	if _, err := question(open(), q); backend.KindOf(err) != backend.Down || !strings.Contains(err.Error(), "does not prove") {
		t.Error("one that knows half of the keys: ", err)
	}
	f.rotate(t, ours)
	f.set(func() { f.keys.Iterations = 100 })
	if _, err := question(open(), q); backend.KindOf(err) != backend.Down {
		t.Error("keys that anybody could guess at: ", err)
	}
	f.set(func() { f.keys.Iterations = 100_000_000 })
	if _, err := question(open(), q); err == nil || !strings.Contains(err.Error(), "more than 1000000 iterations") {
		t.Error("work for minutes: ", err)
	}
	f.rotate(t, ours)
	f.set(func() { f.role = bson.E{Key: "arbiterOnly", Value: true} })
	if _, err := question(open(), q); backend.KindOf(err) != backend.Down || !strings.Contains(err.Error(), "neither a primary") {
		t.Error("an arbiter: ", err)
	}
	f.set(func() { f.role = bson.E{Key: "msg", Value: "isdbgrid"} })
	if _, err := question(open(), q); err != nil {
		t.Error("mongos: ", err)
	}
}

var _ net.Listener = (*fakeMongo)(nil)
