package backend_test

import (
	"crypto/tls"
	"encoding/base64"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/lookup"
	"github.com/redoubtmq/redoubt/backend"
	"github.com/redoubtmq/redoubt/backend/ldap"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
)

const readerDN = "cn=redoubt,dc=test"

// The directory judges passwords, over LDAPS.
var ldapSystem = &system{
	name: "ldap bind",
	start: func(t *testing.T) string {
		directory.Do(func() { startDirectory(t) })
		return at(ldapsPort)
	},
	driver:  directoryDriver(false),
	users:   func(t *testing.T) lookup.Query { return ldapQuery(t, "", true) },
	rules:   func(t *testing.T) lookup.Query { return ldapRules(t, "(uid=${username})") },
	rotate:  rotateDirectory,
	garbage: [][]byte{[]byte("\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00"), []byte("\x30\x84\xff\xff\xff\xff"), []byte("\x30\x80")},
}

// Its hashes are read, and TLS begins after a word in plain text.
var starttlsSystem = &system{
	name: "ldap hash",
	start: func(t *testing.T) string {
		directory.Do(func() { startDirectory(t) })
		return at(ldapPort)
	},
	driver: directoryDriver(true),
	users:  func(t *testing.T) lookup.Query { return ldapQuery(t, "password_hash:description,salt:st,", false) },
	rotate: rotateDirectory,
}

func directoryDriver(startTLS bool) func([]backend.Server, string, *tls.Config) backend.Driver {
	return func(servers []backend.Server, password string, conf *tls.Config) backend.Driver {
		return ldap.New(ldap.Options{Servers: servers, Username: readerDN, Password: secret.FromString(password), TLS: conf, StartTLS: startTLS}, clock.System{})
	}
}

func ldapQuery(t *testing.T, attributes string, bind bool) lookup.Query {
	t.Helper()
	q, err := lookup.LDAP("ou=people,dc=test?"+attributes+"is_superuser:employeeType,client_attrs_site:l?sub?(uid=${username})", bind)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// rulesOfEMQX are attributes as EMQX calls them.
const rulesOfEMQX = "ou=people,dc=test?mqttPublishTopic,mqttSubscriptionTopic,mqttPubSubTopic,mqttAclRule?sub?"

func ldapRules(t *testing.T, filter string) lookup.Query {
	t.Helper()
	q, err := lookup.LDAPRules(rulesOfEMQX + filter)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

var (
	directory           sync.Once
	ldapPort, ldapsPort int
)

func startDirectory(t *testing.T) {
	dir := folder(t, "slapd")
	cert, key, ca := certified(t, dir)
	ldapPort, ldapsPort = freePort(t), freePort(t)
	conf := write(t, dir, "slapd.conf", lines(
		"include /etc/ldap/schema/core.schema", "include /etc/ldap/schema/cosine.schema", "include /etc/ldap/schema/inetorgperson.schema",
		"attributetype ( 1.3.6.1.4.1.32473.1 NAME ( 'mqttPublishTopic' ) EQUALITY caseExactMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )",
		"attributetype ( 1.3.6.1.4.1.32473.2 NAME ( 'mqttSubscriptionTopic' ) EQUALITY caseExactMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )",
		"attributetype ( 1.3.6.1.4.1.32473.3 NAME ( 'mqttPubSubTopic' ) EQUALITY caseExactMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )",
		"attributetype ( 1.3.6.1.4.1.32473.4 NAME ( 'mqttAclRule' ) EQUALITY caseExactMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )",
		"objectclass ( 1.3.6.1.4.1.32473.5 NAME 'mqttUser' AUXILIARY MAY ( mqttPublishTopic $ mqttSubscriptionTopic $ mqttPubSubTopic $ mqttAclRule ) )",
		"modulepath /usr/lib/ldap", "moduleload back_mdb", "pidfile "+dir+"/pid",
		"TLSCertificateFile "+cert, "TLSCertificateKeyFile "+key, "TLSCACertificateFile "+ca, "TLSVerifyClient never",
		"database mdb", "maxsize 16777216", "suffix dc=test", "rootdn cn=admin,dc=test", "rootpw root", "directory "+dir, "dbnosync",
		"access to attrs=userPassword by anonymous auth by * none", `access to * by dn.exact="`+readerDN+`" read by anonymous auth by * none`))
	person := func(uid, hash, superuser string) string {
		return lines("", "dn: uid="+uid+",ou=people,dc=test", "objectClass: inetOrgPerson", "objectClass: mqttUser", "uid: "+uid, "cn: "+uid, "sn: "+uid, "l: hall 1",
			"userPassword: "+annPassword, "description: "+hash, "st: salty", "employeeType: "+superuser)
	}
	entries := lines("dn: dc=test", "objectClass: dcObject", "objectClass: organization", "o: test", "dc: test", "",
		"dn: ou=people,dc=test", "objectClass: organizationalUnit", "ou: people", "",
		"dn: "+readerDN, "objectClass: person", "cn: redoubt", "sn: redoubt", "userPassword: "+ours) +
		person("ann", annHash, "0") +
		lines(`mqttAclRule: [{"permission":"allow","action":"publish","topic":"up/#","qos":[0,1]},{"permission":"deny","action":"all","topic":"down/secret"}]`, "mqttSubscriptionTopic: down/#") +
		person("large", annHash, "0") + lines("mqttAclRule: "+strings.Repeat("x", 3<<20)) +
		person("root", annHash, "1") + person("odd", "no hash at all", "0") + person("locked", annHash, "0")
	run(t, dir, "slapadd", "-f", conf, "-q", "-l", write(t, dir, "entries.ldif", entries))
	serve(t, dir, ldapsPort, "slapd", "-f", conf, "-h", "ldap://"+at(ldapPort)+"/ ldaps://"+at(ldapsPort)+"/", "-d", "0")
	modifyDirectory(t, "uid=locked,ou=people,dc=test", "{SSHA}"+base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 24))))
}

