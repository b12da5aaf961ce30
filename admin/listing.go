package admin

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
)

// These are the client's side of the operations that answer in pages.

// Filter is a query of a listing, by the names the API has for it.
type Filter map[string]string

func (f Filter) values() url.Values {
	v := url.Values{}
	for name, value := range f {
		v.Set(name, value)
	}
	return v
}

// SessionRef names a session. An identity or a mountpoint that is nil is any, if
// there is one only.
type SessionRef struct {
	ClientID             string
	Identity, Mountpoint *string
}

// Ref names exactly this session.
func (n *SessionName) Ref() SessionRef {
	return SessionRef{ClientID: n.ClientID, Identity: &n.Identity, Mountpoint: &n.Mountpoint}
}

// Filter is r as a query of a listing.
func (r SessionRef) Filter() Filter {
	f := r.whose()
	f["clientid"] = r.ClientID
	return f
}

func (r SessionRef) whose() Filter {
	f := Filter{}
	if r.Identity != nil {
		f["identity"] = *r.Identity
	}
	if r.Mountpoint != nil {
		f["mountpoint"] = *r.Mountpoint
	}
	return f
}

// path is r below a collection.
func (r SessionRef) path(collection string) string {
	return collection + "/" + segment(r.ClientID) + "?" + r.whose().values().Encode()
}

// each follows the cursors and hands over row by row, so that a list of any length
// needs the memory of one page.
func each[R any](ctx context.Context, c *Client, path string, f Filter, limit int, fn func(*R) error) error {
	v := f.values()
	v.Set("limit", strconv.Itoa(limit))
	for {
		page, err := call[struct {
			Data []R      `json:"data"`
			Meta PageMeta `json:"meta"`
		}](ctx, c, http.MethodGet, path+"?"+v.Encode(), nil)
		if err != nil {
			return err
		}
		for i := range page.Data {
			if err := fn(&page.Data[i]); err != nil {
				return err
			}
		}
		if !page.Meta.HasNext || page.Meta.Cursor == "" {
			return nil
		}
		v.Set("cursor", page.Meta.Cursor)
	}
}

// EachClient is GET /clients, all pages.
func (c *Client) EachClient(ctx context.Context, f Filter, fn func(*ClientInfo) error) error {
	return each(ctx, c, "/clients", f, RowsMax, fn)
}

// EachSession is GET /sessions, all pages.
func (c *Client) EachSession(ctx context.Context, f Filter, fn func(*ClientInfo) error) error {
	return each(ctx, c, "/sessions", f, RowsMax, fn)
}

// EachSubscription is GET /subscriptions, all pages.
func (c *Client) EachSubscription(ctx context.Context, f Filter, fn func(*SubscriptionInfo) error) error {
	return each(ctx, c, "/subscriptions", f, RowsMax, fn)
}

// EachRetained is GET /mqtt/retainer/messages, all pages.
func (c *Client) EachRetained(ctx context.Context, f Filter, fn func(*RetainedInfo) error) error {
	return each(ctx, c, "/mqtt/retainer/messages", f, RowsMax, fn)
}

// Session is GET /sessions/{clientid}.
func (c *Client) Session(ctx context.Context, r SessionRef) (ClientInfo, error) {
	return call[ClientInfo](ctx, c, http.MethodGet, r.path("/sessions"), nil)
}

// Kick is DELETE /clients/{clientid}.
func (c *Client) Kick(ctx context.Context, r SessionRef) error {
	_, err := call[struct{}](ctx, c, http.MethodDelete, r.path("/clients"), nil)
	return err
}

// DeleteSession is DELETE /sessions/{clientid}.
func (c *Client) DeleteSession(ctx context.Context, r SessionRef) error {
	_, err := call[struct{}](ctx, c, http.MethodDelete, r.path("/sessions"), nil)
	return err
}

// RetainedMessage is GET /mqtt/retainer/message/{topic}.
func (c *Client) RetainedMessage(ctx context.Context, topic string) (RetainedMessage, error) {
	return call[RetainedMessage](ctx, c, http.MethodGet, "/mqtt/retainer/message/"+segment(topic), nil)
}

// DeleteRetained is DELETE /mqtt/retainer/message/{topic}.
func (c *Client) DeleteRetained(ctx context.Context, topic string) error {
	_, err := call[struct{}](ctx, c, http.MethodDelete, "/mqtt/retainer/message/"+segment(topic), nil)
	return err
}

// ClearRetained is DELETE /mqtt/retainer/messages, as often as it takes. It answers
// how many messages are gone, also with an error.
func (c *Client) ClearRetained(ctx context.Context, filter string) (deleted int, err error) {
	path := "/mqtt/retainer/messages?" + url.Values{"topic": {filter}}.Encode()
	for {
		r, err := call[RetainedCleared](ctx, c, http.MethodDelete, path, nil)
		if err != nil {
			return deleted, err
		}
		deleted += r.Deleted
		if !r.HasNext {
			return deleted, nil
		}
	}
}
