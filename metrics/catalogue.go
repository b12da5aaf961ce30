package metrics

// The catalogue. A new series is one line here; then run
//
//	go test ./metrics -run TestDocs -rewrite
//
// so that docs/metrics.md follows. Help texts are sentences that say what is
// counted and when, for somebody who has never seen the source.

// Connections: the network side, before and after MQTT.
var (
	ConnectionsAccepted = count("redoubt_connections_accepted_total", "Network connections taken from a listener and admitted by its policy.")
	ConnectionsKnown    = count("redoubt_connections_known_total", "Admitted network connections from addresses of clients that were accepted lately, which have limits.known_share.")
	KnownAddresses      = level("redoubt_known_addresses", "Addresses of clients that were accepted and are there, or have left in the last ten minutes or so.")
	Connections         = level("redoubt_connections", "Network connections open now, handshakes included.")
	Unauthenticated     = level("redoubt_connections_unauthenticated", "Network connections whose client has not been authenticated yet (limits.unauthenticated_total).")
	ConnectDeadline     = level("redoubt_connect_deadline_seconds", "Time a client has at the moment from accept to an accepted CONNECT, rounded up: limits.connect_deadline, less while strangers fill the room there is for them.")
	ListenBacklog       = level("redoubt_listen_backlog", "Smallest number of connections that the kernel lets wait for accept, over all listening sockets; -1 where the system does not tell.")

	connectionsRefused               = family{"redoubt_connections_refused_total", "Network connections closed at the door, before any byte was read, by reason.", counter}
	ConnectionsRefusedAccess         = connectionsRefused.of("reason", "access_list")
	ConnectionsRefusedProxySource    = connectionsRefused.of("reason", "proxy_source")
	ConnectionsRefusedProxyWait      = connectionsRefused.of("reason", "proxy_header_missing")
	ConnectionsRefusedProxyHeader    = connectionsRefused.of("reason", "proxy_header_bad")
	ConnectionsRefusedBanned         = connectionsRefused.of("reason", "banned")
	ConnectionsRefusedConnectRate    = connectionsRefused.of("reason", "connect_rate")
	ConnectionsRefusedPrefixLimit    = connectionsRefused.of("reason", "prefix_limit")
	ConnectionsRefusedTotalLimit     = connectionsRefused.of("reason", "total_limit")
	ConnectionsRefusedUnauthLimit    = connectionsRefused.of("reason", "unauthenticated_limit")
	ConnectionsRefusedHandshakeLimit = connectionsRefused.of("reason", "handshakes_limit")
	ConnectionsRefusedListenerRate   = connectionsRefused.of("reason", "listener_rate")
	ConnectionsRefusedListenerLimit  = connectionsRefused.of("reason", "listener_limit")
	ConnectionsRefusedMemory         = connectionsRefused.of("reason", "memory")
	ConnectionsRefusedOpenFiles      = connectionsRefused.of("reason", "open_files")
	ConnectionsRefusedShuttingDown   = connectionsRefused.of("reason", "shutting_down")
	connectionsClosed                = family{"redoubt_connections_closed_total", "Admitted network connections that ended, by reason.", counter}
	ConnectionsClosedDisconnect      = connectionsClosed.of("reason", "client_disconnect")
	ConnectionsClosedGone            = connectionsClosed.of("reason", "client_gone")
	ConnectionsClosedHandshake       = connectionsClosed.of("reason", "handshake_failed")
	ConnectionsClosedConnectTimeout  = connectionsClosed.of("reason", "connect_deadline")
	ConnectionsClosedConnectRefused  = connectionsClosed.of("reason", "connect_refused")
	ConnectionsClosedKeepAlive       = connectionsClosed.of("reason", "keep_alive_timeout")
	ConnectionsClosedMalformed       = connectionsClosed.of("reason", "malformed_packet")
	ConnectionsClosedProtocol        = connectionsClosed.of("reason", "protocol_error")
	ConnectionsClosedTooLarge        = connectionsClosed.of("reason", "packet_too_large")
	ConnectionsClosedNotAuthorized   = connectionsClosed.of("reason", "not_authorized")
	ConnectionsClosedExpired         = connectionsClosed.of("reason", "credential_expired")
	ConnectionsClosedTakenOver       = connectionsClosed.of("reason", "session_taken_over")
	ConnectionsClosedKicked          = connectionsClosed.of("reason", "administrative_action")
	ConnectionsClosedSlow            = connectionsClosed.of("reason", "slow_reader")
	ConnectionsClosedQuota           = connectionsClosed.of("reason", "quota_exceeded")
	ConnectionsClosedEvicted         = connectionsClosed.of("reason", "evicted")
	ConnectionsClosedOverload        = connectionsClosed.of("reason", "overload")
	ConnectionsClosedServerError     = connectionsClosed.of("reason", "server_error")
	ConnectionsClosedEnrolment       = connectionsClosed.of("reason", "enrolment")
	ConnectionsClosedShuttingDown    = connectionsClosed.of("reason", "shutting_down")

	HandshakesOK               = count("redoubt_tls_handshakes_total", "TLS handshakes that finished.")
	Handshakes                 = level("redoubt_tls_handshakes_pending", "TLS handshakes and WebSocket upgrades started and not finished (limits.handshakes_total).")
	HandshakesQueued           = level("redoubt_tls_handshakes_queued", "TLS handshakes and WebSocket upgrades that could go on and wait for a processor (limits.handshake_cpu).")
	HandshakesDelayed          = count("redoubt_tls_handshakes_delayed_total", "TLS handshakes and WebSocket upgrades that began later than they could, because their network was over limits.handshake_rate_per_prefix.")
	handshakesFailed           = family{"redoubt_tls_handshakes_failed_total", "TLS handshakes that failed, by reason.", counter}
	HandshakesFailedTimeout    = handshakesFailed.of("reason", "timeout")
	HandshakesFailedNotTLS     = handshakesFailed.of("reason", "not_tls")
	HandshakesFailedVersion    = handshakesFailed.of("reason", "version_or_cipher")
	HandshakesFailedClientCert = handshakesFailed.of("reason", "client_certificate")
	HandshakesFailedRefused    = handshakesFailed.of("reason", "refused_by_client")
	HandshakesFailedGone       = handshakesFailed.of("reason", "client_gone")
	HandshakesFailedEvicted    = handshakesFailed.of("reason", "evicted")
	HandshakesFailedRate       = handshakesFailed.of("reason", "rate")
	HandshakesFailedOther      = handshakesFailed.of("reason", "other")

	tlsVersions = family{"redoubt_tls_versions_total", "TLS handshakes that finished, by the version agreed on.", counter}
	TLSVersions = tlsVersions.each("version", 0, TLSVersionNames...) // At(index of the name)
	tlsSuites   = family{"redoubt_tls_suites_total", "TLS handshakes that finished, by the cipher suite agreed on; redoubt clients show says whose.", counter}
	TLSSuites   = tlsSuites.each("suite", 0, append(TLSSuiteNames, "other")...) // At(index of the name)
	tlsGroups   = family{"redoubt_tls_groups_total", "TLS handshakes that finished, by the group that keys were agreed on with; none: a TLS 1.2 session was resumed.", counter}
	TLSGroups   = tlsGroups.each("group", 0, append(TLSGroupNames, "none")...) // At(index of the name)

	CertificatesWithdrawn = count("redoubt_client_certificates_withdrawn_total", "Connections that were closed because a certificate of their client was revoked, or its CA is not accepted any more.")

	listFetches       = family{"redoubt_crl_fetches_total", "Requests for revocation lists that certificates of clients name, by what came of them.", counter}
	ListFetchesNew    = listFetches.of("result", "new")
	ListFetchesSame   = listFetches.of("result", "unchanged")
	ListFetchesFailed = listFetches.of("result", "failed")
	ListsFetched      = level("redoubt_crl_fetched", "Revocation lists in use that certificates of clients name.")
	ListAddresses     = level("redoubt_crl_addresses", "Addresses of revocation lists that certificates of clients name.")
	ListNextUpdate    = level("redoubt_crl_next_update_timestamp_seconds", "When the first of the revocation lists in use should be followed by another, as Unix time; 0: there is none.")

	ocspQueries  = family{"redoubt_ocsp_queries_total", "Questions to OCSP responders about certificates of clients, by what came of them.", counter}
	OCSPAnswered = ocspQueries.of("result", "answered")
	OCSPFailed   = ocspQueries.of("result", "failed")
	OCSPKnown    = level("redoubt_ocsp_certificates", "Certificates of clients and CAs about which OCSP responders are asked.")
	OCSPRevoked  = level("redoubt_ocsp_revoked_certificates", "Those of redoubt_ocsp_certificates that were revoked.")

	UpgradesOK                = count("redoubt_websocket_upgrades_total", "HTTP requests that became a WebSocket.")
	upgradesFailed            = family{"redoubt_websocket_upgrades_failed_total", "HTTP requests at a WebSocket listener that did not become one, by reason.", counter}
	UpgradesFailedMalformed   = upgradesFailed.of("reason", "malformed_request")
	UpgradesFailedTooLong     = upgradesFailed.of("reason", "too_long")
	UpgradesFailedPath        = upgradesFailed.of("reason", "path")
	UpgradesFailedMethod      = upgradesFailed.of("reason", "method")
	UpgradesFailedNoUpgrade   = upgradesFailed.of("reason", "not_websocket")
	UpgradesFailedOrigin      = upgradesFailed.of("reason", "origin")
	UpgradesFailedSubprotocol = upgradesFailed.of("reason", "subprotocol")
	UpgradesFailedTimeout     = upgradesFailed.of("reason", "timeout")
	UpgradesFailedGone        = upgradesFailed.of("reason", "client_gone")
)