func rotateDirectory(t *testing.T, password string) { modifyDirectory(t, readerDN, password) }

func modifyDirectory(t *testing.T, dn, password string) {
	t.Helper()
	changeDirectory(t, "dn: "+dn, "changetype: modify", "replace: userPassword", "userPassword: "+password)
}

func changeDirectory(t *testing.T, ldif ...string) {
	t.Helper()
	cmd := exec.Command("ldapmodify", "-x", "-H", "ldap://127.0.0.1:"+strconv.Itoa(ldapPort), "-D", "cn=admin,dc=test", "-w", "root")
	cmd.Stdin = strings.NewReader(lines(ldif...))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ldapmodify: %v\n%s", err, out)
	}
}

// A directory says yes to a name without a password; nobody comes in by it. What it says of
// one entry does not count against it.
func TestDirectoryBinds(t *testing.T) {
	s := ldapSystem
	b, a := s.open(t, s.driver(s.servers(t), ours, trusting("db.test")), backend.Options{Timeout: 10 * time.Second, Failures: 1})
	q := backend.Question{Text: "ou=people,dc=test??sub", Args: []string{"(uid=ann)"}, RowsMax: 1}
	if rows, err := question(b, q); err != nil || len(rows) != 1 || len(rows[0]) != 0 {
		t.Error("a search without a password: ", rows, err)
	}
	for range 10 {
		if r := login(a, request("locked", annPassword)); r.Outcome != auth.Deny {
			t.Errorf("%+v", r)
		}
	}
	q.Args = []string{"(objectClass=*)"}
	if _, err := question(b, q); backend.KindOf(err) != backend.Excess {
		t.Error("more entries than are wanted: ", err)
	}
	q.Text = "ou=gone,dc=test??sub"
	if _, err := question(b, q); backend.KindOf(err) != backend.Down || !strings.Contains(err.Error(), "No Such Object") {
		t.Error("a base that is not there: ", err)
	}
}

// The rules of a client are those of its one entry: nobody else's by a name with wildcards,
// none of two entries, none of a directory that this one refers to, and none that are
// longer than anybody's. None of it is a fault of the directory's.
func TestRulesInADirectory(t *testing.T) {
	s := ldapSystem
	b, _ := s.open(t, s.driver(s.servers(t), ours, trusting("db.test")), backend.Options{Timeout: 10 * time.Second, Failures: 1})
	elsewhere, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	changeDirectory(t, "dn: uid=away,ou=people,dc=test", "changetype: add", "objectClass: referral", "objectClass: extensibleObject", "uid: away",
		"ref: ldap://"+elsewhere.Addr().String()+"/uid=away,ou=people,dc=test")
	rules := func(filter, name string) (own auth.Own, err error) {
		source := lookup.NewSource(lookup.SourceOptions{Name: "acl", Backend: b, Query: ldapRules(t, filter)}, clock.System{})
		got := make(chan struct{})
		source.Load(&auth.Principal{Identity: name, Username: name}, func(o auth.Own, e error) { own, err = o, e; close(got) })
		<-got
		return own, err
	}
	if own, err := rules("(uid=${username})", "ann"); err != nil || len(own.Rules) != 3 {
		t.Error(own, err)
	}
	for _, name := range []string{"bob", "*", "an*", "*)(uid=*", "ann)(l=*", "root", "away", `ann\00`} { // root has an entry, and no rules
		if own, err := rules("(uid=${username})", name); err != nil || len(own.Rules) != 0 {
			t.Errorf("%q: %v %v", name, own, err)
		}
	}
	if own, err := rules("(&(uid=${username})(l=${client_attrs.site}))", "ann"); err != nil || len(own.Rules) != 0 {
		t.Error("a value that the client does not have: ", own, err)
	}
	if own, err := rules("(|(uid=${username})(uid=root))", "ann"); err == nil || !strings.Contains(err.Error(), "more than one entry") {
		t.Error("two entries: ", own, err)
	}
	if own, err := rules("(|(uid=${username})(uid=a*)(uid=r*)(uid=o*))", "ann"); backend.KindOf(err) != backend.Excess {
		t.Error("many entries: ", own, err)
	}
	if own, err := rules("(uid=${username})", "large"); backend.KindOf(err) != backend.Excess || !strings.Contains(err.Error(), "longer than 2097152") {
		t.Error("more than anybody has: ", own, err)
	}
	if own, err := rules("(uid=${username})", "ann"); err != nil || len(own.Rules) != 3 {
		t.Error("after all this: ", own, err)
	}
	_ = elsewhere.(*net.TCPListener).SetDeadline(time.Now())
	if c, err := elsewhere.Accept(); err == nil {
		_ = c.Close()
		t.Error("the directory that this one refers to was asked")
	}
}
