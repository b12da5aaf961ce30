package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redoubtmq/redoubt/auth/builtin"
	"github.com/redoubtmq/redoubt/internal/secret"
)

const (
	// answerBytesMax bounds an answer; the largest is a page of 10,000 users.
	answerBytesMax = 16 << 20
	// clientTime bounds one call, a reload included.
	clientTime = 60 * time.Second
)

// Client is the API of a broker on this machine. It is a Users too. It keeps no
// connection between calls.
type Client struct {
	socket string
	http   *http.Client
}

// NewClient talks to the broker behind a socket.
func NewClient(socket string) *Client {
	d := net.Dialer{}
	return &Client{socket: socket, http: &http.Client{
		Timeout: clientTime,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return d.DialContext(ctx, "unix", socket)
			},
		},
		// The API never redirects; whoever answers so is not the API.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// UnreachableError says that the call did not reach a broker.
type UnreachableError struct {
	Socket string
	Err    error
}

// Offline tells that nobody runs there, as against not being let in.
func (e *UnreachableError) Offline() bool {
	return errors.Is(e.Err, os.ErrNotExist) || errors.Is(e.Err, syscall.ECONNREFUSED)
}

// Error says what to do.
func (e *UnreachableError) Error() string {
	switch {
	case e.Offline():
		return fmt.Sprintf("no broker answers on %s: start it with redoubt serve, or name its --data-dir", e.Socket)
	case errors.Is(e.Err, os.ErrPermission):
		return fmt.Sprintf("you may not use %s: run this as the user the broker runs as, or as root", e.Socket)
	}
	return fmt.Sprintf("no answer on %s: %v", e.Socket, e.Err)
}

// ExitCode is what a command ends with, so that a script can tell "no broker"
// from "refused".
func (e *UnreachableError) ExitCode() int { return 3 }

// Unwrap is the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }

// Status is GET /status.
func (c *Client) Status(ctx context.Context) (StatusReport, error) {
	return call[StatusReport](ctx, c, http.MethodGet, "/status", nil)
}

// Reload is POST /reload.
func (c *Client) Reload(ctx context.Context) (ReloadReport, error) {
	return call[ReloadReport](ctx, c, http.MethodPost, "/reload", nil)
}

// Check is POST /authorization/check.
func (c *Client) Check(ctx context.Context, q AccessQuery) (AccessVerdict, error) {
	return call[AccessVerdict](ctx, c, http.MethodPost, "/authorization/check", q)
}

// Why is POST /authorization/why.
func (c *Client) Why(ctx context.Context, q WhyQuery) (WhyAnswer, error) {
	return call[WhyAnswer](ctx, c, http.MethodPost, "/authorization/why", q)
}

// Refusals is GET /authorization/refusals.
func (c *Client) Refusals(ctx context.Context, q RefusalQuery) (RefusalList, error) {
	v := url.Values{}
	for key, value := range map[string]string{"ref": q.Ref, "username": q.Username, "clientid": q.ClientID, "ip_address": q.IPAddress} {
		if value != "" {
			v.Set(key, value)
		}
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return call[RefusalList](ctx, c, http.MethodGet, "/authorization/refusals?"+v.Encode(), nil)
}

// Rules is GET /authorization/rules.
func (c *Client) Rules(ctx context.Context) (RuleList, error) {
	return call[RuleList](ctx, c, http.MethodGet, "/authorization/rules", nil)
}

const usersPath = "/authentication/" + builtin.Name + "/users"

// List implements Users.
func (c *Client) List(ctx context.Context, q UserQuery) (UserPage, error) {
	v := url.Values{}
	if q.Page != 0 {
		v.Set("page", strconv.Itoa(q.Page))
	}
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.Like != "" {
		v.Set("like_user_id", q.Like)
	}
	return call[UserPage](ctx, c, http.MethodGet, usersPath+"?"+v.Encode(), nil)
}

// userBody is what Add and SetPassword send. The secret is revealed into the body
// and nowhere else.
type userBody struct {
	UserID   string  `json:"user_id,omitempty"`
	Password *string `json:"password,omitempty"`
	SCRAM    *bool   `json:"scram,omitempty"`
}

func newUserBody(name string, p secret.Value, with []builtin.Extra) userBody {
	b := userBody{UserID: name}
	for _, w := range with {
		on := w == builtin.WithSCRAM
		b.SCRAM = &on
	}
	if !p.Empty() {
		s := string(p.Reveal())
		b.Password = &s
	}
	return b
}

// Add implements Users.
func (c *Client) Add(ctx context.Context, name string, p secret.Value, with ...builtin.Extra) (User, error) {
	return call[User](ctx, c, http.MethodPost, usersPath, newUserBody(name, p, with))
}

// SetPassword implements Users.
func (c *Client) SetPassword(ctx context.Context, name string, p secret.Value, with ...builtin.Extra) (User, error) {
	return call[User](ctx, c, http.MethodPut, usersPath+"/"+segment(name), newUserBody("", p, with))
}

// Delete implements Users.
func (c *Client) Delete(ctx context.Context, name string) error {
	_, err := call[struct{}](ctx, c, http.MethodDelete, usersPath+"/"+segment(name), nil)
	return err
}

// segment makes a name one segment of a path, also "." and "..".
func segment(name string) string {
	return strings.ReplaceAll(url.PathEscape(name), ".", "%2E")
}

// call makes one request. Its error is an *UnreachableError, a *Problem, or says
// what was odd about the answer.
func call[T any](ctx context.Context, c *Client, method, path string, body any) (T, error) {
	if body == nil {
		return send[T](ctx, c, method, path, "", nil)
	}
	b, err := json.Marshal(body)
	if err != nil {
		var none T
		return none, err
	}
	return send[T](ctx, c, method, path, "application/json", bytes.NewReader(b))
}

// send is call with a body of any type.
func send[T any](ctx context.Context, c *Client, method, path, contentType string, in io.Reader) (T, error) {
	var out T
	// The host is not looked at: the socket is the address.
	req, err := http.NewRequestWithContext(ctx, method, "http://redoubt"+prefix+path, in)
	if err != nil {
		return out, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return out, c.unreachable(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, answerBytesMax+1))
	if err != nil {
		return out, c.unreachable(err)
	}
	if len(b) > answerBytesMax {
		return out, fmt.Errorf("the answer on %s is larger than %d bytes", c.socket, answerBytesMax)
	}
	if resp.StatusCode/100 != 2 {
		return out, problemOf(resp, b)
	}
	if resp.StatusCode == http.StatusNoContent {
		return out, nil
	}
	if err := json.Unmarshal(b, &out); err != nil {
		return out, fmt.Errorf("the answer on %s is not that of a broker of this version: %w", c.socket, err)
	}
	return out, nil
}

func (c *Client) unreachable(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // without the URL, which says nothing
	}
	return &UnreachableError{Socket: c.socket, Err: err}
}

// problemOf reads an error answer.
func problemOf(resp *http.Response, b []byte) error {
	p := &Problem{}
	if resp.Header.Get("Content-Type") == problemType && json.Unmarshal(b, p) == nil && p.Detail != "" {
		return p
	}
	return &Problem{Type: "about:blank", Title: resp.Status, Status: resp.StatusCode, Detail: "the answer was " + resp.Status}
}

// AllUsers walks every page.
func AllUsers(ctx context.Context, users Users) ([]User, error) {
	all := []User{}
	for q := (UserQuery{Page: 1, Limit: 1000}); ; q.Page++ {
		page, err := users.List(ctx, q)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Data...)
		if !page.Meta.HasNext {
			return all, nil
		}
	}
}

// OpenUsers finds the users of a broker: the running one's behind socket, or,
// when nobody answers there, the data directory itself. offline tells which;
// close must be called in either case.
func OpenUsers(ctx context.Context, socket string, openOffline func() (Users, func(), error)) (users Users, offline bool, closeUsers func(), err error) {
	c := NewClient(socket)
	var unreachable *UnreachableError
	_, err = c.Status(ctx)
	switch {
	case err == nil:
		return c, false, func() {}, nil
	case errors.As(err, &unreachable) && unreachable.Offline():
		users, closeUsers, err = openOffline()
		return users, true, closeUsers, err
	}
	return nil, false, nil, err
}