// Authentication and authorization.
var (
	AuthnSuccess              = count("redoubt_authn_success_total", "CONNECT packets whose sender proved who it is.")
	authnFailure              = family{"redoubt_authn_failure_total", "CONNECT packets refused because the sender did not prove who it is, by reason.", counter}
	AuthnFailureCredentials   = authnFailure.of("reason", "bad_user_name_or_password")
	AuthnFailureNoCredentials = authnFailure.of("reason", "no_credentials")
	AuthnFailureMethod        = authnFailure.of("reason", "bad_authentication_method")
	AuthnFailureOther         = authnFailure.of("reason", "other")
	authnUnavailable          = family{"redoubt_authn_unavailable_total", "CONNECT packets refused because no verdict could be reached, by reason.", counter}
	AuthnUnavailableBusy      = authnUnavailable.of("reason", "busy")
	AuthnUnavailableTimeout   = authnUnavailable.of("reason", "timeout")
	AuthnUnavailableBackend   = authnUnavailable.of("reason", "backend_error")

	reportOnly         = family{"redoubt_report_only_differences_total", "Judgements that authz.report_only would have made otherwise. What is remembered of a client is judged once.", counter}
	WouldDeny          = reportOnly.of("kind", "would_deny")
	WouldAllow         = reportOnly.of("kind", "would_allow")
	ReportOnlyFailures = count("redoubt_report_only_failures_total", "Judgements that authz.report_only could not make because of a bug; they have no effect.")

	PublishDenied    = count("redoubt_publish_denied_total", "PUBLISH packets and wills the rules refused.")
	SubscribeDenied  = count("redoubt_subscribe_denied_total", "Topic filters of SUBSCRIBE packets the rules refused.")
	SubscribeRefused = count("redoubt_subscribe_refused_total", "Topic filters of SUBSCRIBE packets refused for their form, a limit, or because the entrance does not offer them.")
	DeliveryDenied   = count("redoubt_delivery_denied_total", "Messages not delivered to a subscription because a rule denies their topic.")
)

