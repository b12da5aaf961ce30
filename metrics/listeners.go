package metrics

// One listener each, by its name. Reasons are those of redoubt_connections_refused_total.
var (
	ListenerRunning          = levels("redoubt_listener_running", "Whether a listener has a socket: 0 when an operator has stopped it, or none of its interfaces has an address.", "listener")
	ListenerConnections      = levels("redoubt_listener_connections", "Network connections open now that came in at a listener.", "listener")
	ListenerUnauthenticated  = levels("redoubt_listener_connections_unauthenticated", "Those of them whose client has not been authenticated yet.", "listener")
	ListenerAccepted         = counts("redoubt_listener_connections_accepted_total", "Network connections that a listener has taken and the door has admitted.", "listener")
	ListenerRefused          = counts("redoubt_listener_connections_refused_total", "Network connections that were refused at a listener, by reason; handshake_rate: when the handshake was to begin.", "listener", "reason")
	ListenerHandshakesFailed = counts("redoubt_listener_handshakes_failed_total", "Handshakes of TLS and upgrades to WebSocket at a listener that failed, without those that had to make room.", "listener")
)
