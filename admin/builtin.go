package admin

import (
	"context"
	"strings"

	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// BuiltinUsers is the Users of a store in this process.
func BuiltinUsers(s *builtin.Store) Users { return storeUsers{s} }

type storeUsers struct{ store *builtin.Store }

// List implements Users. A store holds at most builtin.UsersMax users, so that
// walking all of them for a page is affordable.
func (s storeUsers) List(_ context.Context, q UserQuery) (UserPage, error) {
	page := UserPage{Data: []User{}, Meta: Meta{Page: max(q.Page, 1), Limit: min(max(q.Limit, 1), PageLimitMax)}}
	from := (page.Meta.Page - 1) * page.Meta.Limit
	for _, u := range s.store.List() {
		if !strings.Contains(u.Name, q.Like) {
			continue
		}
		if i := page.Meta.Count; i >= from && i < from+page.Meta.Limit {
			page.Data = append(page.Data, shown(u))
		}
		page.Meta.Count++
	}
	page.Meta.HasNext = page.Meta.Count > from+page.Meta.Limit
	return page, nil
}

// Add implements Users.
func (s storeUsers) Add(_ context.Context, name string, p secret.Value, with ...builtin.Extra) (User, error) {
	if p.Empty() {
		return withSecret(s.store.AddGenerated(name, with...))
	}
	u, err := s.store.Add(name, p, with...)
	return shown(u), err
}

// SetPassword implements Users.
func (s storeUsers) SetPassword(_ context.Context, name string, p secret.Value, with ...builtin.Extra) (User, error) {
	if p.Empty() {
		return withSecret(s.store.SetGenerated(name, with...))
	}
	u, err := s.store.SetPassword(name, p, with...)
	return shown(u), err
}

// Delete implements Users.
func (s storeUsers) Delete(_ context.Context, name string) error { return s.store.Delete(name) }

func shown(u builtin.User) User {
	return User{UserID: u.Name, PasswordKind: u.Kind, HashAlgorithm: u.Hash, SCRAM: u.SCRAM, CreatedAt: u.Created, ChangedAt: u.Changed}
}

func withSecret(u builtin.User, p secret.Value, err error) (User, error) {
	out := shown(u)
	if err == nil {
		out.Password = &ShownOnce{p}
	}
	return out, err
}
