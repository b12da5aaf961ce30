package admin

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/auth/builtin/userfile"
	"github.com/redoubtmq/redoubt/auth/hash"
)

// UserImport says how a file of users is to be read and what becomes of them.
type UserImport struct {
	Name            string `query:"name" maxLength:"256" doc:"What the file is called where it is; its end says the format."`
	Format          string `query:"format" enum:"csv,json,mosquitto" doc:"The form of the file. Left out: by its name and how it begins."`
	Algorithm       string `query:"algorithm" maxLength:"16" doc:"How the hashes were made: auto (they say it themselves), argon2id, bcrypt, scrypt, pbkdf2, sha512, sha256, sha or md5."`
	SaltPosition    string `query:"salt_position" maxLength:"16" doc:"Of sha512, sha256, sha and md5: prefix, suffix or disable."`
	Encoding        string `query:"encoding" maxLength:"16" doc:"Of hashes that do not say it: hex or base64."`
	MAC             string `query:"mac" maxLength:"16" doc:"Of pbkdf2 that does not say it: sha256 or sha512."`
	Iterations      int    `query:"iterations" minimum:"0" maximum:"2000000" doc:"The same."`
	Existing        string `query:"existing" enum:"fail,skip,update" default:"fail" doc:"What becomes of users who exist with another password."`
	AllowWeak       bool   `query:"allow_weak" doc:"Take hashes of sha and md5, which are kept as they are until the user's next login."`
	IgnoreSuperuser bool   `query:"ignore_superuser" doc:"Import superusers as users."`
	SCRAM           bool   `query:"scram" doc:"Everybody gets SCRAM keys at the next login with a password."`
	KeepGoing       bool   `query:"keep_going" doc:"Import the others if some fail; otherwise all or none."`
	DryRun          bool   `query:"dry_run" doc:"Tell what would happen, and change nothing."`
}

// read makes entries of a file, and options of q.
func (q *UserImport) read(file []byte) ([]builtin.Entry, builtin.ImportOptions, error) {
	opt := builtin.ImportOptions{
		Spec:     hash.Spec{Algorithm: q.Algorithm, SaltPosition: q.SaltPosition, Encoding: q.Encoding, MAC: q.MAC, Iterations: q.Iterations},
		Existing: q.Existing, Weak: q.AllowWeak, SCRAM: q.SCRAM, KeepGoing: q.KeepGoing, DryRun: q.DryRun,
	}
	if opt.Spec.Algorithm == hash.Plain {
		return nil, opt, newProblem(http.StatusUnprocessableEntity, "algorithm plain would keep passwords in the clear: name the column password instead of password_hash, and they are hashed now")
	}
	entries, err := userfile.Read(q.Name, file, userfile.Options{Format: q.Format, IgnoreSuperuser: q.IgnoreSuperuser})
	return entries, opt, err
}

// Import implements Users.
func (s storeUsers) Import(_ context.Context, q *UserImport, file []byte) (builtin.ImportReport, error) {
	entries, opt, err := q.read(file)
	if err != nil {
		return builtin.ImportReport{}, err
	}
	return s.store.Import(entries, opt)
}

// UserExport selects a page of an export.
type UserExport struct {
	Page   int  `query:"page" minimum:"1" maximum:"1000000" default:"1" doc:"Page; the first is 1."`
	Limit  int  `query:"limit" minimum:"1" maximum:"10000" default:"1000" doc:"Entries on a page."`
	Hashes bool `query:"include_hashes" doc:"With the hashes of passwords, which who has them can guess at. Keys of SCRAM are never exported."`
}

// ExportedUser is a user with the hash that Import takes.
type ExportedUser struct {
	User
	Hash *ShownOnce `json:"password_hash,omitempty"`
}

// ExportPage is one page of an export.
type ExportPage struct {
	Data []ExportedUser `json:"data" doc:"Users, sorted by name."`
	Meta Meta           `json:"meta"`
}

