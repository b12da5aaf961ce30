package backend_test

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"reflect"
	"sync"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/scram"
)

// fakeMongo speaks what a driver hears of MongoDB: OP_MSG with hello, SCRAM-SHA-256 that is
// verified, ping, and find with equality, $ne, $or and $in. Debian has no server; its BSON is
// that of MongoDB's own library for Go, and its SCRAM the broker's, so that neither is of the
// driver that is tried. It answers nobody who has not logged in.
type fakeMongo struct {
	net.Listener
	running sync.WaitGroup
	mu      sync.Mutex // guards everything below
	keys    *scram.Keys
	lists   map[string][]bson.D // by collection
	conns   map[net.Conn]bool
	asked   []bson.D // commands, the last at the end
	role    bson.E   // of hello
	logins  int
	large   int // bytes that are added to each document
}

func newFakeMongo(t *testing.T, conf *tls.Config) *fakeMongo {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if conf != nil {
		l = tls.NewListener(l, conf)
	}
	f := &fakeMongo{Listener: l, lists: map[string][]bson.D{}, conns: map[net.Conn]bool{}, role: bson.E{Key: "isWritablePrimary", Value: true}}
	f.rotate(t, ours)
	f.running.Add(1)
	go func() {
		defer f.running.Done()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns[c] = true
			f.mu.Unlock()
			f.running.Add(1)
			go func() {
				defer f.running.Done()
				f.serve(c)
			}()
		}
	}()
	return f
}

func (f *fakeMongo) stop() {
	_ = f.Close()
	f.hangUp()
	f.running.Wait()
}

// hangUp ends every connection.
func (f *fakeMongo) hangUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		_ = c.Close()
	}
	clear(f.conns)
}

// rotate gives redoubt another password, and ends what it has open.
func (f *fakeMongo) rotate(t *testing.T, password string) {
	t.Helper()
	k, err := scram.Derive(rand.Reader, scram.SHA256, 4096, []byte(password))
	if err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	f.keys = k
	f.mu.Unlock()
}

// SCRAM implements scram.Users.
func (f *fakeMongo) SCRAM(name string, a scram.Algorithm) (*scram.Keys, uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if name != "redoubt" || a != scram.SHA256 {
		return nil, 0
	}
	return f.keys, 1
}

// last is the newest find.
func (f *fakeMongo) last() bson.D {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[len(f.asked)-1]
}

func (f *fakeMongo) set(fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn()
}

func (f *fakeMongo) serve(c net.Conn) {
	defer c.Close()
	s := &mongoSession{f: f}
	for {
		id, doc, err := readOpMsg(c)
		if err != nil {
			return
		}
		answer, err := s.answer(doc)
		if err != nil {
			return
		}
		b, err := bson.Marshal(answer)
		if err != nil {
			return
		}
		out := make([]byte, 0, len(b)+21)
		for _, n := range []uint32{uint32(21 + len(b)), 1, id, 2013, 0} {
			out = binary.LittleEndian.AppendUint32(out, n)
		}
		if _, err := c.Write(append(append(out, 0), b...)); err != nil {
			return
		}
	}
}

func readOpMsg(c io.Reader) (id uint32, doc bson.D, err error) {
	var head [21]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return 0, nil, err
	}
	n := int(binary.LittleEndian.Uint32(head[:])) - len(head)
	if n < 5 || n > 1<<20 || binary.LittleEndian.Uint32(head[12:]) != 2013 || binary.LittleEndian.Uint32(head[16:]) != 0 || head[20] != 0 {
		return 0, nil, errors.New("no message")
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(c, b); err != nil {
		return 0, nil, err
	}
	if err := bson.Raw(b).Validate(); err != nil {
		return 0, nil, err
	}
	return binary.LittleEndian.Uint32(head[4:]), doc, bson.Unmarshal(b, &doc)
}

// mongoSession is one connection.
type mongoSession struct {
	f        *fakeMongo
	exchange auth.Exchange
	in       bool
}

func failed(code int32, name string) bson.D {
	return bson.D{{Key: "ok", Value: 0.0}, {Key: "errmsg", Value: "what a client chose may be here"}, {Key: "code", Value: code}, {Key: "codeName", Value: name}}
}

func (s *mongoSession) answer(doc bson.D) (bson.D, error) {
	ok := bson.E{Key: "ok", Value: 1.0}
	switch command := doc[0].Key; {
	case command == "hello":
		s.f.mu.Lock()
		defer s.f.mu.Unlock()
		return bson.D{s.f.role, {Key: "maxWireVersion", Value: int32(21)}, ok}, nil
	case command == "saslStart" || command == "saslContinue":
		return s.login(doc)
	case !s.in:
		return failed(13, "Unauthorized"), nil
	case command == "ping":
		return bson.D{ok}, nil
	case command == "find":
		return s.find(doc)
	}
	return failed(59, "CommandNotFound"), nil
}

