package admin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// Listeners are the entrances for clients of a broker, stopped and started while it runs. An
// id is type:name, or the name alone.
type Listeners interface {
	// Listeners answers all of them, by name, at once.
	Listeners() []ListenerInfo
	Listener(id string) (ListenerInfo, error)
	// StopListener closes the sockets of a listener. It calls Before when nothing stands in
	// the way any more and before anything has changed, unless nothing is to change.
	StopListener(ctx context.Context, id string, o StopOptions) (ListenerChange, error)
	// StartListener opens those of one that is stopped, all or none.
	StartListener(ctx context.Context, id string, o StartOptions) (ListenerChange, error)
	// RestartListener is the one and then the other. After an error the listener is stopped.
	RestartListener(ctx context.Context, id string, o StopOptions) (ListenerChange, error)
}

// StopOptions say how, and who.
type StopOptions struct {
	Disconnect bool   // end its connections, too
	By         string // who stops it, for who finds it stopped
	Before     func(now ListenerInfo)
}

// StartOptions are the same for a start.
type StartOptions struct{ Before func(now ListenerInfo) }

// ListenerError is why a listener cannot be stopped or started.
type ListenerError struct {
	Err     error
	Unknown bool // there is none of that id
}

// Error implements error.
func (e *ListenerError) Error() string { return e.Err.Error() }

// Unwrap answers what went wrong.
func (e *ListenerError) Unwrap() error { return e.Err }

// States of a listener.
const (
	ListenerRunning = "running"
	ListenerStopped = "stopped"
	ListenerWaiting = "waiting"
)

// ListenerInfo is one listener.
type ListenerInfo struct {
	ID         string        `json:"id" doc:"type:name."`
	Type       string        `json:"type" doc:"Protocol spoken there: mqtts, mqtt, wss, ws, quic or unix."`
	Name       string        `json:"name" doc:"Name of the listener."`
	Bind       []string      `json:"bind" doc:"Where it is to listen, as the configuration has it."`
	Addresses  []string      `json:"addresses" doc:"Where it listens now; none while it is stopped."`
	Draining   []string      `json:"draining,omitempty" doc:"Addresses that take nobody any more and carry connections of QUIC."`
	Advertised []string      `json:"advertised" doc:"Where clients reach it, as the configuration has it."`
	State      string        `json:"state" enum:"running,stopped,waiting" doc:"stopped: by an operator. waiting: none of its interfaces has an address."`
	StoppedAt  *time.Time    `json:"stopped_at,omitempty" doc:"Since when it is stopped."`
	StoppedBy  string        `json:"stopped_by,omitempty" doc:"Who has stopped it."`
	Status     ListenerState `json:"status" doc:"How it is now."`
	Backlog    *int          `json:"backlog" doc:"Connections that the kernel lets wait for accept, as it says of the socket, the least of several; null: it does not tell."`
	ListenerCounts
}

// ListenerCounts are what came of connections since the listener was made.
type ListenerCounts struct {
	Unauthenticated  int64             `json:"unauthenticated" doc:"Connections now whose client has not been authenticated yet."`
	Accepted         int64             `json:"accepted_total" doc:"Connections that were let in."`
	Refused          []ListenerRefusal `json:"refused,omitempty" doc:"Connections that were refused, by reason."`
	RateRefused      int64             `json:"rate_refused_total" doc:"Those that came too fast: limits.connect_rate_per_prefix, handshake_rate_per_prefix, and limits.connect_rate of the listener."`
	HandshakesFailed int64             `json:"handshakes_failed_total" doc:"Handshakes that failed, of TLS and WebSocket."`
}

// ListenerRefusal is how often connections were refused for one reason.
type ListenerRefusal struct {
	Reason string `json:"reason" doc:"As in redoubt_listener_connections_refused_total."`
	Count  int64  `json:"count" doc:"How often."`
}

// ListenerState is in the words of EMQX.
type ListenerState struct {
	Running            bool  `json:"running" doc:"Whether somebody could connect."`
	CurrentConnections int64 `json:"current_connections" doc:"Connections open now that came in there."`
	MaxConnections     int64 `json:"max_connections" doc:"How many it may have (limits.connections of the listener); 0: only limits.connections_total counts."`
}

// ListenerChange is what came of a stop or start.
type ListenerChange struct {
	Listener     ListenerInfo `json:"listener" doc:"How it is now."`
	Changed      bool         `json:"changed" doc:"Whether anything is different: it was not stopped or started already."`
	Disconnected int64        `json:"disconnected,omitempty" doc:"Connections there were that have been or are being closed."`
	Note         string       `json:"note,omitempty" doc:"What else there is to know."`
}

type (
	listenerPath struct {
		ID string `path:"id" minLength:"1" maxLength:"256" doc:"type:name, or the name. ssl and tcp are mqtts and mqtt."`
	}
	stopListener struct {
		ID         string `path:"id" minLength:"1" maxLength:"256" doc:"type:name, or the name. ssl and tcp are mqtts and mqtt."`
		Disconnect bool   `query:"disconnect" doc:"Disconnect its clients, too (0x98); their wills are sent and their sessions stay."`
	}
	listenersAnswer      struct{ Body []ListenerInfo }
	listenerAnswer       struct{ Body ListenerInfo }
	listenerChangeAnswer struct{ Body ListenerChange }
)

