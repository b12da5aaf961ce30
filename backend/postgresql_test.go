package backend_test

import (
	"context"
	"crypto/tls"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/redoubtmq/redoubt/auth/lookup"
	"github.com/redoubtmq/redoubt/auth/template"
	"github.com/redoubtmq/redoubt/backend"
	"github.com/redoubtmq/redoubt/backend/postgresql"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// schema is that of docs/ops/backends.md, for PostgreSQL and MariaDB, with accounts.
var schema = []string{
	"CREATE TABLE mqtt_user (username VARCHAR(128) PRIMARY KEY, password_hash VARCHAR(255) NOT NULL, salt VARCHAR(64), is_superuser BOOLEAN NOT NULL DEFAULT FALSE, site VARCHAR(64))",
	"CREATE TABLE mqtt_acl (id INT PRIMARY KEY, username VARCHAR(128) NOT NULL, permission VARCHAR(5) NOT NULL, action VARCHAR(9) NOT NULL, topic VARCHAR(512) NOT NULL, qos VARCHAR(8), retain VARCHAR(5))",
	"INSERT INTO mqtt_user VALUES ('ann', '" + annHash + "', 'salty', FALSE, 'hall 1'), ('root', '" + annHash + "', 'salty', TRUE, NULL), ('odd', 'no hash at all', NULL, FALSE, NULL)",
	"INSERT INTO mqtt_acl VALUES (1, 'ann', 'allow', 'publish', 'up/#', '0,1', NULL), (2, 'ann', 'deny', 'all', 'down/secret', NULL, NULL), (3, 'ann', 'allow', 'subscribe', 'down/#', NULL, NULL)",
}

const usersSQL = "SELECT password_hash, salt, is_superuser, site AS client_attrs_site FROM mqtt_user WHERE username = ${username}"

const rulesSQL = "SELECT permission, action, topic, qos, retain FROM mqtt_acl WHERE username = ${username} ORDER BY id"

var postgresSystem = &system{
	name: "postgresql",
	start: func(t *testing.T) string {
		postgres.Do(func() { startPostgres(t) })
		return at(postgresPort)
	},
	driver: func(servers []backend.Server, password string, conf *tls.Config) backend.Driver {
		return postgresql.New(postgresql.Options{Servers: servers, Database: "mqtt", Username: "redoubt", Password: secret.FromString(password), TLS: conf, Timeout: time.Minute}, clock.System{})
	},
	users: func(t *testing.T) lookup.Query { return sqlQuery(t, usersSQL, template.Dollar) },
	rules: func(t *testing.T) lookup.Query { return sqlQuery(t, rulesSQL, template.Dollar) },
	slow:  backend.Question{Text: "SELECT pg_sleep(30)", RowsMax: 1},
	rotate: func(t *testing.T, password string) {
		postgresExec(t, "mqtt", "ALTER ROLE redoubt PASSWORD '"+password+"'")
	},
	garbage: [][]byte{[]byte("R\x00\x00\x00\x08\x00\x00\x00\x00Z\x00\x00\x00\x05I"), []byte("R\xff\xff\xff\xff"), []byte("E\x00\x00\x00\x05\x00")},
}

func sqlQuery(t *testing.T, text string, style template.Style) lookup.Query {
	t.Helper()
	q, err := lookup.SQL(text, style)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

var (
	postgres     sync.Once
	postgresPort int
)

func startPostgres(t *testing.T) {
	dir := folder(t, "postgres")
	cert, key, _ := certified(t, dir)
	run(t, dir, "initdb", "-D", dir+"/data", "-U", "postgres", "-A", "scram-sha-256", "--pwfile", write(t, dir, "pw", "root\n"), "--no-sync", "-E", "UTF8", "--no-locale", "--no-instructions", "--wal-segsize=1")
	postgresPort = freePort(t)
	serve(t, dir, postgresPort, "postgres", "-D", dir+"/data", "-p", strconv.Itoa(postgresPort), "-c", "listen_addresses=127.0.0.1", "-k", dir,
		"-c", "fsync=off", "-c", "shared_buffers=1MB", "-c", "max_connections=60", "-c", "autovacuum=off",
		"-c", "ssl=on", "-c", "ssl_cert_file="+cert, "-c", "ssl_key_file="+key)
	postgresExec(t, "postgres", "CREATE ROLE redoubt LOGIN PASSWORD '"+ours+"'", "CREATE DATABASE mqtt")
	postgresExec(t, "mqtt", append(schema, "GRANT SELECT, INSERT ON mqtt_user, mqtt_acl TO redoubt")...)
}

// postgresExec says something as the administrator, once the server is there.
func postgresExec(t *testing.T, db string, statements ...string) {
	t.Helper()
	ctx := context.Background()
	c, err := pgconn.Connect(ctx, "host=127.0.0.1 user=postgres password=root sslmode=disable dbname="+db+" port="+strconv.Itoa(postgresPort))
	for began := time.Now(); err != nil && strings.Contains(err.Error(), "57P03") && time.Since(began) < 10*time.Second; pause(20 * time.Millisecond) {
		c, err = pgconn.Connect(ctx, "host=127.0.0.1 user=postgres password=root sslmode=disable dbname="+db+" port="+strconv.Itoa(postgresPort))
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	for _, s := range statements {
		if _, err := c.Exec(ctx, s).ReadAll(); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// The session cannot write, although the role may; a connection that the server has ended
// is replaced; what the statement is wrong about is said.
func TestPostgreSQLSession(t *testing.T) {
	s := postgresSystem
	b, _ := s.open(t, s.driver(s.servers(t), ours, trusting("db.test")), backend.Options{Workers: 1, Timeout: 10 * time.Second, Failures: 100})
	for text, want := range map[string]string{
		"INSERT INTO mqtt_user VALUES ('eve', 'x')": "25006",
		"SELECT nothing FROM mqtt_user":             "nothing",
		"SELECT 1; SELECT 2":                        "42601",
	} {
		if _, err := question(b, backend.Question{Text: text, RowsMax: 1}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	one := backend.Question{Text: "SELECT 1 AS one, NULL AS none, TRUE AS yes", RowsMax: 1}
	for range 2 {
		rows, err := question(b, one)
		if err != nil || len(rows) != 1 || rows[0][0] != (backend.Field{Name: "one", Value: "1"}) || !rows[0][1].Null || rows[0][2].Value != "t" {
			t.Fatal(rows, err)
		}
		postgresExec(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'redoubt'")
	}
	if _, err := question(b, backend.Question{Text: "SELECT generate_series(1, 1000000)", RowsMax: 5}); backend.KindOf(err) != backend.Excess {
		t.Error("rows without end: ", err)
	}
	if _, err := question(b, backend.Question{Text: "SELECT $1::uuid", Args: []string{"secret of a client"}, RowsMax: 1}); backend.KindOf(err) != backend.Rejected || strings.Contains(err.Error(), "secret") {
		t.Error("a value of a client that is none: ", err)
	}
	postgresExec(t, "mqtt", "CREATE FUNCTION gone(text) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT a FROM gone WHERE b = $1); END'",
		"SET check_function_bodies = off", "CREATE FUNCTION lost(text) RETURNS text LANGUAGE sql AS 'SELECT nothing FROM mqtt_user WHERE username = $1'",
		"CREATE FUNCTION missing(text) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN absent($1); END'",
		"CREATE FUNCTION remote(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE undefined_table USING MESSAGE = 'as a foreign server says it'; END $$",
		"CREATE FUNCTION words(text) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN to_tsquery($1); END'")
	for text, want := range map[string]backend.Kind{ // with the codes of statements that are wrong
		"SELECT gone($1)":       backend.Down, // for everybody
		"SELECT lost($1)":       backend.Down,
		"SELECT missing($1)":    backend.Down,
		"SELECT remote($1)":     backend.Down,
		"SELECT words($1)":      backend.Rejected,
		"SELECT $1::regclass":   backend.Rejected,
		"SELECT to_tsquery($1)": backend.Rejected,
		"SELECT nothing FROM mqtt_user WHERE username = $1": backend.Down,
		"SELECT FROM FROM mqtt_user WHERE username = $1":    backend.Down,
		"SELECT pg_read_file($1)":                           backend.Down, // a right that we do not have
	} {
		_, err := question(b, backend.Question{Text: text, Args: []string{"x y &"}, RowsMax: 1})
		if got := backend.KindOf(err); err == nil || got != want {
			t.Errorf("%s: %v (%v), want %v", text, err, got, want)
		}
	}
	if _, err := question(b, backend.Question{Text: "SELECT $1::regclass", Args: []string{"nobody"}, RowsMax: 1}); backend.KindOf(err) != backend.Rejected {
		t.Error("a value that is the name of no table: ", err)
	}
}