// Export implements Users.
func (s storeUsers) Export(_ context.Context, q UserExport) (ExportPage, error) {
	all := s.store.Export(q.Hashes)
	p := ExportPage{Data: []ExportedUser{}, Meta: Meta{Page: max(q.Page, 1), Limit: min(max(q.Limit, 1), PageLimitMax), Count: len(all)}}
	from := (p.Meta.Page - 1) * p.Meta.Limit
	for i := from; i < min(from+p.Meta.Limit, len(all)); i++ {
		e := ExportedUser{User: shown(all[i].User)}
		if !all[i].Stored.Empty() {
			e.Hash = &ShownOnce{all[i].Stored}
		}
		p.Data = append(p.Data, e)
	}
	p.Meta.HasNext = len(all) > from+p.Meta.Limit
	return p, nil
}

const importUsersPath = prefix + "/authentication/{id}/import_users"

type (
	importUsers struct {
		AuthnPath
		UserImport
		RawBody []byte `contentType:"application/octet-stream"`
	}
	exportUsers struct {
		AuthnPath
		UserExport
	}
	importUsersDone struct{ Body builtin.ImportReport }
	exportUsersPage struct{ Body ExportPage }
)

func registerUserFiles(api huma.API, o *Options) {
	const tag = "Users"
	register(api, endpoint{
		method: http.MethodPost, path: importUsersPath, id: "importUsers", role: administrator, scope: scopeUsers, tag: tag, body: userfile.BytesMax,
		summary: "Add the users of a file, with the hashes of another program", errors: []int{http.StatusNotFound},
	}, func(ctx context.Context, in *importUsers) (*importUsersDone, error) {
		if err := in.AuthnPath.check(); err != nil {
			return nil, err
		}
		p, err := o.Users.Import(ctx, &in.UserImport, in.RawBody)
		if err != nil {
			return nil, refusal(err)
		}
		if p.Applied {
			o.Log.LogAttrs(ctx, loudly(o), "users imported by an operator", append(actor(ctx), slog.String("file", clipped(in.Name)), slog.Int("new", p.Created),
				slog.Int("updated", p.Updated), slog.Int("skipped", p.Skipped), slog.Int("failed", p.Failed), slog.Int("imported_hashes", p.Foreign))...)
		}
		return &importUsersDone{p}, nil
	})
	register(api, endpoint{
		method: http.MethodGet, path: prefix + "/authentication/{id}/export_users", id: "exportUsers", role: administrator, scope: scopeUsers, tag: tag,
		summary: "Users as a file has them, with hashes if they are asked for", errors: []int{http.StatusNotFound},
	}, func(ctx context.Context, in *exportUsers) (*exportUsersPage, error) {
		if err := in.AuthnPath.check(); err != nil {
			return nil, err
		}
		if in.Hashes { // before they leave
			o.Log.LogAttrs(ctx, loudly(o), "hashes of passwords exported by an operator", append(actor(ctx), slog.Int("page", in.Page))...)
		}
		p, err := o.Users.Export(ctx, in.UserExport)
		if err != nil {
			return nil, refusal(err)
		}
		return &exportUsersPage{p}, nil
	})
}

// Import implements Users.
func (c *Client) Import(ctx context.Context, q *UserImport, file []byte) (builtin.ImportReport, error) {
	v := url.Values{}
	for key, text := range map[string]string{
		"name": q.Name, "format": q.Format, "algorithm": q.Algorithm, "salt_position": q.SaltPosition, "encoding": q.Encoding, "mac": q.MAC, "existing": q.Existing,
	} {
		if text != "" {
			v.Set(key, text)
		}
	}
	if q.Iterations != 0 {
		v.Set("iterations", strconv.Itoa(q.Iterations))
	}
	for key, on := range map[string]bool{"allow_weak": q.AllowWeak, "ignore_superuser": q.IgnoreSuperuser, "scram": q.SCRAM, "keep_going": q.KeepGoing, "dry_run": q.DryRun} {
		if on {
			v.Set(key, "true")
		}
	}
	return send[builtin.ImportReport](ctx, c, http.MethodPost, "/authentication/"+builtin.Name+"/import_users?"+v.Encode(), "application/octet-stream", bytes.NewReader(file))
}

// Export implements Users.
func (c *Client) Export(ctx context.Context, q UserExport) (ExportPage, error) {
	v := url.Values{"page": {strconv.Itoa(max(q.Page, 1))}, "limit": {strconv.Itoa(max(q.Limit, 1))}, "include_hashes": {strconv.FormatBool(q.Hashes)}}
	return call[ExportPage](ctx, c, http.MethodGet, "/authentication/"+builtin.Name+"/export_users?"+v.Encode(), nil)
}