// Traffic.
var (
	packetsReceived = family{"redoubt_packets_received_total", "MQTT packets received whole, by type.", counter}
	PacketsReceived = packetsReceived.each("type", 1, packetTypes...) // At(packet type)
	packetsSent     = family{"redoubt_packets_sent_total", "MQTT packets handed to the network, by type.", counter}
	PacketsSent     = packetsSent.each("type", 1, packetTypes...) // At(packet type)
	BytesReceived   = count("redoubt_received_bytes_total", "Bytes of MQTT received, without TLS and WebSocket framing.")
	BytesSent       = count("redoubt_sent_bytes_total", "Bytes of MQTT sent, without TLS and WebSocket framing.")

	messagesReceived           = family{"redoubt_messages_received_total", "Application messages accepted from publishers, by QoS.", counter}
	MessagesReceived           = messagesReceived.each("qos", 0, "0", "1", "2") // At(QoS)
	messagesSent               = family{"redoubt_messages_sent_total", "Application messages sent to subscribers, by QoS of the delivery; retransmissions count again.", counter}
	MessagesSent               = messagesSent.each("qos", 0, "0", "1", "2") // At(QoS)
	MatchesTruncated           = count("redoubt_matches_truncated_total", "Application messages whose search for wildcard subscriptions was cut at its work limit: some subscribers did not get them.")
	MessagesUnmatched          = count("redoubt_messages_unmatched_total", "Application messages accepted that no subscription wanted.")
	messagesDropped            = family{"redoubt_messages_dropped_total", "Deliveries given up, one per subscriber and message, by reason.", counter}
	MessagesDroppedQueueFull   = messagesDropped.of("reason", "queue_full")
	MessagesDroppedExpired     = messagesDropped.of("reason", "expired")
	MessagesDroppedTooLarge    = messagesDropped.of("reason", "too_large")
	MessagesDroppedInboxFull   = messagesDropped.of("reason", "inbox_full")
	MessagesDroppedNoSession   = messagesDropped.of("reason", "no_session")
	MessagesDroppedQoS0Offline = messagesDropped.of("reason", "qos0_offline")
	MessagesDroppedStore       = messagesDropped.of("reason", "store_damage")
	MessagesDroppedOverload    = messagesDropped.of("reason", "overload")
)

