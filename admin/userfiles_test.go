package admin

import (
	"net/http"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/auth/scram"
	"github.com/redoubtmq/redoubt/internal/secret"
)

const byMosquitto = "$7$101$INLsvw2RzxAAO+r1$CALMNr32klu53gkDwb71APFwwS77z//c43zpdT5i7EShnYewMkWatwcuWd/30bP52QHlnRni08Qm/HqI19T/Pg=="

func TestUsersOfAFile(t *testing.T) {
	r := newRig(t, nil)
	r.store.SetSCRAM(scram.Algorithms, scram.IterationsMin)
	ctx := t.Context()
	file := []byte("alice:" + byMosquitto + "\nb/d:" + byMosquitto + "\n")
	p, err := r.client.Import(ctx, &UserImport{Name: "pwfile"}, file)
	if err != nil || p.Applied || p.Failed != 1 || p.Failures[0].Line != 2 || r.store.Len() != 0 {
		t.Errorf("%+v %v", p, err)
	}
	if p, err = r.client.Import(ctx, &UserImport{Name: "pwfile", KeepGoing: true, DryRun: true}, file); err != nil || p.Applied || p.Created != 1 || r.store.Len() != 0 {
		t.Errorf("%+v %v", p, err)
	}
	if p, err = r.client.Import(ctx, &UserImport{Name: "pwfile", KeepGoing: true, SCRAM: true}, file); err != nil || !p.Applied || p.Created != 1 || p.Foreign != 1 || r.store.Len() != 1 {
		t.Errorf("%+v %v", p, err)
	}
	all, err := AllUsers(ctx, r.client)
	if err != nil || all[0].PasswordKind != "imported" || all[0].HashAlgorithm != "pbkdf2-sha512 i=101,blocks=1" || all[0].SCRAM != builtin.SCRAMLater {
		t.Errorf("%+v %v", all, err)
	}
	emqx := []byte("user_id,password_hash,salt,is_superuser\nbob,cc0c19e7e854dad3a1ac59d270a830024c7d2efa248ea80d0a27223f30bbf504,NaCl,true\n")
	if p, err = r.client.Import(ctx, &UserImport{Name: "u.csv", Algorithm: "sha256", SaltPosition: "prefix"}, emqx); err != nil || p.Failed != 1 || !strings.Contains(p.Failures[0].Reason, "--ignore-superuser") {
		t.Errorf("%+v %v", p, err)
	}
	if p, err = r.client.Import(ctx, &UserImport{Name: "u.csv", Algorithm: "sha256", SaltPosition: "prefix", IgnoreSuperuser: true}, emqx); err != nil || p.Created != 1 {
		t.Errorf("%+v %v", p, err)
	}
	for _, q := range []UserImport{{Algorithm: "plain"}, {Algorithm: "crc"}, {Format: "csv"}} {
		if _, err := r.client.Import(ctx, &q, file); status(err) != http.StatusUnprocessableEntity {
			t.Errorf("%+v: %v", q, err)
		}
	}
	if !accepts(t, r.store, "bob", "correct horse") || !accepts(t, r.store, "alice", "correct horse") {
		t.Error("an imported user does not come in")
	}
	if _, body := r.raw(http.MethodPost, "/api/v5/authentication/other/import_users?name=u.csv", "x"); !strings.Contains(body, "no authenticator") {
		t.Error(body)
	}

	page, err := r.client.Export(ctx, UserExport{Limit: 1})
	if err != nil || len(page.Data) != 1 || page.Meta.Count != 2 || !page.Meta.HasNext || page.Data[0].Hash != nil {
		t.Errorf("%+v %v", page, err)
	}
	if _, body := r.raw(http.MethodGet, "/api/v5/authentication/builtin/export_users", ""); strings.Contains(body, "password_hash\"") || strings.Contains(body, "$argon2id") {
		t.Error(body)
	}
	if page, err = r.client.Export(ctx, UserExport{Page: 2, Limit: 1, Hashes: true}); err != nil || len(page.Data) != 1 || page.Data[0].UserID != "bob" || page.Data[0].Hash == nil || page.Data[0].PasswordKind == "" {
		t.Errorf("%+v %v", page, err)
	}
}

func TestSCRAMIsAskedFor(t *testing.T) {
	r := newRig(t, nil)
	r.store.SetSCRAM([]scram.Algorithm{scram.SHA256}, scram.IterationsMin)
	u, err := r.client.Add(t.Context(), "a", secret.Value{}, builtin.WithSCRAM)
	if err != nil || u.SCRAM != "SCRAM-SHA-256" {
		t.Errorf("%+v %v", u, err)
	}
	if u, err = r.client.SetPassword(t.Context(), "a", secret.FromString("a chosen password")); err != nil || u.SCRAM == "" {
		t.Errorf("%+v %v", u, err)
	}
	if u, err = r.client.SetPassword(t.Context(), "a", secret.FromString("a chosen password"), builtin.WithoutSCRAM); err != nil || u.SCRAM != "" {
		t.Errorf("%+v %v", u, err)
	}
}
