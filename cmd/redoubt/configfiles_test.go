package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/pki"
)

// TestConfigCheckReadsWhatListenersName: what a start would refuse, the command says before.
func TestConfigCheckReadsWhatListenersName(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if _, err, code := command(t, "", "init", "--data-dir", data); err != nil || code != 0 {
		t.Fatal(err)
	}
	if _, err, code := command(t, "", "cert", "ca", "init", "--data-dir", data); err != nil || code != 0 {
		t.Fatal(err)
	}
	for _, name := range []string{"one.example.com", "two.example.com"} {
		if _, err, code := command(t, "", "cert", "issue", "server", name, "--data-dir", data, "--out", dir); err != nil || code != 0 {
			t.Fatal(err)
		}
	}
	ca, list, file := pki.DevicesCA(data), pki.DevicesList(data), filepath.Join(dir, "redoubt.yaml")
	pair := func(cert, key string) string {
		return fmt.Sprintf("certificates: [{cert: %s, key: \"file:%s\"}]", filepath.Join(dir, cert+".example.com.pem"), filepath.Join(dir, key+".example.com.key"))
	}
	asks := func(ca, list string) string {
		return fmt.Sprintf("client_cert: required, client_ca: [%s], crl: {files: [%s]}", ca, list)
	}
	check := func(tls string) (string, error, int) {
		t.Helper()
		text := fmt.Sprintf("node: {data_dir: %s}\nlisteners:\n  devices:\n    protocol: mqtts\n    bind: [\"127.0.0.1:8884\"]\n    tls: {%s}\n", data, tls)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return command(t, "", "config", "check", file)
	}
	for what, row := range map[string]struct{ tls, want string }{
		"another's key": {pair("one", "two"), ":6:"}, // the line

		"of another":       {pair("one", "two"), "listeners.devices.tls.certificates[0]: the key in file:" + filepath.Join(dir, "two.example.com.key") + " does not belong to the certificate"},
		"no CA":            {asks(filepath.Join(dir, "none.pem"), list), "listeners.devices.tls.client_ca: client CA: open " + filepath.Join(dir, "none.pem")},
		"no list":          {asks(ca, filepath.Join(dir, "none.crl")), "listeners.devices.tls.crl.files: revocation list: open"},
		"no list but a CA": {asks(ca, ca), "is no revocation list"},
		"a good pair":      {pair("two", "two"), ""},
		"a good CA":        {asks(ca, list), ""},
	} {
		out, err, code := check(row.tls)
		if row.want == "" && (err != nil || code != 0 || !strings.HasPrefix(out, "valid: ")) || row.want != "" && (err == nil || code != 1 || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%s: exit code %d, %v, want %q\n%s", what, code, err, row.want, out)
		}
	}
	// A start writes the list of the CA of devices anew.
	if err := os.Remove(list); err != nil {
		t.Fatal(err)
	}
	if _, err, code := check(asks(ca, list)); err != nil || code != 0 {
		t.Errorf("the list that a start makes: exit code %d, %v", code, err)
	}
}

