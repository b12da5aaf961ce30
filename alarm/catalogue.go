package alarm

// Kind is what an alarm is about. The table of all is Kinds; docs/alarms.md is made of it:
//
//	go test ./alarm -rewrite
type Kind struct {
	Name string // stable, lower case with underscores
	Help string // what it means and what to do, in sentences
}

// Kinds are all there are. A new one is one line below, and one value of
// redoubt_alarms in metrics/catalogue.go.
var Kinds []*Kind

func kind(name, help string) *Kind {
	k := &Kind{Name: name, Help: help}
	Kinds = append(Kinds, k)
	return k
}

// The kinds, by what they are about.
var (
	CertificateExpiry = kind("certificate_expiry",
		"A server certificate of the listener expires within 30 days, or has expired; the reason says when. Renew it: its files are read by themselves. That of the built-in CA is renewed without anybody.")
	CertificateFilesRefused = kind("certificate_files_refused",
		"A certificate, key, client CA or revocation list of the listener has changed to something that is refused. The listener goes on with all of what it had. The subject `enroll.claims` is the same for claim certificates. The reason names the file and the remedy; `redoubt cert lint` explains more.")
	CRLUnavailable = kind("crl_unavailable",
		"A revocation list that certificates of clients name cannot be fetched; the reason has its address and what came of it. The list there is counts until it is too old (`tls.crl.stale`), then nobody whom it is about is let in. An address of a private network has to be listed in `tls.fetch_from`.")
	CRLForged = kind("crl_forged",
		"What comes from the address of a revocation list is not the list of the CA that has issued the certificates: another issuer's, a wrong signature, or no list. It is not used. Somebody may be between the broker and that address.")
	CRLStale = kind("crl_stale",
		"A revocation list of the listener should have been followed by another. Unless `tls.crl.stale` allows some time, nobody whom it is about is let in: let the CA write a new one.")
	CertificateDiffers = kind("certificate_differs",
		"The listener has served another certificate than its file holds for longer than a few seconds, although the files were read again; the reason says which two. With `certificate_files_refused` for the same listener that one says why; otherwise try `redoubt reload`.")
	StapleMissing = kind("staple_missing",
		"A certificate of the listener names an OCSP responder, and no answer of it can be had: there is none, or the one there is comes to its end. The responder is asked again and again; the reason says what it was the last time. With a must-staple certificate no client can connect while there is none.")
	CertificateRevoked = kind("certificate_revoked",
		"The OCSP responder says that a certificate which the listener serves was revoked. Clients that ask will refuse it. If nobody has meant to, its key may be in other hands: have a new one issued, with a new key.")
	OCSPUnavailable = kind("ocsp_unavailable",
		"An OCSP responder that certificates of clients name does not answer, or not so that it counts. Whom it is about is let in with `tls.ocsp.check: soft`, and with `hard` not, once the answer of before has expired.")
	OCSPForged = kind("ocsp_forged",
		"An answer about a certificate of a client was not signed by its CA, or by a responder of the CA's, is about another certificate, or is no answer at all but the page of a proxy, say. It is not used. Somebody may be between the broker and the responder.")
	MemoryPressure = kind("memory_pressure",
		"So much of the memory limit is in use that something is shed for it, in a fixed order: strangers, QoS 0, idle clients that keep buffers, clients that lag; the reason says how far it has come. It ends by itself when there is memory again. The reason names who stood out when it began; `redoubt top` says who does now. docs/ops/overload.md says who keeps it and what to do.")
	LoopLag = kind("loop_lag",
		"Event loops have come to their work more than a second late for five seconds: the processors are too few for what clients ask, or something else on the host uses them. Nobody gets a new session meanwhile. The reason names who stood out when it began; `redoubt top` says who does now. It ends when they have been on time for ten seconds.")
	CommitLatency = kind("commit_latency",
		"What must be on disk before it is acknowledged has waited for more than two seconds, for five: the disk of the store is too slow, or something else uses it. Publishers at QoS 1 and 2 wait for it, and nobody gets a new session that outlives its connection. It ends when commits have been quick for ten seconds.")
	ACMEFailed = kind("acme_failed",
		"A server certificate for the name could not be got or renewed by ACME; the reason has the CA's words. It is tried again, less and less often. The name has to lead to this host, and the CA has to reach `tls.acme.challenge_bind` at port 80 of it.")
	BackendDown = kind("backend_down",
		"A server that is asked about clients fails, and is left alone for `breaker.open` at a time; the reason has its last error. Or a service over HTTP is there and has no good answer for anybody (wrong credential, wrong path, a fault of its own), and is asked all the same. Clients who need it are refused with Server unavailable; those who are connected stay. It ends by itself with the first answer. docs/ops/backends.md says what to look at.")
	KeySetUnavailable = kind("key_set_unavailable",
		"The key set (JWKS) of an authenticator of tokens cannot be read from the server of its issuer, or is none; the reason has the address, what came of it and until when the keys that are there count (`jwks.max_age`). After that no token is taken and clients are told to try again. It ends by itself when the set can be read. docs/ops/jwt.md.")
	Flapping = kind("flapping",
		"Clients that prove who they are connect over and over, and are banned for a while. Mostly it is a device that fails right after connecting, or two that have one client identifier; `redoubt ban list --by flapping` says which. It is cleared when no such ban is left.")
	HardeningFailed = kind("hardening_failed",
		"Critical or high rows of the hardening checklist fail, of those that the broker looks at by itself; the reason names them and where. `redoubt doctor --only ID --evidence` says what was seen and what helps. It is cleared by the next look after that: within seconds of `redoubt reload`, or of a change of the configuration, and within an hour otherwise.")
	HardeningHangs = kind("hardening_hangs",
		"The broker cannot look at its own hardening: a look has not ended within 35 s, its rests not counted, and there is no other one before it does. The reason has the row and what it was looking at; a file of a network file system whose server does not answer is what does that. Meanwhile rows are -1 in `redoubt_hardening_check`, there is no `redoubt_hardening_score`, and what the other alarms of hardening say is of the look before. It is cleared when the look ends, and another one begins at once.")
	HardeningScore = kind("hardening_score",
		"The hardening score that the broker gives itself is lower than it was within the last day; the reason has both and the rows that have become worse. It is cleared when the score is what it was, and after a day in which it has stayed.")
)
