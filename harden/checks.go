package harden

import (
	"fmt"
	"slices"
)

// Checks is the checklist as far as it is built: one value for each row. Ids,
// severities and weights are those of the checklist and never change meaning.
var Checks = slices.Concat(hostChecks, []*Check{
	clusterIdentity,
	{
		ID: "P2.2", Slug: "private-files", Phase: 2, Severity: High, Weight: 8, Demands: Kernel,
		Title:     "Keys, passwords and rules are closed to others",
		Standards: []string{"IEC62443-4-2:CR1.5", "IEC62443-4-2:CR4.1", "ASVS5:13.3.1", "CRA:I.2.e", "CWE-732"},
		Why: "A key or a password hash that another user of the machine can read is his; a rules file or a folder that he can write lets him grant himself everything. " +
			"A secret in the environment or on the command line is in process lists, crash reports and child processes, and a core dump is a copy of all keys.",
		How: "Opens every key, the rules, the certificates, the configuration, the data directory and the folders of the store, which have the users, judges the opened descriptor and every folder above it as the broker's user, " +
			"looks at the administration socket, reads the environment and the command line of the running process for what has the name or the form of a secret, and the limit of core dumps the kernel enforces on it.",
		Fix:   "run the command named with each finding; a broker that starts with open keys refuses to",
		Looks: true,
		Run:   privateFiles, Start: privateFilesAtStart,
	},
	clusterTransport,
	{
		ID: "P3.1", Slug: "tls-versions", Phase: 3, Severity: High, Weight: 8, Demands: Behavioural,
		Title:     "TLS older than 1.2 is refused",
		Standards: []string{"RFC8996", "IEC62443-4-2:CR4.3", "ASVS5:12.1.1", "CRA:I.2.e", "CWE-326"},
		Why:       "SSL 3.0, TLS 1.0 and 1.1 have no authenticated encryption and fall to known attacks; RFC 8996 retired them. One socket that still accepts them is enough for a downgrade.",
		How: "Sends a hand-written ClientHello for SSL 3.0, TLS 1.0 and 1.1, without a server name and with each name of the listener's certificates, as its files have them and as it shows them, and a TLS 1.2 hello that lists only old versions, to every listening socket of the process as the kernel lists it, in both address families, and to where clients connect (listeners.<name>.advertised, --target), which may be a balancer that ends TLS. " +
			"Each must be refused with an alert. Positive control: the same hello with TLS 1.2 or 1.3 is answered with a ServerHello. " +
			"On QUIC the hello comes in Initial packets that are made by hand, too: TLS 1.2 and older must be refused there, and 1.3 answered.",
		Fix: "listeners.<name>.tls.profile is intermediate (1.2 and 1.3) or modern (1.3 only); something else must be answering",
		Run: tlsVersions,
	},
	{
		ID: "P3.2", Slug: "ciphers", Phase: 3, Severity: Medium, Weight: 5, Demands: Behavioural,
		Title:     "Only forward secrecy and authenticated encryption are accepted",
		Standards: []string{"RFC9325", "IEC62443-4-2:CR4.3", "ASVS5:12.1.2", "CRA:I.2.e", "CWE-327"},
		Why: "What a listener accepts, an attacker in the middle can steer a client to. CBC leaks by timing, RSA key exchange lets whoever gets the key read what was recorded years before, RC4, 3DES, NULL, export and anonymous suites protect nothing; " +
			"compression leaks what is secret by its length, and renegotiation lets one client keep a server busy.",
		How: "Sends hand-written ClientHellos to every listening socket of the process that speaks TLS, in both address families, and to where clients connect (listeners.<name>.advertised, --target). Each class of bad suites of TLS 1.2 (CBC, RSA key exchange, DHE, fixed DH, DES and 3DES, RC4, NULL, export, anonymous, PSK) is offered by itself, and all of them for each name of the certificates; " +
			"what is accepted is taken off the list until nothing is. Groups are found by answers to a hello that has keys for none; X25519MLKEM768 has to be chosen when X25519 is offered before it. TLS compression, a curve that is too small, and an application protocol nobody speaks must not be accepted. " +
			"A client begins a second handshake inside the connection (renegotiation, CVE-2011-1473), which must be answered with an alert; where nobody gets to the end of the first one without a certificate, this is not tried and not counted. Session tickets live for 7 days at most, which TLS 1.3 demands and TLS 1.2 tells. " +
			"On QUIC the same is tried of TLS 1.3, and a session that is resumed must not take data before its handshake is over (0-RTT): who saw them could send them again. " +
			"Positive control: the same hello with a good suite behind the bad ones is answered with that one.",
		Fix: "listeners.<name>.tls.profile has the suites of the checklist and no others; something else must be answering",
		Run: ciphers,
	},
	{
		ID: "P3.3", Slug: "certificates", Phase: 3, Severity: High, Weight: 8, Demands: Behavioural,
		Title:     "Listeners show valid certificates, whole, and those of the files",
		Standards: []string{"RFC5280", "IEC62443-4-2:CR1.8", "IEC62443-4-2:CR1.9", "ASVS5:12.3.4", "CRA:I.2.d", "CWE-295"},
		Why: "A certificate that has expired, or whose chain has a gap, stops every device at once, and the usual cause is one that was renewed and never read again. Old algorithms and short keys can be forged, " +
			"and a key that is kept over many certificates is in many backups.",
		How: "Judges the files of each listener by the rules by which the broker takes them: time, names, use, algorithms, keys, and that key and certificate belong together. Then has each address show its certificate, without a server name and for each name of the certificates, in both address families: it must be the one of a file, with the same chain, " +
			"which must lead to a root known to this machine or to the data directory by nothing but what was shown, and have 30 days to live, or a third of its life. A difference is looked at again after some seconds, in which the broker reads new files. A certificate that nobody is shown, a key in several certificates, a CA's key, and a chain_depth below the CAs of client_ca are findings. " +
			"Positive control: the server signs each handshake with the key of what it shows. At each address of listeners.<name>.advertised, and of --target, the certificate must be valid for the name clients use there, whoever ends TLS; where none is given, which names clients use is not known.",
		Fix: "put the certificate, then each issuer, into the file of listeners.<name>.tls.certificates; redoubt cert lint FILE says what is wrong with one",
		Run: certificates,
	},
	{
		ID: "P3.4", Slug: "client-certificates", Phase: 3, Severity: High, Weight: 8, Demands: Behavioural,
		Title:     "Where certificates of clients are asked for, only good ones get an answer",
		Standards: []string{"IEC62443-4-2:CR1.2", "IEC62443-4-2:CR1.9", "ASVS5:12.3.5", "CRA:I.2.d", "CWE-295"},
		Why: "A listener that asks for certificates and does not judge them lets in whoever makes one for himself. A name that looks like the CA's, a certificate of the server's, or one of last year has let people into brokers, " +
			"and a check that holds on one listener and not on the next is found by those who look for it.",
		How: "At every listener that asks, in TLS 1.3 and 1.2, and on QUIC: shows no certificate, one of another CA, one of a self-signed copy of the name of each CA of client_ca, one that has expired, one that is not valid yet, and one for servers, and says CONNECT behind it. Each must be refused before anything is answered, which in TLS 1.3 is known from the first read and not from the handshake. " +
			"Another user name beside a good certificate must not make another user, by what the broker then says of the client. Positive control: a good certificate gets an answer. What the CA of devices has to sign is made with its key for the run, lasts a minute, stays in memory and is not recorded. " +
			"Where the key of no CA of the listener is here, --client-cert FILE brings the good certificate, and what only the CA could make is unknown. A listener that asks for none is not judged; where TLS ends at a proxy that is believed (proxy_tls: trust), the proxy alone judges certificates, and the row is unknown.",
		Fix: "set listeners.<name>.tls.client_cert to required, and client_ca to the CA of your devices alone",
		Run: clientCerts,
	},
	{
		ID: "P3.5", Slug: "crl", Phase: 3, Severity: High, Weight: 8, Demands: Behavioural,
		Title:     "Revoked client certificates are refused",
		Standards: []string{"RFC5280", "IEC62443-4-2:CR1.9", "ASVS5:12.3.5", "CRA:I.2.d", "CWE-299"},
		Why: "A device is lost, its certificate is revoked, and whoever has it gets in all the same: lists that are loaded and not asked, or asked on one kind of listener only, are how that has happened in two well-known brokers. " +
			"A list that is old knows nothing of what was revoked since.",
		How: "At every listener that asks for certificates: lists are named, or fetched from where certificates say, can be read, are current, there is one for each CA of client_ca and that CA has signed it, and crl.stale lets an old one count for 24 hours at most. Then, in TLS 1.3 and 1.2, shows the revoked canary, which is made with the CA of devices, stands in every list of it and is good but for that; it must be refused before anything is answered. " +
			"Positive control: a good certificate of the same CA gets an answer on the same listener. For other CAs --revoked-cert and --client-cert bring both, or the row is unknown. What a certificate leaves behind is tried with good ones of the run: each gets a session to resume in both versions and opens a connection, then the broker denies them in memory for a minute, in the way of certificates.denied; the sessions must be refused before an answer and the connections closed within ten seconds, while another good certificate still gets an answer. " +
			"For other CAs --revoked-cert and --client-cert bring both certificates, and --deny-client-cert lets the broker deny the good one; without, what it would show is unknown. " +
			"Listeners that ask for none are not judged.",
		Fix: "name the list of every CA of client_ca in listeners.<name>.tls.crl.files; redoubt cert crl writes that of the CA of devices",
		Run: revocation,
	},
	{
		ID: "P3.6", Slug: "ocsp-stapling", Phase: 3, Severity: Low, Weight: 3, Demands: Behavioural,
		Title:     "Whether the broker's certificate was revoked comes with it",
		Standards: []string{"RFC6960", "RFC6066", "RFC7633", "IEC62443-4-2:CR1.9", "CRA:I.2.d", "CWE-299"},
		Why: "A client that checks whether a certificate was revoked has to ask its CA, which a device in a closed network cannot, and which tells the CA who connects where. A staple is the CA's answer, handed over by the broker; " +
			"one that has expired, or is for another certificate, is refused by clients that look, and worth nothing to those that do not.",
		How: "Asks every address of every listener for a staple, for each certificate it shows, in TLS 1.3 and 1.2. It must say good, be valid now, be for this certificate, and be signed by its issuer or by who may respond for it; one past three quarters of its life was not refreshed. A certificate that demands a staple and comes without one is a finding. " +
			"Where a certificate names no responder there is nothing to staple: the row does not apply, if it lives for 90 days at most or names a list of its CA. Positive control: what is stapled counts by the issuer's signature, and the handshake by the server's. Whether the first connection after a start has a staple is not tried: nothing is restarted.",
		Fix: "let the broker reach the OCSP responder of its certificate; or have it issued for 90 days by a CA without one",
		Run: stapling,
	},
	{
		ID: "P4.1", Slug: "authentication", Phase: 4, Severity: Critical, Weight: 10, Demands: Behavioural,
		Title:     "Nobody connects without proving who he is",
		Standards: []string{"IEC62443-4-2:CR1.1", "IEC62443-4-2:CR1.2", "ASVS5:6.3.2", "CRA:I.2.d", "CWE-306"},
		Why:       "An entrance without authentication is an entrance for everybody who can reach it; so is a second listener that was forgotten, and a back end that takes an empty password for a login.",
		How: "At every listener, as the kernel lists its sockets, on MQTT 3.1, 3.1.1 and 5.0: connects with no user, an empty user, a user that does not exist, and a user that exists with no, an empty, a wrong and a shortened password, " +
			"and with an unknown authentication method beside the right secret; where the chain takes tokens, with some that are not signed, expired, without an end, of another algorithm than is listed, or signed with the public key or another secret. The one without an end is signed with the configured secret, so it goes only to a listener with TLS, a unix socket or a loopback address; where `aud` is not looked at, each token has one made up for it. Each must get the CONNACK that says so. Positive control: the same user with its secret is accepted, before and after. " +
			"A listening socket nobody knows about is a finding, and so is a service that takes a CONNECT. A wrong password must take as long for a user who does not exist, at one entrance of each chain: six of each, in turns, up to three times. The fastest are compared, as noise makes none faster; where the fast ones are further from each other than what must be seen (half as long again, at most 15 ms), nobody can tell, and the row is unknown. A user who is deleted must be cut off at once. " +
			"The running broker is asked over the administration socket to try the chain of each listener, as it is in force and with its conditions, on a client who does not exist, with stand-ins in the places of its authenticators: where nobody knows him it must deny, and where one cannot tell, each in turn, as with a back end that is down, it must refuse and ask nobody behind that one; no back end hears of it. Positive control: where the last one knows him, it lets him in. " +
			"A listener that lets nobody in without a certificate, and knows clients by it, is for rows P3.4 and P3.5.",
		Fix: "give the listener an authentication chain (listeners.<name>.authn), and remove what else listens",
		Run: authentication,
	},
	{
		ID: "P4.2", Slug: "authorization", Phase: 4, Severity: Critical, Weight: 10, Demands: Behavioural,
		Title:     "What no rule allows is denied, and not delivered",
		Standards: []string{"IEC62443-4-2:CR2.1", "ASVS5:8.2.1", "ASVS5:8.2.2", "CRA:I.2.d", "CWE-862"},
		Why:       "One device that may read # reads every other, and one that may publish everywhere commands them all. Wills, retained messages, aliases and shared subscriptions are ways around a rule that looks at topics alone.",
		How: "A user without grants publishes at QoS 0, 1 and 2, retained, by topic alias and as a will, and subscribes to a topic, #, +/#, $SYS/# and $share filters, on MQTT 3.1, 3.1.1 and 5.0. " +
			"Each must be refused with the right code, nothing may reach a watcher who may read all of it, live or retained, and nothing the watcher publishes may reach the user. " +
			"Positive control: a second user with one grant does all of it within the grant, and nothing beyond. " +
			"The rules in force are asked what they let clients that nobody knows, from addresses of this host, of private networks and of the internet: neither # nor +/#, $SYS/# or $share of them, nor a publish to any topic. Who is named by a rule that lets him read everything is listed, and so is what can make superusers. " +
			"Then the grant of the second user is taken away over the administration socket while he is connected and subscribed. Within 2 seconds, which are measured, the subscription must get nothing of what a third user with the same grant publishes, and a publish must be refused and reach nobody. Positive control: until then both get what either publishes, and the third user does afterwards.",
		Fix: "look for a rule that is too broad: redoubt acl test --user NAME publish TOPIC says which one allows it",
		Run: authorization,
	},
	{
		ID: "P4.3", Slug: "limits", Phase: 4, Severity: Medium, Weight: 5, Demands: Behavioural,
		Title:     "Every client has limits, and they hold",
		Standards: []string{"IEC62443-4-2:CR7.1", "IEC62443-4-2:CR7.2", "CRA:I.2.h", "CWE-770"},
		Why:       "A client without limits takes the memory and the processor of all the others, by mistake or on purpose, and a limit that is checked after the packet was kept is none.",
		How: "At every listener, on MQTT 3.1.1 and 5.0: announces a packet one byte over the limit and one of 256 MiB by the fixed header alone, and a CONNECT over its own limit; publishes and subscribes one topic level too deep; makes one subscription too many; leaves one QoS 2 message too many without PUBREL; and publishes more than the rate of that listener lets a client, which must take as long as the rate says, or end with 0x96. " +
			"Each must be refused with its reason code, or in MQTT 3.1.1 by closing. The packet of 256 MiB may not make the process grow by the half of it, at any moment, as the kernel counts (where it is on this machine). Positive control: exactly the limit is accepted. The limits are those the running process holds, and are compared with the checklist.",
		Fix: "set the limits.* named in the finding to the value of the checklist or lower",
		Run: quotas,
	},
	{
		ID: "P4.4", Slug: "flapping", Phase: 4, Severity: Low, Weight: 3, Demands: Behavioural,
		Title:     "Who connects over and over is shut out, and nobody else",
		Standards: []string{"IEC62443-4-2:CR7.1", "CRA:I.2.h", "CWE-770"},
		Why: "A client that connects over and over costs a handshake and a password check each time, because it is broken or on purpose. A defence that goes by names is a weapon: " +
			"whoever knows the client identifier of a device, which is no secret, has it banned.",
		How: "At every listener with addresses, a user of the run connects with one client identifier as often as flapping.connects allows, and once more, which must be answered with 0x8A (0x05 in MQTT 3.1.1). " +
			"While that ban is in force, another user with the same client identifier must get in. Then the ban is lifted over the administration socket and the client must get in again. " +
			"Somebody without the secret uses the names of another client once too often; that client must get in all the same. The values are those the running process holds, and are compared with the checklist: 15 connects in a minute, five minutes. " +
			"Positive control: every connect up to the limit is accepted. More than " + fmt.Sprint(flappingProbeMax) + " are not tried, and the row is unknown. Should the run be cut short, what is left is the ban of an identifier that nobody has, for flapping.ban at most. The alarm flapping may come and go.",
		Fix: "set flapping.connects to 15, flapping.window to 1m and flapping.ban to 5m, or near",
		Run: flappings,
	},
	backendsProve,
}, administrationChecks)
