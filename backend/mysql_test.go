package backend_test

import (
	"context"
	"crypto/tls"
	"database/sql"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql" // the administrator of these tests

	"github.com/redoubtmq/redoubt/auth/lookup"
	"github.com/redoubtmq/redoubt/auth/template"
	"github.com/redoubtmq/redoubt/backend"
	"github.com/redoubtmq/redoubt/backend/mysql"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
)

var mariaSystem = &system{
	name: "mysql",
	start: func(t *testing.T) string {
		maria.Do(func() { startMaria(t) })
		return at(mariaPort)
	},
	driver: func(servers []backend.Server, password string, conf *tls.Config) backend.Driver {
		return mysql.New(mysql.Options{Servers: servers, Database: "mqtt", Username: "redoubt", Password: secret.FromString(password), TLS: conf, Connections: 8, Timeout: time.Minute}, clock.System{})
	},
	users: func(t *testing.T) lookup.Query { return sqlQuery(t, usersSQL, template.Question) },
	rules: func(t *testing.T) lookup.Query { return sqlQuery(t, rulesSQL, template.Question) },
	slow:  backend.Question{Text: "SELECT SLEEP(30)", RowsMax: 1},
	rotate: func(t *testing.T, password string) {
		mariaExec(t, "", "ALTER USER redoubt@'%' IDENTIFIED BY '"+password+"'")
	},
	garbage: [][]byte{
		[]byte("\x00\x00\x00\x00"), []byte("\xff\xff\xff\x00"), []byte("\x05\x00\x00\x00\x0a5.5\x00"),
		[]byte("\x01\x00\x00\x00\xff"), []byte("\x01\x00\x00\x00\xfb"),
	},
}

var (
	maria     sync.Once
	mariaPort int
)

func startMaria(t *testing.T) {
	dir := folder(t, "mariadb")
	cert, key, ca := certified(t, dir)
	run(t, dir, "mariadb-install-db", "--no-defaults", "--datadir="+dir+"/data", "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve", "--skip-log-bin", "--innodb-log-file-size=4M", "--innodb-buffer-pool-size=8M", "--innodb-flush-method=nosync")
	mariaPort = freePort(t)
	setup := write(t, dir, "setup.sql", lines(
		"CREATE DATABASE mqtt;",
		"CREATE OR REPLACE USER root@'127.0.0.1' IDENTIFIED BY 'root';",
		"GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;",
		"CREATE USER redoubt@'%' IDENTIFIED BY '"+ours+"';",
		"GRANT SELECT, INSERT ON mqtt.* TO redoubt@'%';"))
	serve(t, dir, mariaPort, "mariadbd", "--no-defaults", "--datadir="+dir+"/data", "--socket="+dir+"/sock", "--pid-file="+dir+"/pid", "--bind-address=127.0.0.1",
		"--port="+strconv.Itoa(mariaPort), "--init-file="+setup, "--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=8M", "--innodb-log-file-size=4M", "--innodb-flush-method=nosync",
		"--ssl-cert="+cert, "--ssl-key="+key, "--ssl-ca="+ca, "--secure-file-priv="+dir)
	mariaExec(t, "mqtt", schema...)
}

// mariaExec says something as the administrator.
func mariaExec(t *testing.T, db string, statements ...string) {
	t.Helper()
	c, err := sql.Open("mysql", "root:root@tcp("+at(mariaPort)+")/"+db)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, s := range statements {
		if _, err := c.ExecContext(context.Background(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// The session cannot write, although the user may; a connection that the server has ended
// is replaced; the server gets no file of ours.
func TestMySQLSession(t *testing.T) {
	s := mariaSystem
	b, _ := s.open(t, s.driver(s.servers(t), ours, trusting("db.test")), backend.Options{Workers: 1, Timeout: 10 * time.Second, Failures: 100})
	for text, want := range map[string]string{
		"INSERT INTO mqtt_user (username, password_hash) VALUES ('eve', 'x')": "1792",
		"SELECT nothing FROM mqtt_user":                                       "nothing",
		"SELECT 1; SELECT 2":                                                  "1064",
	} {
		if _, err := question(b, backend.Question{Text: text, RowsMax: 1}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	one := backend.Question{Text: "SELECT 1 AS one, NULL AS none, TRUE AS yes", RowsMax: 1}
	for range 2 {
		rows, err := question(b, one)
		if err != nil || len(rows) != 1 || rows[0][0] != (backend.Field{Name: "one", Value: "1"}) || !rows[0][1].Null || rows[0][2].Value != "1" {
			t.Fatal(rows, err)
		}
		mariaExec(t, "", "KILL USER redoubt")
	}
	if _, err := question(b, backend.Question{Text: "SELECT username FROM mqtt_user", RowsMax: 1}); backend.KindOf(err) != backend.Excess {
		t.Error("more rows than are wanted: ", err)
	}
}
