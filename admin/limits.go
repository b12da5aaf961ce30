package admin

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// Limits says which limits are in force; it must answer at once.
type Limits interface{ Limits() LimitsReport }

// LimitsReport is what the running process enforces. It is what clients of this moment
// get, not what a file says.
type LimitsReport struct {
	ClientLimits
	Listeners []ListenerRates `json:"listeners" doc:"Rates of the clients of each listener, by name."`
	Total     TotalRate       `json:"publish_rate_total" doc:"What all clients may publish together."`
	Connects  int64           `json:"connects_per_second" doc:"Connects of one identity and client identifier, each second; 0: not limited."`
}

// ListenerRates are how often the clients of a listener may do something.
type ListenerRates struct {
	Name              string    `json:"name" doc:"Name of the listener."`
	MessagesPerSecond int64     `json:"messages_per_second" doc:"Publishes of one client, each second; 0: not limited."`
	MessagesBurst     int64     `json:"messages_burst" doc:"How many may come at once."`
	BytesPerSecond    int64     `json:"bytes_per_second" doc:"Bytes of its publishes, each second; 0: not limited."`
	PublishExcess     string    `json:"publish_excess" enum:"pause,disconnect" doc:"What becomes of a client that publishes more."`
	FiltersPerSecond  int64     `json:"filters_per_second" doc:"Filters of SUBSCRIBE and UNSUBSCRIBE of one client, each second; 0: not limited."`
	FiltersBurst      int64     `json:"filters_burst" doc:"How many may come at once."`
	SubscribeExcess   string    `json:"subscribe_excess" enum:"pause,disconnect" doc:"What becomes of a client that asks for more."`
	Total             TotalRate `json:"publish_rate_total" doc:"What all clients of the listener may publish together."`
}

// TotalRate is what many clients may publish together.
type TotalRate struct {
	MessagesPerSecond int64 `json:"messages_per_second" doc:"Publishes each second; 0: not limited."`
	BytesPerSecond    int64 `json:"bytes_per_second" doc:"Bytes each second; 0: not limited."`
}

// ClientLimits are those of one client, in plain numbers.
type ClientLimits struct {
	PacketBytes             int64 `json:"packet_bytes" doc:"Largest packet, with its header."`
	ConnectPacketBytes      int64 `json:"connect_packet_bytes" doc:"Largest packet of a client that is not accepted yet."`
	TopicLevels             int64 `json:"topic_levels" doc:"Levels of a topic name or filter."`
	TopicBytes              int64 `json:"topic_bytes" doc:"Bytes of a topic name or filter."`
	ClientIDBytes           int64 `json:"client_id_bytes" doc:"Bytes of a client identifier."`
	UserProperties          int64 `json:"user_properties" doc:"User properties of one packet."`
	Inflight                int64 `json:"inflight" doc:"QoS 1 and 2 messages under way, each direction: Receive Maximum."`
	AwaitingRel             int64 `json:"awaiting_rel" doc:"Inbound QoS 2 messages whose PUBREL has not come."`
	MqueueMessages          int64 `json:"mqueue_messages" doc:"Messages waiting for one session."`
	MqueueBytes             int64 `json:"mqueue_bytes" doc:"The same in bytes."`
	Subscriptions           int64 `json:"subscriptions" doc:"Subscriptions of one session."`
	WildcardSubscriptions   int64 `json:"wildcard_subscriptions" doc:"How many of them may hold a wildcard."`
	TopicAliases            int64 `json:"topic_aliases" doc:"Topic aliases, each direction."`
	SessionExpiryMaxSeconds int64 `json:"session_expiry_max_seconds" doc:"Longest life of a session without a connection."`
	ConnectDeadlineMillis   int64 `json:"connect_deadline_ms" doc:"From accept to accepted CONNECT."`
}

type limitsAnswer struct{ Body LimitsReport }

func registerLimits(api huma.API, l Limits) {
	register(api, endpoint{
		method: http.MethodGet, path: prefix + "/limits", id: "getLimits",
		role: viewer, scope: scopeConfig, tag: "Configuration", summary: "The limits in force",
	}, func(context.Context, *none) (*limitsAnswer, error) {
		return &limitsAnswer{l.Limits()}, nil
	})
}

// Limits is GET /limits.
func (c *Client) Limits(ctx context.Context) (LimitsReport, error) {
	return call[LimitsReport](ctx, c, http.MethodGet, "/limits", nil)
}

// Process asks the kernel who serves the socket: the process that listens there,
// as it was when it began to. A pid of 0 is a process this one cannot see.
func (c *Client) Process(ctx context.Context) (pid, uid int, err error) {
	d := net.Dialer{Timeout: clientTime}
	conn, err := d.DialContext(ctx, "unix", c.socket)
	if err != nil {
		return 0, 0, &UnreachableError{Socket: c.socket, Err: err}
	}
	defer conn.Close()
	p, err := peerOf(conn)
	if err != nil {
		return 0, 0, fmt.Errorf("ask who serves %s: %w", c.socket, err)
	}
	return p.pid, p.uid, nil
}
