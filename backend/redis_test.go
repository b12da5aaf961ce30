package backend_test

import (
	"context"
	"crypto/tls"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth/lookup"
	"github.com/redoubtmq/redoubt/backend"
	"github.com/redoubtmq/redoubt/backend/redis"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
)

var redisSystem = &system{
	name: "redis",
	start: func(t *testing.T) string {
		redisOnce.Do(func() { startRedis(t) })
		return at(redisPort)
	},
	driver: func(servers []backend.Server, password string, conf *tls.Config) backend.Driver {
		return redis.New(redis.Options{Servers: servers, Username: "redoubt", Password: secret.FromString(password), TLS: conf}, clock.System{})
	},
	users: func(t *testing.T) lookup.Query {
		q, err := lookup.Redis("HMGET mqtt:user:${username} password_hash salt is_superuser client_attrs_site")
		if err != nil {
			t.Fatal(err)
		}
		return q
	},
	rules: func(t *testing.T) lookup.Query {
		q, err := lookup.Redis("HGETALL mqtt:acl:${username}")
		if err != nil {
			t.Fatal(err)
		}
		return q
	},
	rotate: func(t *testing.T, password string) {
		redisExec(t, "ACL", "SETUSER", "redoubt", "resetpass", ">"+password)
	},
	garbage: [][]byte{[]byte("+OK\r\n+OK\r\n"), []byte("+OK\r\n*4\r\n$3\r\nabc\r\n"), []byte("$99999999999\r\n"), []byte("*-7\r\n"), []byte("+OK\r\n*1\r\n*1\r\n*1\r\n"), []byte("+OK\r\n$2\r\nabcd\r\n"), []byte("+OK\r\n:1\r\n")},
}

var (
	redisOnce sync.Once
	redisPort int
)

func startRedis(t *testing.T) {
	dir := folder(t, "redis")
	cert, key, ca := certified(t, dir)
	redisPort = freePort(t)
	serve(t, dir, redisPort, "redis-server", write(t, dir, "redis.conf", lines(
		"port 0", "tls-port "+strconv.Itoa(redisPort), "bind 127.0.0.1", "dir "+dir, `save ""`, "tls-auth-clients no",
		"tls-cert-file "+cert, "tls-key-file "+key, "tls-ca-cert-file "+ca,
		"user default on >root ~* +@all", "user redoubt on >"+ours+" %R~mqtt:* +hmget +hgetall +ping +select")))
	for _, u := range [][2]string{{"ann", "0"}, {"root", "1"}} {
		redisExec(t, "HSET", "mqtt:user:"+u[0], "password_hash", annHash, "salt", "salty", "is_superuser", u[1], "client_attrs_site", "hall 1")
	}
	redisExec(t, "HSET", "mqtt:user:odd", "password_hash", "no hash at all")
	redisExec(t, "HSET", "mqtt:acl:ann", "up/#", "publish", "down/#", "subscribe")
	redisExec(t, "SET", "mqtt:user:list", "no hash")
}

// redisExec says something as the administrator.
func redisExec(t *testing.T, words ...string) {
	t.Helper()
	cmd := command(t, real.dir, "redis-cli", append([]string{"-p", strconv.Itoa(redisPort), "--tls", "--insecure", "-a", "root", "--no-auth-warning", "-e"}, words...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", words, err, out)
	}
}

// A key of another kind, which a client can name, is no failure of the server; what the
// user may not is one, and is said.
func TestRedisAnswers(t *testing.T) {
	s := redisSystem
	b, _ := s.open(t, s.driver(s.servers(t), ours, trusting("db.test")), backend.Options{Timeout: 10 * time.Second, Failures: 100})
	if _, err := question(b, backend.Question{Text: "HGETALL", Args: []string{"mqtt:user:list"}, RowsMax: 1}); backend.KindOf(err) != backend.Rejected {
		t.Error(err)
	}
	if _, err := question(b, backend.Question{Text: "HGETALL", Args: []string{"other"}, RowsMax: 1}); backend.KindOf(err) != backend.Down || !strings.Contains(err.Error(), "NOPERM") {
		t.Error(err)
	}
	rows, err := question(b, backend.Question{Text: "HGETALL", Args: []string{"mqtt:user:odd"}, RowsMax: 1})
	if err != nil || len(rows) != 1 || rows[0][0] != (backend.Field{Name: "password_hash", Value: "no hash at all"}) {
		t.Error(rows, err)
	}
	if rows, err := question(b, backend.Question{Text: "HGETALL", Args: []string{"mqtt:user:nobody"}, RowsMax: 1}); err != nil || len(rows) != 0 {
		t.Error(rows, err)
	}
	redisExec(t, "CLIENT", "KILL", "USER", "redoubt")
	if _, err := question(b, backend.Question{Text: "HGETALL", Args: []string{"mqtt:user:odd"}, RowsMax: 1}); err != nil {
		t.Error("a connection that died while nobody used it: ", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	silent := s.driver(s.servers(t, stalled(t)), ours, nil)
	defer silent.Close()
	if err := silent.Ping(ctx); err == nil {
		t.Error("nobody has answered")
	}
}