// Sessions, subscriptions, retained messages.
var (
	Sessions          = level("redoubt_sessions", "Sessions held, connected or not.")
	SessionsCreated   = count("redoubt_sessions_created_total", "Sessions begun.")
	SessionsResumed   = count("redoubt_sessions_resumed_total", "CONNECT packets that found their session present.")
	SessionsExpired   = count("redoubt_sessions_expired_total", "Sessions that ended because their Session Expiry Interval passed.")
	SessionsTakenOver = count("redoubt_sessions_taken_over_total", "Connections replaced by a newer one of the same identity and client identifier.")
	newcomersRefused  = family{"redoubt_newcomers_refused_total", "CONNECT packets refused because of others of the same identity that are connected, by which limit: limits.same_client, or limits.connections_per_identity.", counter}
	NewcomersRefused  = newcomersRefused.each("limit", 0, "same_client", "connections_per_identity") // At(index)
	Subscriptions     = level("redoubt_subscriptions", "Subscriptions held.")
	MqueueBytes       = level("redoubt_mqueue_bytes", "Bytes that all sessions hold for their clients, waiting or unacknowledged (limits.mqueue_bytes_total); a message that many share counts once for each.")
	WillsPublished    = count("redoubt_wills_published_total", "Will messages published.")
	KeepAliveTimeouts = count("redoubt_keep_alive_timeouts_total", "Connections that sent nothing for one and a half times their keep alive.")
	RetainedMessages  = level("redoubt_retained_messages", "Retained messages held, without the broker's own.")
	RetainedOwn       = level("redoubt_retained_messages_own", "Retained messages of the broker's own, under $SYS; they count against limits.retained_messages_total.")
	RetainedBytes     = level("redoubt_retained_bytes", "Bytes of retained messages held, with the broker's own (limits.retained_bytes_total).")
	RetainedRefused   = count("redoubt_retained_refused_total", "Retained messages refused because the store is at its limit.")
	hoarded           = family{"redoubt_identity_share_refused_total", "Publishes refused because the user has more than limits.identity_share of something that is scarce.", counter}
	RetainedHoarded   = hoarded.of("of", "retained")
	StoreHoarded      = hoarded.of("of", "store")
	DelayedMessages   = level("redoubt_delayed_messages", "Delayed messages waiting for their time.")
	DelayedPublished  = count("redoubt_delayed_published_total", "Delayed messages whose time came.")
	DelayedRefused    = count("redoubt_delayed_refused_total", "Delayed messages refused because a limit of theirs is reached.")
)

