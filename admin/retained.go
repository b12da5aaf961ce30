package admin

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/redoubtmq/redoubt/internal/clock"
	"github.com/redoubtmq/redoubt/mqtt"
	"github.com/redoubtmq/redoubt/retain"
	"github.com/redoubtmq/redoubt/topic"
)

// Retained are the retained messages of a broker; *retain.Store is one whose messages do
// not outlive it. Both may wait for the disk.
type Retained interface {
	Scan(now time.Time, filter string, cur *retain.Cursor, max int, fn func(*mqtt.Frame) bool) (done bool, err error)
	Clear(ctx context.Context, now time.Time, filter string, cur *retain.Cursor, max int) (removed int, done bool, err error)
}

const (
	// retainedStep is how many messages are looked at under the store's lock, which
	// publishers of retained messages wait for.
	retainedStep = 500
	// retainedSteps bounds the steps of one request.
	retainedSteps = 200
	// retainedTextMax bounds the topic names on a page, bytes: publishers choose them.
	retainedTextMax = 1 << 20
	// payloadShownMax bounds what of a payload is shown, bytes.
	payloadShownMax = 1 << 20
)

// RetainedInfo is one retained message without its payload.
type RetainedInfo struct {
	Topic        string     `json:"topic" doc:"Topic name."`
	QoS          int        `json:"qos" doc:"QoS it was published with."`
	PublishAt    time.Time  `json:"publish_at" doc:"When it was published."`
	ExpiresAt    *time.Time `json:"expires_at,omitempty" doc:"When it expires; absent: never."`
	PayloadBytes int        `json:"payload_bytes" doc:"Length of the payload."`
}

// RetainedMessage is one retained message.
type RetainedMessage struct {
	RetainedInfo
	Payload         []byte         `json:"payload" doc:"The payload, base64."`
	PayloadCut      bool           `json:"payload_cut,omitempty" doc:"Only the first 1,048,576 bytes are shown."`
	ContentType     string         `json:"content_type,omitempty" doc:"Content Type."`
	ResponseTopic   string         `json:"response_topic,omitempty" doc:"Response Topic."`
	CorrelationData []byte         `json:"correlation_data,omitempty" doc:"Correlation Data, base64."`
	PayloadFormat   int            `json:"payload_format_indicator,omitempty" doc:"1: the publisher calls the payload UTF-8."`
	UserProperties  []UserProperty `json:"user_properties,omitempty" doc:"User properties, in their order."`
}

// UserProperty is one pair; names may repeat.
type UserProperty struct {
	Name  string `json:"name" doc:"Name."`
	Value string `json:"value" doc:"Value."`
}

// RetainedPage is a page of retained messages.
type RetainedPage struct {
	Data []RetainedInfo `json:"data" doc:"In the order of topics. What is there from the first page to the last comes exactly once."`
	Meta PageMeta       `json:"meta"`
}

// RetainedCleared says how many messages one request removed.
type RetainedCleared struct {
	Deleted int  `json:"deleted" doc:"Messages removed."`
	HasNext bool `json:"hasnext" doc:"Whether there may be more: ask again."`
}

type (
	listRetained struct {
		PageQuery
		Topic string `query:"topic" doc:"A topic filter; nothing: all, those that begin with $ as well."`
	}
	clearRetained struct {
		Topic string `query:"topic" required:"true" minLength:"1" doc:"A topic filter. # does not reach topics that begin with $."`
	}
	oneRetained struct {
		Topic string `path:"topic" doc:"Topic name; a slash in it is written %2F."`
	}
	retainedPageAnswer struct{ Body RetainedPage }
	retainedAnswer     struct{ Body RetainedMessage }
	clearedAnswer      struct{ Body RetainedCleared }
)

type retainedRoom struct {
	Retained
	cursors *cursors
	clock   clock.Clock
	log     *slog.Logger
}

func registerRetained(api huma.API, o *Options, cur *cursors) {
	r := &retainedRoom{o.Retained, cur, o.Clock, o.Log}
	const tag, path = "Retained messages", prefix + "/mqtt/retainer"
	register(api, endpoint{
		method: http.MethodGet, path: path + "/messages", id: "listRetained", role: viewer, scope: scopeRetained, tag: tag,
		summary: "Retained messages, without their payloads", errors: []int{http.StatusBadRequest},
	}, r.list)
	register(api, endpoint{
		method: http.MethodDelete, path: path + "/messages", id: "clearRetained", role: administrator, scope: scopeRetained, tag: tag,
		summary: "Remove the retained messages that a topic filter matches",
	}, r.clear)
	register(api, endpoint{
		method: http.MethodGet, path: path + "/message/{topic...}", id: "getRetained", role: viewer, scope: scopeRetained, tag: tag,
		summary: "One retained message", errors: []int{http.StatusNotFound},
	}, r.show)
	register(api, endpoint{
		method: http.MethodDelete, path: path + "/message/{topic...}", id: "deleteRetained", role: administrator, scope: scopeRetained, tag: tag,
		summary: "Remove one retained message", status: http.StatusNoContent, errors: []int{http.StatusNotFound},
	}, r.remove)
}

