package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// User is a user of the built-in authenticator, in EMQX's shape.
type User struct {
	UserID        string     `json:"user_id" doc:"User name."`
	IsSuperuser   bool       `json:"is_superuser" doc:"Always false: nobody is above the rules."`
	PasswordKind  string     `json:"password_kind" enum:"chosen,generated,imported" doc:"How the password was made. imported: with the hash of another program, until the next login."`
	HashAlgorithm string     `json:"password_hash_algorithm" doc:"What the password is checked against: the algorithm, with its cost where it varies."`
	SCRAM         string     `json:"scram,omitempty" doc:"The mechanisms of SCRAM that the user has keys for, or 'at next login'; absent: none."`
	CreatedAt     time.Time  `json:"created_at" doc:"When the user was added."`
	ChangedAt     time.Time  `json:"password_changed_at" doc:"When the password was set, or imported."`
	Password      *ShownOnce `json:"generated_password,omitempty"`
}

// UserPage is one page of users.
type UserPage struct {
	Data []User `json:"data" doc:"Users, sorted by name."`
	Meta Meta   `json:"meta"`
}

// Meta says which page of how much this is.
type Meta struct {
	Page    int  `json:"page" doc:"This page; the first is 1."`
	Limit   int  `json:"limit" doc:"Entries on a full page."`
	Count   int  `json:"count" doc:"Entries on all pages."`
	HasNext bool `json:"hasnext" doc:"Whether there is another page."`
}

// PageLimitMax is EMQX's largest page.
const PageLimitMax = 10_000

// UserQuery selects a page of users.
type UserQuery struct {
	Page  int    `query:"page" minimum:"1" maximum:"1000000" default:"1" doc:"Page; the first is 1."`
	Limit int    `query:"limit" minimum:"1" maximum:"10000" default:"100" doc:"Entries on a page."`
	Like  string `query:"like_user_id" maxLength:"256" doc:"Only user names that hold this text."`
}

// AuthnPath is the part of a path that names the authenticator. It is exported
// because huma looks into exported embedded fields only.
type AuthnPath struct {
	ID string `path:"id" maxLength:"64" doc:"The authenticator: builtin."`
}

type (
	listUsers struct {
		AuthnPath
		UserQuery
	}
	addUser struct {
		AuthnPath
		Body struct {
			UserID      string   `json:"user_id" minLength:"1" maxLength:"256" doc:"User name."`
			Password    password `json:"password,omitempty"`
			IsSuperuser bool     `json:"is_superuser,omitempty" doc:"Only false is accepted."`
			SCRAM       *bool    `json:"scram,omitempty" doc:"Whether the user gets keys for SCRAM. Left out: as before."`
		}
	}
	putUser struct {
		AuthnPath
		UserID string `path:"user_id" minLength:"1" maxLength:"256" doc:"User name."`
		Body   struct {
			Password    password `json:"password,omitempty"`
			IsSuperuser bool     `json:"is_superuser,omitempty" doc:"Only false is accepted."`
			SCRAM       *bool    `json:"scram,omitempty" doc:"Whether the user gets keys for SCRAM. Left out: as before."`
		}
	}
	deleteUser struct {
		AuthnPath
		UserID string `path:"user_id" minLength:"1" maxLength:"256" doc:"User name."`
	}
	userPageAnswer struct{ Body UserPage }
	userAnswer     struct{ Body User }
	empty          struct{}
)

func registerUsers(api huma.API, o *Options) {
	const tag, path = "Users", prefix + "/authentication/{id}/users"
	register(api, endpoint{
		method: http.MethodGet, path: path, id: "listUsers", role: viewer, scope: scopeUsers, tag: tag,
		summary: "Users of the built-in authenticator", errors: []int{http.StatusNotFound},
	}, func(ctx context.Context, in *listUsers) (*userPageAnswer, error) {
		if err := in.AuthnPath.check(); err != nil {
			return nil, err
		}
		page, err := o.Users.List(ctx, in.UserQuery)
		return &userPageAnswer{page}, refusal(err)
	})
	register(api, endpoint{
		method: http.MethodPost, path: path, id: "addUser", role: administrator, scope: scopeUsers, tag: tag,
		summary: "Add a user", status: http.StatusCreated, errors: []int{http.StatusNotFound, http.StatusConflict},
	}, func(ctx context.Context, in *addUser) (*userAnswer, error) {
		return setUser(in.AuthnPath, in.Body.IsSuperuser, in.Body.Password, func(p secret.Value) (User, error) {
			return o.Users.Add(ctx, in.Body.UserID, p, extras(in.Body.SCRAM)...)
		})
	})
	register(api, endpoint{
		method: http.MethodPut, path: path + "/{user_id}", id: "setUserPassword", role: administrator, scope: scopeUsers, tag: tag,
		summary: "Give a user another password", errors: []int{http.StatusNotFound},
	}, func(ctx context.Context, in *putUser) (*userAnswer, error) {
		return setUser(in.AuthnPath, in.Body.IsSuperuser, in.Body.Password, func(p secret.Value) (User, error) {
			return o.Users.SetPassword(ctx, in.UserID, p, extras(in.Body.SCRAM)...)
		})
	})
	register(api, endpoint{
		method: http.MethodDelete, path: path + "/{user_id}", id: "deleteUser", role: administrator, scope: scopeUsers, tag: tag,
		summary: "Delete a user and close what it has open", status: http.StatusNoContent, errors: []int{http.StatusNotFound},
	}, func(ctx context.Context, in *deleteUser) (*empty, error) {
		if err := in.AuthnPath.check(); err != nil {
			return nil, err
		}
		return nil, refusal(o.Users.Delete(ctx, in.UserID))
	})
	registerUserFiles(api, o)
}

// extras are what a body says of SCRAM.
func extras(scram *bool) []builtin.Extra {
	switch {
	case scram == nil:
		return nil
	case *scram:
		return []builtin.Extra{builtin.WithSCRAM}
	}
	return []builtin.Extra{builtin.WithoutSCRAM}
}

// setUser is what adding a user and changing a password have in common.
func setUser(at AuthnPath, super bool, p password, set func(secret.Value) (User, error)) (*userAnswer, error) {
	if err := at.check(); err != nil {
		return nil, err
	}
	if super {
		return nil, newProblem(http.StatusUnprocessableEntity, "there are no superusers here: grant what the user needs in the rules file (authz.rules_file)")
	}
	u, err := set(p.Value)
	if err != nil {
		return nil, refusal(err)
	}
	return &userAnswer{u}, nil
}

// check knows the one authenticator that has users.
func (p *AuthnPath) check() error {
	if p.ID != builtin.Name {
		return newProblem(http.StatusNotFound, "there is no authenticator of this name with users of its own; the built-in one is called "+builtin.Name)
	}
	return nil
}