// Certificates for devices, over the port of enroll.bind.
var (
	enrolled                = family{"redoubt_enrolments_total", "Certificates given to devices over the network, by what they showed for it.", counter}
	EnrolledToken           = enrolled.of("by", "token")
	EnrolledClaim           = enrolled.of("by", "claim")
	EnrolledRenewal         = enrolled.of("by", "renewal")
	enrolRefused            = family{"redoubt_enrolments_refused_total", "Requests for a certificate that came to nothing, by reason; the log has the words.", counter}
	EnrolRefusedToken       = enrolRefused.of("reason", "token")
	EnrolRefusedClaim       = enrolRefused.of("reason", "claim")
	EnrolRefusedCertificate = enrolRefused.of("reason", "certificate")
	EnrolRefusedRequest     = enrolRefused.of("reason", "request")
	EnrolRefusedThrottled   = enrolRefused.of("reason", "throttled")
	EnrolRefusedBusy        = enrolRefused.of("reason", "busy")
	EnrolRefusedFailed      = enrolRefused.of("reason", "failed")
)

// The broker itself.
var (
	PublishersPaused      = level("redoubt_publishers_paused", "Connections not read at the moment because they or the broker are over a limit.")
	PublisherPauses       = count("redoubt_publisher_pauses_total", "Times a connection was not read any further because it or the broker was over a limit.")
	ratesExceeded         = family{"redoubt_rates_exceeded_total", "Times a client was over a rate, by which: limits.publish_rate and subscribe_rate of its own or of its listener; publish_rate_total of its listener or of the node, of which it had more than its part; retained_rate, so that what it asked for comes later; connect_rate, so that it was refused.", counter}
	RatesExceeded         = ratesExceeded.each("limit", 0, "publish_rate", "subscribe_rate", "listener_publish_rate_total", "publish_rate_total", "retained_rate", "connect_rate") // At(index)
	LoopTurns             = count("redoubt_loop_turns_total", "Turns of all event loops.")
	LogLinesSuppressed    = count("redoubt_log_lines_suppressed_total", "Log lines left out because their kind was over its rate.")
	FaultsRecovered       = count("redoubt_faults_recovered_total", "Programming errors that cost one client its connection. Anything but 0 is a bug worth reporting.")
	reloads               = family{"redoubt_config_reloads_total", "Attempts to reload the configuration, by result.", counter}
	ReloadsApplied        = reloads.of("result", "applied")
	ReloadsRefused        = reloads.of("result", "refused")
	OverloadLevel         = level("redoubt_overload_level", "How much is shed because memory is short: 0 nothing, 1 nothing and the door is impatient, 2 strangers, 3 QoS 0 too, 4 the idle too, 5 the lagging too; docs/ops/overload.md.")
	overloadRefused       = family{"redoubt_overload_refused_total", "CONNECT packets whose sender would have got a new session, refused because the node is overloaded, by what is short.", counter}
	OverloadRefused       = overloadRefused.each("reason", 0, "memory", "loops", "store") // At(load.Short)
	overloadClosed        = family{"redoubt_overload_closed_total", "Connections closed because memory is short and they keep some, by class.", counter}
	OverloadClosedIdle    = overloadClosed.of("class", "idle")
	OverloadClosedLagging = overloadClosed.of("class", "lagging")
	OverloadPauses        = count("redoubt_overload_pauses_total", "Times a publisher was not read any further because memory is short.")
	LoopLag               = short("redoubt_loop_lag_seconds", "How late the most belated event loop came to its work in the last second.")
	CommitWait            = short("redoubt_store_commit_wait_seconds", "How long the oldest of what is to be on disk before it is acknowledged has waited; the longest seen in the last second.")
	memoryRooms           = family{"redoubt_memory_room_bytes", "What parts of the broker keep in memory, about; sessions, connections and subscriptions are looked at twice a minute.", gauge}
	MemoryRooms           = memoryRooms.each("room", 0, "connections", "sessions", "router", "retained", "delayed", "store", "runtime") // At(index of the room)
	MemorySure            = level("redoubt_memory_sure_bytes", "Memory that is surely in use: what the last collection left, stacks and the runtime's own. Its part of redoubt_memory_limit_bytes decides what is shed.")
	MemoryLimit           = level("redoubt_memory_limit_bytes", "Memory limit in force (limits.memory, or GOMEMLIMIT where it is smaller); 0: none.")
	MemoryInUse           = level("redoubt_memory_in_use_bytes", "Memory that counts against that limit: what the process has from the system and has not returned, without what the kernel holds for it.")
	MemoryLive            = level("redoubt_memory_live_bytes", "Bytes of the heap that the last collection found alive.")
	MemoryCollections     = count("redoubt_memory_collections_total", "Collections made out of turn, to return memory after a storm, or because somebody asked for one (SIGUSR1).")
	MemoryReturned        = count("redoubt_memory_returned_bytes_total", "Bytes that those collections returned to the system.")
	bansActive            = family{"redoubt_bans", "Bans there are, by where they come from; those that are over count until they are purged, within a minute.", gauge}
	Bans                  = bansActive.each("source", 0, "operator", "file", "flapping") // At(bans.Source)
	bansRefused           = family{"redoubt_bans_refused_total", "Clients that had proved who they are and were refused because of a ban, by its kind; addresses are mostly refused at the door (redoubt_connections_refused_total).", counter}
	BansRefused           = bansRefused.each("kind", 0, "clientid", "username", "peerhost", "peerhost_net", "clientid_re", "username_re", "flapping") // At(bans.As), or after them
	CredentialsExpired    = count("redoubt_credentials_expired_total", "Connections that were closed because the credential of their client, such as a token, has expired.")
	TokensRevoked         = level("redoubt_tokens_revoked", "Revocations of tokens there are; those that are over count until they are purged, within a minute.")
	CredentialsSilenced   = count("redoubt_credentials_silenced_total", "Wills and delayed messages that were not published because the token of their sender was revoked.")
	CredentialsRevoked    = count("redoubt_credentials_revoked_total", "Connections that were closed because the token of their client was revoked.")
	BansClosed            = count("redoubt_bans_closed_total", "Connections that were closed because their client was banned meanwhile.")
	BansSilenced          = count("redoubt_bans_silenced_total", "Wills and delayed messages that were not published because their sender is banned.")
	FlappingDetected      = count("redoubt_flapping_detected_total", "Clients that were banned because they connected too often (flapping).")

	alarms                  = family{"redoubt_alarms", "Alarms that last now, by what they are about; docs/alarms.md says what each means.", gauge}
	Alarms                  = alarms.each("alarm", 0, "certificate_expiry", "certificate_files_refused", "crl_unavailable", "crl_forged", "crl_stale", "certificate_differs", "staple_missing", "certificate_revoked", "ocsp_unavailable", "ocsp_forged", "memory_pressure", "loop_lag", "commit_latency", "acme_failed", "backend_down", "key_set_unavailable", "flapping", "hardening_failed", "hardening_hangs", "hardening_score") // At(index in alarm.Kinds)
	CertificateFilesRefused = level("redoubt_certificate_files_refused", "Listeners whose certificate, key, client CA or revocation list has changed to something that is refused; they go on with what they had.")

	HardeningCheck   = levels("redoubt_hardening_check", "A row of the hardening checklist that the broker judges on itself, by id, phase, severity and scope: 1 it holds, with a warning too, or is waived, 0 it does not, -1 it could not be seen, or only a probe of redoubt doctor could tell (P1.4 of a listener with TLS). All are -1 while a look hangs (alarm hardening_hangs). Rows that do not apply have no series, nor have those that redoubt doctor alone judges, by probes.", "id", "phase", "severity", "scope")
	HardeningScore   = levels("redoubt_hardening_score", "Score of those rows together, from 0 to 100; docs/security/checks.md says how it is made. Absent until the first look, some seconds after the start, and while a look hangs (alarm hardening_hangs).")
	HardeningLastRun = levels("redoubt_hardening_last_run_timestamp_seconds", "When the look that ended last began, as Unix time: there is one after the start, each hour, and after changes of the configuration. More than two hours ago: what is said of the rows is of no use.")
	HardeningTook    = shorts("redoubt_hardening_probe_duration_seconds", "How long each row took when the broker looked last, without the rests in it. It looks and connects to nothing, so that rows of probes alone, which redoubt doctor tries, have no series.", "id")
	HardeningWaivers = levels("redoubt_hardening_waivers", "Waivers of the configuration in force, by state: active, expiring (within 14 days) or expired.", "state")

	CertificateNotAfter = levels("redoubt_certificate_not_after_timestamp_seconds", "When a server certificate that a listener serves expires, as Unix time, by listener and place in tls.certificates, from 0.", "listener", "certificate")
	AuthnAnswers        = counts("redoubt_authn_answers_total", "Answers of an authenticator that a chain of a listener names, about clients: allow, deny, ignore (the next one was asked), unavailable (no verdict could be reached, so the client was refused). Conditions that do not hold are no answer.", "authenticator", "outcome")
	AuthnTook           = counts("redoubt_authn_answer_seconds_bucket", "Answers of an authenticator, by how long they took at most, with all waiting; as the buckets of a histogram.", "authenticator", "le")
	BackendQuestions    = counts("redoubt_backend_questions_total", "Questions about clients for a back end, by what came of them: answered (also: nobody of that name), down, timeout, rejected (a name that cannot be one there), garbage, bad_answer (an error of the service, or no answer of the form that was agreed), excess (more rows than are taken); and those that were not asked: queue_full, breaker_open, closed.", "backend", "outcome")
	BackendTook         = counts("redoubt_backend_question_seconds_bucket", "Questions that a back end was asked, by how long they took at most, without the waiting; as the buckets of a histogram.", "backend", "le")
	BackendWaiting      = levels("redoubt_backend_waiting", "Questions that wait for a connection to the back end (backends.<name>.queue).", "backend")
	BackendAsking       = levels("redoubt_backend_asking", "Questions that the back end is asked now, each on a connection (backends.<name>.pool).", "backend")
	BackendBreakerOpen  = levels("redoubt_backend_breaker_open", "1 while the back end is left alone because it failed (backends.<name>.breaker), else 0.", "backend")
	StapleNextUpdate    = levels("redoubt_ocsp_staple_next_update_timestamp_seconds", "Until when the OCSP answer counts that goes with a server certificate, as Unix time, by listener and place in tls.certificates, from 0; 0: there is none. Only for certificates that name a responder.", "listener", "certificate")
)