// So are the keys of tokens and the CAs of back ends: each with its place in the file.
func TestConfigCheckReadsKeysOfTokensAndBackEnds(t *testing.T) {
	dir := t.TempDir()
	file, key := filepath.Join(dir, "redoubt.yaml"), filepath.Join(dir, "key.pem")
	if err := os.WriteFile(key, []byte("no key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	none := filepath.Join(dir, "none.pem")
	const kerberos = "authn:\n  chains: {default: [t]}\n  kerberos:\n    t:\n      principal: mqtt/b.example@R\n      realms: [R]\n      keytab: "
	for _, row := range []struct{ text, want string }{
		{"authn:\n  chains: {default: [t]}\n  jwt:\n    t:\n      algorithms: [ES256]\n      public_keys: [" + none + "]\n      issuer: me\n", file + ":7:7: authn.jwt.t.public_keys: open " + none},
		{"authn:\n  chains: {default: [t]}\n  jwt:\n    t:\n      algorithms: [ES256]\n      public_keys: [" + key + "]\n      issuer: me\n", file + ":5:5: authn.jwt.t: " + key},
		{kerberos + none + "\n", file + ":8:7: authn.kerberos.t.keytab: open " + none + ": no such file or directory; kadmin writes one: ktadd -k " + none + " mqtt/b.example"},
		{kerberos + key + "\n", file + ":8:7: authn.kerberos.t.keytab: " + key + ": it is no keytab of format 2; kadmin writes one: ktadd -k " + key + " mqtt/b.example"},
		{"backends:\n  db:\n    type: redis\n    servers: [\"127.0.0.1:6379\"]\n    tls: {ca: [" + none + "]}\n", file + ":6:11: backends.db.tls.ca: open " + none},
		{"backends:\n  db:\n    type: redis\n    servers: [\"127.0.0.1:6379\"]\n    tls: {ca: [" + key + "]}\n", file + ":6:11: backends.db.tls.ca: " + key + " has no certificate in PEM"},
		{"backends:\n  db:\n    type: redis\n    servers: [\"127.0.0.1:6379\"]\n", ""},
	} {
		if err := os.WriteFile(file, []byte(fmt.Sprintf("node: {data_dir: %s}\n%s", dir, row.text)), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err, code := command(t, "", "config", "check", file)
		if row.want == "" && (err != nil || code != 0) || row.want != "" && (err == nil || code != 1 || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%q: exit code %d, %v, want %q\n%s", row.text, code, err, row.want, out)
		}
	}
}

// What bans.file has is judged as well.
func TestConfigCheckReadsTheBans(t *testing.T) {
	dir := t.TempDir()
	file, list := filepath.Join(dir, "redoubt.yaml"), filepath.Join(dir, "bans.csv")
	if err := os.WriteFile(file, []byte(fmt.Sprintf("node: {data_dir: %s}\nbans:\n  file: %s\n", dir, list)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ text, want string }{
		{"", file + ":3:3: bans.file: open " + list},
		{"as,who\nip,10.0.0.9\n", file + ":3:3: bans.file: " + list + `:2: "ip" is no kind of ban`},
		{"as,who\npeerhost,10.0.0.9\n", ""},
	} {
		if row.text != "" {
			if err := os.WriteFile(list, []byte(row.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		out, err, code := command(t, "", "config", "check", file)
		if row.want == "" && (err != nil || code != 0) || row.want != "" && (err == nil || code != 1 || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%q: exit code %d, %v, want %q\n%s", row.text, code, err, row.want, out)
		}
	}
}

// So are the rules, in force and tried, with their tests: but not those that a start makes.
func TestConfigCheckReadsRules(t *testing.T) {
	dir := t.TempDir()
	file, bad := filepath.Join(dir, "redoubt.yaml"), filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("version: 1\nrules:\n  - {alow: publish, topics: [\"a\"]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ text, want string }{
		{"", ""},
		{"authz: {rules_file: " + bad + "}\n", file + ":2:9: authz.rules_file: " + bad + ":3"},
		{"authz: {rules_file: " + filepath.Join(dir, "none.yaml") + "}\n", file + ":2:9: authz.rules_file: open " + filepath.Join(dir, "none.yaml")},
		{"authz: {report_only: {rules_file: " + bad + "}}\n", file + ":2:23: authz.report_only.rules_file: " + bad + ":3"},
	} {
		if err := os.WriteFile(file, []byte(fmt.Sprintf("node: {data_dir: %s}\n%s", dir, row.text)), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err, code := command(t, "", "config", "check", file)
		if row.want == "" && (err != nil || code != 0) || row.want != "" && (err == nil || code != 1 || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%q: exit code %d, %v, want %q\n%s", row.text, code, err, row.want, out)
		}
	}
}
