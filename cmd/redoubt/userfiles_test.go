package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	byMosquitto = "$7$101$INLsvw2RzxAAO+r1$CALMNr32klu53gkDwb71APFwwS77z//c43zpdT5i7EShnYewMkWatwcuWd/30bP52QHlnRni08Qm/HqI19T/Pg=="
	byEMQX      = "user_id,password_hash,salt,is_superuser\nbob,cc0c19e7e854dad3a1ac59d270a830024c7d2efa248ea80d0a27223f30bbf504,NaCl,false\n"
)

func TestUserFilesWithAndWithoutBroker(t *testing.T) {
	for _, running := range []bool{true, false} {
		dir := dataDir(t)
		if running {
			startAdmin(t, dir, brokerStub{})
		}
		do := func(stdin string, args ...string) (string, error, int) {
			return command(t, stdin, append(append([]string{"user"}, args...), "--data-dir", dir)...)
		}
		pw := filepath.Join(dir, "passwd")
		if err := os.WriteFile(pw, []byte("alice:"+byMosquitto+"\n\x1b[1m:"+byMosquitto+"\nc:canary\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err, code := do("", "import", pw)
		if code != 1 || !strings.Contains(out, "3 users: 1 created, 0 updated, 0 skipped, 2 failed") || !strings.Contains(out, "passwd:3: c: has a password that is not hashed") ||
			!strings.Contains(out, "Nothing was changed: it is all or none") || strings.Contains(out+err.Error(), "canary") || strings.Contains(out, "\x1b") {
			t.Errorf("broker %v: %d %v %q", running, code, err, out)
		}
		if out, _, code := do("", "import", pw, "--dry-run", "--keep-going"); code != 1 || !strings.Contains(out, "dry run") {
			t.Errorf("broker %v: %d %q", running, code, out)
		}
		if out, _, _ := do("", "list"); strings.Contains(out, "alice") {
			t.Errorf("broker %v: %q", running, out)
		}
		if out, _, code := do("", "import", pw, "--keep-going"); code != 1 || !strings.Contains(out, "1 created") || !strings.Contains(out, "1 have a hash of another program") {
			t.Errorf("broker %v: %d %q", running, code, out)
		}
		if out, err, _ := do(byEMQX, "import", "-", "--algorithm", "sha256", "-o", "json", "--scram"); err != nil || !strings.Contains(out, `"success": 1`) {
			t.Errorf("broker %v: %v %q", running, err, out)
		}
		if out, _, _ := do("", "list"); !strings.Contains(out, "alice  imported  pbkdf2-sha512 i=101,blocks=1") || !strings.Contains(out, "bob    imported  sha256") || !strings.Contains(out, "at next login") {
			t.Errorf("broker %v: %q", running, out)
		}
		if out, err, _ := do("", "export"); err != nil || !strings.Contains(out, "bob,false,imported,sha256") || strings.Contains(out, "cc0c") || strings.Contains(out, "$") {
			t.Errorf("broker %v: %v %q", running, err, out)
		}
		file := filepath.Join(dir, "users.csv")
		if _, _, code := do("", "export", "--include-hashes"); code != 2 {
			t.Errorf("broker %v: hashes on a screen: exit %d", running, code)
		}
		if out, err, _ := do("", "export", "--include-hashes", "--file", file); err != nil || out != "" {
			t.Errorf("broker %v: %v %q", running, err, out)
		}
		if _, _, code := do("", "export", "--include-hashes", "--file", file); code != 1 {
			t.Errorf("broker %v: a file was overwritten", running)
		}
		if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("broker %v: %v %v", running, st, err)
		}
		if out, err, _ := do("", "import", file, "--existing", "skip"); err != nil || !strings.Contains(out, "2 skipped") {
			t.Errorf("broker %v: %v %q", running, err, out)
		}
		for _, bad := range [][]string{{"--format", "ldif"}, {"--existing", "merge"}, {"--nonsense"}} {
			if _, _, code := do("", append([]string{"import", file}, bad...)...); code != 2 {
				t.Errorf("broker %v: %v: exit %d", running, bad, code)
			}
		}
		if _, err, code := do("", "import", filepath.Join(dir, "nothing")); code != 1 || err == nil {
			t.Errorf("broker %v: %v", running, err)
		}
	}
}
