package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/internal/secret"
)

const usersURL = "/api/v5/authentication/builtin/users"

// accepts asks the authenticator whether a password is the user's.
func accepts(t *testing.T, s *builtin.Store, name, pw string) bool {
	t.Helper()
	a, err := builtin.New(s, clock.NewManual(t0), builtin.Options{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	got := make(chan auth.Result, 1)
	a.Authenticate(&auth.Request{Username: name, HasUsername: true, HasPassword: true, Password: secret.FromString(pw)}, func(r auth.Result) { got <- r })
	return (<-got).Outcome == auth.Allow
}

func TestUserLife(t *testing.T) {
	r := newRig(t, nil)
	ctx := context.Background()
	u, err := r.client.Add(ctx, "meter-1", secret.Value{})
	if err != nil {
		t.Fatal(err)
	}
	if u.UserID != "meter-1" || u.IsSuperuser || u.PasswordKind != "generated" || !u.CreatedAt.Equal(t0) || u.Password == nil {
		t.Fatalf("added %+v", u)
	}
	first := string(u.Password.Reveal())
	if !accepts(t, r.store, "meter-1", first) {
		t.Error("the generated secret does not let the user in")
	}
	if _, err := r.client.Add(ctx, "meter-1", secret.Value{}); status(err) != http.StatusConflict {
		t.Errorf("added twice: %v", err)
	}
	u, err = r.client.SetPassword(ctx, "meter-1", secret.FromString("a chosen password"))
	if err != nil || u.Password != nil || u.PasswordKind != "chosen" {
		t.Fatalf("password set: %+v, %v", u, err)
	}
	if accepts(t, r.store, "meter-1", first) || !accepts(t, r.store, "meter-1", "a chosen password") {
		t.Error("the old password still works, or the new one does not")
	}
	if u, err = r.client.SetPassword(ctx, "meter-1", secret.Value{}); err != nil || u.Password == nil || string(u.Password.Reveal()) == first {
		t.Fatalf("secret renewed: %+v, %v", u, err)
	}
	if err := r.client.Delete(ctx, "meter-1"); err != nil {
		t.Fatal(err)
	}
	if err := r.client.Delete(ctx, "meter-1"); status(err) != http.StatusNotFound {
		t.Errorf("deleted twice: %v", err)
	}
	if _, err := r.client.SetPassword(ctx, "meter-1", secret.Value{}); status(err) != http.StatusNotFound {
		t.Errorf("password of a deleted user: %v", err)
	}
	for _, p := range []string{"short", strings.Repeat("x", 1025), first} { // first: the form of a generated secret
		if _, err := r.client.Add(ctx, "x", secret.FromString(p)); status(err) != http.StatusUnprocessableEntity || strings.Contains(err.Error(), p) {
			t.Errorf("password of %d bytes: %v", len(p), err)
		}
	}
}

func status(err error) int {
	var p *Problem
	if errors.As(err, &p) {
		return p.Status
	}
	return 0
}

func TestListPages(t *testing.T) {
	r := newRig(t, nil)
	ctx := context.Background()
	for i := range 7 {
		if _, _, err := r.store.AddGenerated(fmt.Sprintf("user%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := r.store.AddGenerated("other"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		q    UserQuery
		want string
		meta Meta
	}{
		{UserQuery{}, "other user0 user1 user2 user3 user4 user5 user6", Meta{1, 100, 8, false}},
		{UserQuery{Limit: 3}, "other user0 user1", Meta{1, 3, 8, true}},
		{UserQuery{Limit: 3, Page: 3}, "user5 user6", Meta{3, 3, 8, false}},
		{UserQuery{Limit: 4, Page: 2}, "user3 user4 user5 user6", Meta{2, 4, 8, false}},
		{UserQuery{Limit: 3, Page: 4}, "", Meta{4, 3, 8, false}},
		{UserQuery{Limit: 10000, Page: 1000000}, "", Meta{1000000, 10000, 8, false}},
		{UserQuery{Like: "ser", Limit: 2}, "user0 user1", Meta{1, 2, 7, true}},
		{UserQuery{Like: "&page=9"}, "", Meta{1, 100, 0, false}},
	} {
		page, err := r.client.List(ctx, c.q)
		if err != nil {
			t.Errorf("%+v: %v", c.q, err)
			continue
		}
		var names []string
		for _, u := range page.Data {
			names = append(names, u.UserID)
			if u.Password != nil {
				t.Errorf("%s is listed with a password", u.UserID)
			}
		}
		if got := strings.Join(names, " "); got != c.want || page.Meta != c.meta {
			t.Errorf("%+v: %q %+v, want %q %+v", c.q, got, page.Meta, c.want, c.meta)
		}
	}
	if _, err := r.store.Add("zz", secret.FromString("a chosen password")); err != nil {
		t.Fatal(err)
	}
	if all, err := AllUsers(ctx, twoPerPage{r.client}); err != nil || len(all) != 9 || all[8].UserID != "zz" || all[8].PasswordKind != "chosen" {
		t.Errorf("all pages: %d users, %v", len(all), err)
	}
	_, body := r.raw(http.MethodGet, usersURL+"?page=9", "")
	if !strings.Contains(body, `"data":[]`) {
		t.Errorf("an empty page is %s, want an empty list", body)
	}
}

// twoPerPage makes many pages of few users.
type twoPerPage struct{ Users }

func (u twoPerPage) List(ctx context.Context, q UserQuery) (UserPage, error) {
	q.Limit = 2
	return u.Users.List(ctx, q)
}

// A user id is one segment of a path and never part of a file name.
func TestUserIDsThatLookLikePaths(t *testing.T) {
	r := newRig(t, nil)
	ctx := context.Background()
	victim := filepath.Join(r.dir, "victim")
	if err := os.WriteFile(victim, []byte("here"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.store.AddGenerated("keep"); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"..", ".", "../victim", "../../etc/passwd", "..%2fvictim", `..\victim`, "a/b", "/", "//", "keep/../keep", "keep\x00", "%00", "keep?x=1", "keep#x", strings.Repeat("a", 300), "\xff\xfe"} {
		if err := r.client.Delete(ctx, id); err == nil {
			t.Errorf("a user called %q was deleted", id)
		}
		resp, body := r.raw(http.MethodDelete, usersURL+"/"+url.PathEscape(id), "")
		if resp.StatusCode/100 == 2 {
			t.Errorf("DELETE %q: %d %s", id, resp.StatusCode, body)
		}
	}
	if b, err := os.ReadFile(victim); err != nil || string(b) != "here" {
		t.Errorf("the file beside the users: %q, %v", b, err)
	}
	if !r.store.Known("keep") || r.store.Len() != 1 {
		t.Error("another user is gone")
	}
	// Names that are odd but allowed make the whole way.
	for _, id := range []string{"..", ".", "a b", "ü€😀", `"quoted"`, "50%", "a&b=c", "semi;colon", "x\\y"} {
		if _, err := r.client.Add(ctx, id, secret.Value{}); err != nil {
			t.Errorf("add %q: %v", id, err)
			continue
		}
		if _, err := r.client.SetPassword(ctx, id, secret.Value{}); err != nil {
			t.Errorf("passwd %q: %v", id, err)
		}
		if err := r.client.Delete(ctx, id); err != nil || r.store.Known(id) {
			t.Errorf("delete %q: %v", id, err)
		}
	}
	for _, id := range []string{"a/b", "+", "#", "$x", " x", "x\n", "\u202e"} {
		if _, err := r.client.Add(ctx, id, secret.Value{}); status(err) != http.StatusUnprocessableEntity {
			t.Errorf("add %q: %v", id, err)
		}
	}
}

// A password is in one place only: the answer that shows a generated one.
func TestPasswordsAreNowhere(t *testing.T) {
	const canary = "canary-5up3r-53cr37"
	r := newRig(t, nil)
	var out strings.Builder
	send := func(method, target, body string) *http.Response {
		resp, answer := r.raw(method, target, body)
		fmt.Fprintln(&out, resp.Header, answer)
		return resp
	}
	if resp := send("POST", usersURL, `{"user_id":"a","password":"`+canary+`"}`); resp.StatusCode != http.StatusCreated {
		t.Fatalf("status %d", resp.StatusCode)
	}
	send("POST", usersURL, `{"user_id":"a","password":"`+canary+`"}`)                      // exists
	send("POST", usersURL, `{"user_id":"b/","password":"`+canary+`"}`)                     // bad name
	send("POST", usersURL, `{"user_id":"b","password":"`+canary+`","x":1}`)                // unknown field
	send("POST", usersURL, `{"user_id":"b","password":{"x":"`+canary+`"}}`)                // wrong type
	send("POST", usersURL, `{"user_id":"b","password":["`+canary+`"]}`)                    // wrong type
	send("POST", usersURL, `{"user_id":"b","password":"`+canary+strings.Repeat("x", 5000)) // cut off
	send("POST", usersURL, `{"user_id":"b","password":"`+canary+strings.Repeat("x", 5000)+`"}`)
	send("POST", usersURL, `"`+canary+`"`)                       // no object
	send("PUT", usersURL+"/a", `{"password":"`+canary+`"}`)      // fine
	send("PUT", usersURL+"/nobody", `{"password":"`+canary+`"}`) // unknown
	send("GET", usersURL+"?password="+canary, "")                // a mistake people make
	send("GET", usersURL, "")
	send("POST", "/api/v5/authorization/check", `{"action":"publish","topic":"x","password":"`+canary+`"}`)
	_, generated := r.raw("POST", usersURL, `{"user_id":"c"}`)
	var u User
	if err := json.Unmarshal([]byte(generated), &u); err != nil || u.Password == nil {
		t.Fatalf("%v in %s", err, generated)
	}
	secretText := string(u.Password.Reveal())
	if strings.Count(generated, secretText) != 1 || len(secretText) < 30 {
		t.Errorf("the generated secret is in its answer %d times", strings.Count(generated, secretText))
	}
	fmt.Fprintf(&out, "%v %+v %#v %s\n", u, u, u, u.Password)
	send("GET", usersURL, "")
	for what, text := range map[string]string{"an answer": out.String(), "the log": r.log.String()} {
		for _, s := range []string{canary, secretText} {
			if strings.Contains(text, s) {
				t.Errorf("%s shows a password: ...%s...", what, around(text, s))
			}
		}
	}
}

func around(text, s string) string {
	i := strings.Index(text, s)
	return text[max(0, i-200):min(len(text), i+len(s)+50)]
}

// A log that takes nothing is our trouble and not the caller's mistake.
func TestUsersThatCannotBeKept(t *testing.T) {
	r := newRig(t, nil)
	ctx := t.Context()
	if _, err := r.client.Add(ctx, "a", secret.Value{}); err != nil {
		t.Fatal(err)
	}
	r.kept.fail = &os.PathError{Op: "write", Path: "log", Err: errors.New("the disk is full")}
	_, add := r.client.Add(ctx, "b", secret.Value{})
	_, set := r.client.SetPassword(ctx, "a", secret.Value{})
	for what, err := range map[string]error{"add": add, "password": set, "delete": r.client.Delete(ctx, "a")} {
		if status(err) != http.StatusServiceUnavailable || !strings.Contains(err.Error(), "was not changed: write log: the disk is full") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if r.store.Known("b") || !r.store.Known("a") {
		t.Error("it counts although it is not kept")
	}
}

func TestOpenUsersPrefersTheBroker(t *testing.T) {
	r := newRig(t, nil)
	ctx := context.Background()
	unused := func() (Users, func(), error) {
		t.Error("the data directory was opened under a broker")
		return nil, nil, nil
	}
	users, offline, done, err := OpenUsers(ctx, r.socket, unused)
	if err != nil || offline {
		t.Fatalf("offline %v, %v", offline, err)
	}
	done()
	if _, err := users.Add(ctx, "a", secret.Value{}); err != nil || !r.store.Known("a") {
		t.Errorf("the broker does not know the user: %v", err)
	}
	dir := t.TempDir()
	users, offline, done, err = OpenUsers(ctx, filepath.Join(dir, "admin.sock"), func() (Users, func(), error) {
		s, err := builtin.Open(newMemory(), clock.NewManual(t0))
		return BuiltinUsers(s), func() {}, err
	})
	if err != nil || !offline {
		t.Fatalf("without a broker: offline %v, %v", offline, err)
	}
	defer done()
	if _, err := users.Add(ctx, "b", secret.Value{}); err != nil {
		t.Error(err)
	}
}