// The store.
var (
	storeCommits       = family{"redoubt_store_commits_total", "Writes of the log that were flushed to the disk, each for everybody who waited, by the time that writing and flushing took.", counter}
	StoreCommits       = storeCommits.each("within", 0, "1ms", "10ms", "100ms", "1s", "more") // At(index of the time)
	StoreCommitsFailed = count("redoubt_store_commits_failed_total", "Writes of the log that failed; nothing in them was acknowledged.")
	StoreRecords       = count("redoubt_store_records_total", "Records in the writes of the log.")
	storeCommitSizes   = family{"redoubt_store_commit_sizes_total", "Writes of the log, by how many records they had.", counter}
	StoreCommitSizes   = storeCommitSizes.each("records", 0, "1", "10", "100", "1000", "more") // At(index of the size)
	StoreRefused       = count("redoubt_store_refused_total", "Publishes refused because the store is as large as store.max_bytes allows, or the disk is nearly full.")
	StoreLogBytes      = level("redoubt_store_log_bytes", "Bytes of the log on the disk; with redoubt_store_rescued_bytes it counts against store.max_bytes.")
	StoreLogSegments   = level("redoubt_store_log_segments", "Files of the log.")
	StoreFreeBytes     = level("redoubt_store_free_bytes", "Bytes that the disk of the store still has; looked at every few seconds.")
	StoreRescued       = count("redoubt_store_rescued_total", "Messages that sessions still wanted when the oldest of the log had to go, and that were kept aside.")
	RescuedMessages    = level("redoubt_store_rescued_messages", "Messages that are kept aside because the log has no more room for them.")
	RescuedBytes       = level("redoubt_store_rescued_bytes", "Bytes of those messages (store.max_bytes).")
	storeIndex         = family{"redoubt_store_index_bytes", "Bytes of the index on the disk, about, by what they hold; looked at every few seconds.", gauge}
	StoreIndex         = storeIndex.each("table", 0, "postings", "sessions", "retained", "values", "rescued") // At(index of the table)
	StoreOldestWanted  = level("redoubt_store_oldest_wanted", "Number of the oldest record that a session still wants; 0: none. redoubt status says whose it is.")
	sessionsBehind     = family{"redoubt_sessions_behind", "Sessions for which messages wait in the log, by whether a client is connected; looked at every few seconds.", gauge}
	SessionsBehind     = sessionsBehind.each("state", 0, "connected", "away") // At(0 or 1)
	behindMessages     = family{"redoubt_store_waiting_messages", "Messages that wait in the log, once for each session, by whether a client is connected; looked at every few seconds.", gauge}
	BehindMessages     = behindMessages.each("state", 0, "connected", "away") // At(0 or 1)
	behindBytes        = family{"redoubt_store_waiting_bytes", "Bytes of those messages, the same way.", gauge}
	BehindBytes        = behindBytes.each("state", 0, "connected", "away") // At(0 or 1)
	StoreBytes         = count("redoubt_store_written_bytes_total", "Bytes of the writes of the log.")
)

// What the two profiles of TLS can agree on.
var (
	TLSVersionNames = []string{"1.2", "1.3"}
	TLSSuiteNames   = []string{
		"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256",
		"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
		"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
	}
	TLSGroupNames = []string{"X25519MLKEM768", "X25519", "CurveP256", "CurveP384"}
)

// packetTypes are the MQTT Control Packet types 1 to 15 [MQTT 5.0 §2.1.2].
var packetTypes = []string{
	"connect", "connack", "publish", "puback", "pubrec", "pubrel", "pubcomp",
	"subscribe", "suback", "unsubscribe", "unsuback", "pingreq", "pingresp", "disconnect", "auth",
}