func (s *mongoSession) login(doc bson.D) (bson.D, error) {
	payload, is := get(doc, "payload").(bson.Binary)
	if !is || get(doc, "$db") != "admin" {
		return failed(18, "AuthenticationFailed"), nil
	}
	if s.exchange == nil {
		if get(doc, "mechanism") != "SCRAM-SHA-256" {
			return failed(334, "MechanismUnavailable"), nil
		}
		a := scram.New(scram.Options{Name: "scram", Algorithms: []scram.Algorithm{scram.SHA256}, Iterations: 4096, Users: s.f})
		s.exchange = a.Mechanisms()[0].Begin(&auth.Request{})
	}
	var r auth.Result
	s.exchange.Step(payload.Data, func(got auth.Result) { r = got })
	if r.Outcome != auth.Continue && r.Outcome != auth.Allow {
		return failed(18, "AuthenticationFailed"), nil
	}
	if s.in = r.Outcome == auth.Allow; s.in {
		s.f.set(func() { s.f.logins++ })
	}
	return bson.D{{Key: "conversationId", Value: int32(1)}, {Key: "done", Value: s.in}, {Key: "payload", Value: bson.Binary{Data: r.Data}}, {Key: "ok", Value: 1.0}}, nil
}

func (s *mongoSession) find(doc bson.D) (bson.D, error) {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	s.f.asked = append(s.f.asked, doc)
	if get(doc, "$db") != "mqtt" {
		return failed(13, "Unauthorized"), nil
	}
	name, _ := get(doc, "find").(string)
	switch name {
	case "slow":
		return failed(50, "MaxTimeMSExpired"), nil
	case "stepdown":
		return failed(13435, "NotPrimaryNoSecondaryOk"), nil
	}
	filter, _ := get(doc, "filter").(bson.D)
	limit, _ := get(doc, "limit").(int32)
	batch := bson.A{}
	for _, d := range s.f.lists[name] {
		if !matches(d, filter) || len(batch) == int(limit) {
			continue
		}
		out := bson.D{}
		projection, _ := get(doc, "projection").(bson.D)
		for _, e := range d {
			if projection == nil || get(projection, e.Key) == int32(1) {
				out = append(out, e)
			}
		}
		if s.f.large > 0 {
			out = append(out, bson.E{Key: "salt", Value: string(bytes.Repeat([]byte("x"), s.f.large))})
		}
		batch = append(batch, out)
	}
	return bson.D{{Key: "cursor", Value: bson.D{{Key: "firstBatch", Value: batch}, {Key: "id", Value: int64(0)}, {Key: "ns", Value: "mqtt." + name}}}, {Key: "ok", Value: 1.0}}, nil
}

func get(d bson.D, name string) any {
	for _, e := range d {
		if e.Key == name {
			return e.Value
		}
	}
	return nil
}

// matches judges as MongoDB does what the tests ask: a document in place of a value is
// operators, so whoever could send one would find everybody.
func matches(d, filter bson.D) bool {
	for _, e := range filter {
		if e.Key == "$or" {
			any := false
			for _, f := range e.Value.(bson.A) {
				any = any || matches(d, f.(bson.D))
			}
			if !any {
				return false
			}
			continue
		}
		has := get(d, e.Key)
		operators, is := e.Value.(bson.D)
		if !is {
			if !reflect.DeepEqual(has, e.Value) {
				return false
			}
			continue
		}
		for _, o := range operators {
			switch o.Key {
			case "$ne":
				if reflect.DeepEqual(has, o.Value) {
					return false
				}
			case "$in":
				any := false
				for _, v := range o.Value.(bson.A) {
					any = any || reflect.DeepEqual(has, v)
				}
				if !any {
					return false
				}
			default:
				return false
			}
		}
	}
	return true
}

var (
	mongoOnce sync.Once
	mongoPair tls.Certificate
	mongo     *fakeMongo // nil: the test has none yet
)

// startMongo starts one for this test.
func startMongo(t *testing.T) string {
	mongoOnce.Do(func() {
		dir := folder(t, "mongodb")
		cert, key, _ := certified(t, dir)
		var err error
		if mongoPair, err = tls.LoadX509KeyPair(cert, key); err != nil {
			t.Fatal(err)
		}
	})
	if mongo == nil {
		mongo = newFakeMongo(t, &tls.Config{Certificates: []tls.Certificate{mongoPair}, MinVersion: tls.VersionTLS12})
		t.Cleanup(func() { mongo.stop(); mongo = nil })
		user := func(name string, superuser any) bson.D {
			return bson.D{{Key: "_id", Value: bson.NewObjectID()}, {Key: "username", Value: name}, {Key: "password_hash", Value: annHash}, {Key: "salt", Value: "salty"}, {Key: "admin", Value: superuser}, {Key: "site", Value: "hall 1"}}
		}
		rule := func(pairs ...any) bson.D {
			d := bson.D{{Key: "_id", Value: bson.NewObjectID()}, {Key: "username", Value: "ann"}}
			for i := 0; i < len(pairs); i += 2 {
				d = append(d, bson.E{Key: pairs[i].(string), Value: pairs[i+1]})
			}
			return d
		}
		mongo.set(func() {
			mongo.lists["mqtt_user"] = []bson.D{user("ann", false), user("root", true), {{Key: "username", Value: "odd"}, {Key: "password_hash", Value: "no hash at all"}},
				{{Key: "username", Value: "list"}, {Key: "password_hash", Value: bson.A{annHash}}}, {{Key: "username", Value: "half"}, {Key: "password_hash", Value: 0.5}}, {{Key: "username", Value: "bare"}}}
			mongo.lists["mqtt_acl"] = []bson.D{
				rule("permission", "allow", "action", "publish", "topics", bson.A{"up/#"}, "qos", bson.A{int32(0), int64(1)}),
				rule("permission", "deny", "action", "all", "topic", "down/secret"),
				rule("permission", "allow", "action", "subscribe", "topics", bson.A{"down/#"}, "retain", nil),
			}
		})
	}
	return mongo.Addr().String()
}