// listenerRoom answers what is about listeners.
type listenerRoom struct {
	listeners Listeners
	o         *Options
}

func registerListeners(api huma.API, o *Options) {
	r := &listenerRoom{o.Listeners, o}
	const tag, path = "Listeners", prefix + "/listeners"
	errs := []int{http.StatusNotFound, http.StatusConflict}
	register(api, endpoint{
		method: http.MethodGet, path: path, id: "listListeners", role: viewer, scope: scopeListeners, tag: tag, summary: "Where clients come in",
	}, func(context.Context, *none) (*listenersAnswer, error) {
		return &listenersAnswer{r.listeners.Listeners()}, nil
	})
	register(api, endpoint{
		method: http.MethodGet, path: path + "/{id}", id: "getListener", role: viewer, scope: scopeListeners, tag: tag, summary: "One listener", errors: errs[:1],
	}, func(_ context.Context, in *listenerPath) (*listenerAnswer, error) {
		i, err := r.listeners.Listener(in.ID)
		if err != nil {
			return nil, listenerRefused(err)
		}
		return &listenerAnswer{i}, nil
	})
	register(api, endpoint{
		method: http.MethodPost, path: path + "/{id}/stop", id: "stopListener", role: administrator, scope: scopeListeners, tag: tag,
		summary: "Take no more connections at a listener, until it or the broker is started", errors: errs,
	}, func(ctx context.Context, in *stopListener) (*listenerChangeAnswer, error) {
		return answered(r.listeners.StopListener(ctx, in.ID, r.stopped(ctx, "listener stopped by an operator", in.Disconnect)))
	})
	register(api, endpoint{
		method: http.MethodPost, path: path + "/{id}/start", id: "startListener", role: administrator, scope: scopeListeners, tag: tag,
		summary: "Open a listener that was stopped, as the configuration has it now", errors: errs,
	}, func(ctx context.Context, in *listenerPath) (*listenerChangeAnswer, error) {
		return answered(r.listeners.StartListener(ctx, in.ID, StartOptions{func(i ListenerInfo) { r.said(ctx, "listener started by an operator", &i) }}))
	})
	register(api, endpoint{
		method: http.MethodPost, path: path + "/{id}/restart", id: "restartListener", role: administrator, scope: scopeListeners, tag: tag,
		summary: "Close and open a listener, as the configuration has it now", errors: errs,
	}, func(ctx context.Context, in *stopListener) (*listenerChangeAnswer, error) {
		return answered(r.listeners.RestartListener(ctx, in.ID, r.stopped(ctx, "listener restarted by an operator", in.Disconnect)))
	})
}

func answered(c ListenerChange, err error) (*listenerChangeAnswer, error) {
	if err != nil {
		return nil, listenerRefused(err)
	}
	return &listenerChangeAnswer{c}, nil
}

// stopped are the options of a stop that is written down as msg.
func (r *listenerRoom) stopped(ctx context.Context, msg string, disconnect bool) StopOptions {
	return StopOptions{Disconnect: disconnect, By: maker(ctx), Before: func(i ListenerInfo) { r.said(ctx, msg, &i, slog.Bool("disconnect", disconnect)) }}
}

// said writes down who changes what, before it is so.
func (r *listenerRoom) said(ctx context.Context, msg string, i *ListenerInfo, more ...slog.Attr) {
	attrs := append(actor(ctx), slog.String("listener", i.ID), slog.Any("bind", i.Bind), slog.Int64("connections", i.Status.CurrentConnections))
	r.o.Log.LogAttrs(ctx, loudly(r.o), msg, append(attrs, more...)...)
}

// listenerRefused turns an error of Listeners into an answer.
func listenerRefused(err error) error {
	var e *ListenerError
	switch {
	case errors.As(err, &e) && e.Unknown:
		return newProblem(http.StatusNotFound, err.Error())
	case errors.As(err, &e): // an address that is taken, or not there
		return newProblem(http.StatusConflict, err.Error())
	}
	return newProblem(http.StatusServiceUnavailable, err.Error()) // another change is not done yet
}

// Listeners is GET /listeners.
func (c *Client) Listeners(ctx context.Context) ([]ListenerInfo, error) {
	return call[[]ListenerInfo](ctx, c, http.MethodGet, "/listeners", nil)
}

// StopListener is POST /listeners/{id}/stop.
func (c *Client) StopListener(ctx context.Context, id string, disconnect bool) (ListenerChange, error) {
	return call[ListenerChange](ctx, c, http.MethodPost, "/listeners/"+segment(id)+"/stop?disconnect="+strconv.FormatBool(disconnect), nil)
}

// StartListener is POST /listeners/{id}/start.
func (c *Client) StartListener(ctx context.Context, id string) (ListenerChange, error) {
	return call[ListenerChange](ctx, c, http.MethodPost, "/listeners/"+segment(id)+"/start", nil)
}

// RestartListener is POST /listeners/{id}/restart.
func (c *Client) RestartListener(ctx context.Context, id string, disconnect bool) (ListenerChange, error) {
	return call[ListenerChange](ctx, c, http.MethodPost, "/listeners/"+segment(id)+"/restart?disconnect="+strconv.FormatBool(disconnect), nil)
}