func (r *retainedRoom) list(ctx context.Context, in *listRetained) (*retainedPageAnswer, error) {
	if in.Topic != retain.Everything {
		if err := checkFilter(in.Topic); err != nil {
			return nil, err
		}
	}
	at, err := r.cursors.decode(cursorRetained, in.Cursor)
	if err != nil {
		return nil, err
	}
	cur, out := retain.CursorAt(at), &retainedPageAnswer{RetainedPage{Data: []RetainedInfo{}}}
	done, text := false, 0
	full := func() bool { return len(out.Body.Data) >= in.Limit || text >= retainedTextMax }
	for step := 0; !done && !full() && step < retainedSteps && ctx.Err() == nil; step++ {
		if done, err = r.Scan(r.clock.Now(), in.Topic, &cur, min(retainedStep, in.Limit), func(f *mqtt.Frame) bool {
			if full() {
				return false // it comes again on the next page
			}
			out.Body.Data = append(out.Body.Data, retainedInfo(f))
			text += len(f.Topic())
			return true
		}); err != nil {
			return nil, unreadable(err)
		}
	}
	out.Body.Meta = PageMeta{Limit: in.Limit, Count: len(out.Body.Data), HasNext: !done}
	if !done {
		out.Body.Meta.Cursor = r.cursors.encode(cursorRetained, cur.Bytes())
	}
	return out, nil
}

// unreadable is the answer where the store could not be read or written.
func unreadable(err error) error {
	return newProblem(http.StatusServiceUnavailable, "the store of retained messages: "+err.Error())
}

func (r *retainedRoom) show(_ context.Context, in *oneRetained) (*retainedAnswer, error) {
	var out *retainedAnswer
	var props []byte
	if topic.ValidName([]byte(in.Topic)) == nil {
		var cur retain.Cursor
		if _, err := r.Scan(r.clock.Now(), in.Topic, &cur, 1, func(f *mqtt.Frame) bool {
			p := f.Payload()
			out = &retainedAnswer{RetainedMessage{RetainedInfo: retainedInfo(f)}}
			out.Body.Payload = append([]byte{}, p[:min(len(p), payloadShownMax)]...)
			out.Body.PayloadCut = len(p) > payloadShownMax
			props = append(props, f.Props()...)
			return true
		}); err != nil {
			return nil, unreadable(err)
		}
	}
	if out == nil {
		return nil, noRetained()
	}
	if p, err := mqtt.ParsePublishProperties(props); err == nil { // they were validated when they came
		out.Body.ContentType, out.Body.ResponseTopic, out.Body.CorrelationData = p.ContentType, p.ResponseTopic, p.CorrelationData
		out.Body.PayloadFormat = bit(p.PayloadIsUTF8)
		for _, u := range p.UserProperties {
			out.Body.UserProperties = append(out.Body.UserProperties, UserProperty{u.Name, u.Value})
		}
	}
	return out, nil
}

func (r *retainedRoom) clear(ctx context.Context, in *clearRetained) (*clearedAnswer, error) {
	if err := checkFilter(in.Topic); err != nil {
		return nil, err
	}
	r.log.LogAttrs(ctx, slog.LevelInfo, "an operator clears retained messages", append(actor(ctx), slog.String("filter", clipped(in.Topic)))...)
	out := &clearedAnswer{RetainedCleared{HasNext: true}}
	var cur retain.Cursor
	for step := 0; out.Body.HasNext && step < retainedSteps && ctx.Err() == nil; step++ {
		n, done, err := r.Clear(ctx, r.clock.Now(), in.Topic, &cur, retainedStep)
		if err != nil {
			return nil, unreadable(err)
		}
		out.Body.Deleted += n
		out.Body.HasNext = !done
	}
	r.log.LogAttrs(ctx, slog.LevelInfo, "retained messages cleared", slog.Int("deleted", out.Body.Deleted), slog.String("request_id", requestID(ctx)))
	return out, nil
}

func (r *retainedRoom) remove(ctx context.Context, in *oneRetained) (*empty, error) {
	if topic.ValidName([]byte(in.Topic)) != nil {
		return nil, noRetained()
	}
	r.log.LogAttrs(ctx, slog.LevelInfo, "an operator clears a retained message", append(actor(ctx), slog.String("topic", clipped(in.Topic)))...)
	var cur retain.Cursor
	switch n, _, err := r.Clear(ctx, r.clock.Now(), in.Topic, &cur, 1); {
	case err != nil:
		return nil, unreadable(err)
	case n == 0:
		return nil, noRetained()
	}
	return nil, nil
}

func retainedInfo(f *mqtt.Frame) RetainedInfo {
	out := RetainedInfo{Topic: string(f.Topic()), QoS: int(f.QoS), PublishAt: time.UnixMilli(f.CreatedAt).UTC(), PayloadBytes: len(f.Payload())}
	if f.ExpiresAt != 0 {
		out.ExpiresAt = moment(time.UnixMilli(f.ExpiresAt))
	}
	return out
}

// checkFilter refuses what no retained message is found by.
func checkFilter(filter string) error {
	if _, _, shared, _ := topic.ParseShare(filter); shared {
		return newProblem(http.StatusUnprocessableEntity, "topic is the filter of a shared subscription; those get no retained messages")
	}
	if err := topic.ValidFilter(filter); err != nil {
		return newProblem(http.StatusUnprocessableEntity, "topic is a topic filter: "+err.Error())
	}
	return nil
}

func noRetained() error {
	return newProblem(http.StatusNotFound, "there is no retained message of this topic name")
}
