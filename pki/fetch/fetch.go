// Package fetch gets what certificates point to: revocation lists and answers of OCSP
// responders. Who has made a certificate chooses these addresses, so that each request is
// made as if an adversary had: nothing on this host or in private networks is asked unless
// it is listed, nothing is redirected, and size and time have limits. What comes is bytes;
// who asked judges them.
package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// Limits of one request.
const (
	URLBytesMax    = 2048
	headerBytesMax = 16 << 10
	dialTimeout    = 5 * time.Second
	// DefaultTimeout is for all of a request: name, connection, and the last byte.
	DefaultTimeout = 30 * time.Second
)

// Client asks. It keeps no connection between requests, and no goroutine.
type Client struct {
	allowed []netip.Prefix
	timeout time.Duration
	http    *http.Client
}

// New makes a client that may ask public addresses, and of all others those listed.
// A timeout of 0 is DefaultTimeout.
func New(allowed []netip.Prefix, timeout time.Duration) *Client {
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	c := &Client{allowed: allowed, timeout: timeout}
	dialer := &net.Dialer{Timeout: dialTimeout, Control: func(_, address string, _ syscall.RawConn) error { return c.guard(address) }}
	c.http = &http.Client{
		// A redirect is an answer like any other that is not 200.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  nil, // it would be asked for the address in our place
			DialContext:            dialer.DialContext,
			DisableKeepAlives:      true,
			DisableCompression:     true, // or a small answer becomes a large one
			MaxResponseHeaderBytes: headerBytesMax,
			TLSHandshakeTimeout:    dialTimeout,
		},
	}
	return c
}

// errGuard is an address that may not be asked.
type errGuard struct{ addr netip.Addr }

func (e errGuard) Error() string {
	return fmt.Sprintf("%s is an address of this host, of a private network, or of no host at all, which a certificate may not make the broker ask; if it is right, list it in tls.fetch_from", e.addr)
}

// guard judges the address that is about to be connected to: after names were resolved, so
// that a name which resolves differently a moment later gains nothing.
func (c *Client) guard(address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%q is no address", address)
	}
	a := ap.Addr().WithZone("").Unmap()
	for _, p := range c.allowed {
		if p.Contains(a) {
			return nil
		}
	}
	if !Public(a) {
		return errGuard{a}
	}
	return nil
}

// Check tells what is wrong with an address before anything is asked.
func Check(address string) error {
	if len(address) > URLBytesMax {
		return fmt.Errorf("an address of %d bytes; the most is %d", len(address), URLBytesMax)
	}
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return fmt.Errorf("%q is no address", address)
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("%q is not of http or https, which are all that is asked", address)
	case u.User != nil:
		return fmt.Errorf("%q has a user name in it", u.Redacted())
	case u.Hostname() == "":
		return fmt.Errorf("%q names no host", address)
	}
	return nil
}

// Get asks for what is at an address, at most most bytes of it.
func (c *Client) Get(ctx context.Context, address string, most int64) ([]byte, error) {
	return c.do(ctx, http.MethodGet, address, "", nil, most)
}

// Post sends body, which is of contentType, and answers what comes back, at most most bytes.
func (c *Client) Post(ctx context.Context, address, contentType string, body []byte, most int64) ([]byte, error) {
	return c.do(ctx, http.MethodPost, address, contentType, body, most)
}

func (c *Client) do(ctx context.Context, method, address, contentType string, body []byte, most int64) ([]byte, error) {
	if err := Check(address); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%q is no address", address)
	}
	req.Header.Set("User-Agent", "redoubt")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var refused errGuard
		if errors.As(err, &refused) {
			return nil, fmt.Errorf("%q is not asked: %w", address, refused)
		}
		return nil, fmt.Errorf("%q cannot be reached: %w", address, unwrapped(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		if resp.StatusCode/100 == 3 {
			return nil, fmt.Errorf("%q answers with status %d; redirects are not followed", address, resp.StatusCode)
		}
		return nil, fmt.Errorf("%q answers with status %d", address, resp.StatusCode)
	}
	if resp.ContentLength > most {
		return nil, fmt.Errorf("%q has %d bytes; the most is %d", address, resp.ContentLength, most)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%q broke off after %d bytes: %w", address, len(b), unwrapped(err))
	case int64(len(b)) > most:
		return nil, fmt.Errorf("%q has more than %d bytes, which is the most", address, most)
	}
	return b, nil
}

// unwrapped leaves out the method and the address, which the message has already.
func unwrapped(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
