package config

import (
	"fmt"
	"slices"
	"strings"
)

// check judges keys together. What the decoder has refused already is left
// out: its consequences are no second problem.
func (l *loader) check(c *Config) {
	l.checkListeners(c)
	l.checkBinds(c)
	l.checkBackends(c)
	l.checkLookups(c)
	l.checkSources(c)
	l.checkChains(c)
	l.checkJWT(c)
	l.checkCInfo(c)
	l.checkKerberos(c)
	l.checkHTTP(c)
	l.checkWhen(c)
	l.checkOrder(c)
	l.checkLimits(c)
	l.checkOffers(c)
	l.checkMountpoints(c)
	l.checkRewrite(c)
	l.checkAutoSubscribe(c)
	l.checkEnroll(c)
	l.checkSocket(c)
	l.checkWaivers(c)
	l.checkUnused(c)
}

// wrong records a problem where key was written; if it was not, at key's
// nearest parent that was.
func (l *loader) wrong(key, value, format string, args ...any) {
	at := key
	for l.origins[at] == (Origin{}) && at != "" {
		at, _ = splitKey(at)
	}
	l.problems.add(Problem{Origin: l.origins[at], Key: key, Value: value, What: fmt.Sprintf(format, args...)})
}

func (l *loader) checkListeners(c *Config) {
	open := false
	for _, name := range sorted(c.Listeners) {
		ln, key := c.Listeners[name], "listeners."+name
		open = open || len(ln.Bind) > 0
		if ln.Protocol == "" && !l.problems.about(key+".protocol") {
			l.wrong(key, "", "has no protocol. A new listener needs one: %s.", rowOf["listeners.<name>.protocol"].Range())
		}
		if ln.Bind == nil && !l.problems.about(key+".bind") {
			l.wrong(key, "", `has no bind. A new listener needs one, such as [":8883"].`)
		}
		if c.Authn.Chains[ln.Authn] == nil && !l.problems.about(key+".authn") && !l.problems.about("authn.chains") {
			l.wrong(key+".authn", quote(ln.Authn), "is no chain of authn.chains. There is %s.", oneOf(sorted(c.Authn.Chains)))
		}
		l.checkProtocol(&ln, key)
		l.checkMeaning(&ln, key)
		l.checkAccess(&ln, key)
		l.checkProxy(&ln, key)
		l.checkClientCert(c, &ln, key)
		l.checkACME(&ln, key)
		l.checkAdvertised(&ln, key)
	}
	if !open && !l.problems.about("listeners") {
		l.wrong("listeners", "", "Every listener is off (bind: []), so no client could ever connect. Give one an address.")
	}
}

// checkMeaning refuses keys that a listener's protocol has no use for: whoever
// wrote them expects something of them.
func (l *loader) checkMeaning(ln *Listener, key string) {
	if ln.Plaintext() {
		for _, at := range sorted(l.origins) {
			if strings.HasPrefix(at, key+".tls.") {
				l.wrong(at, "", "has no meaning on protocol %s, which is plain text. Use protocol %s, or remove the tls section.", ln.Protocol, encrypted(ln.Protocol))
				break
			}
		}
	}
	if ln.WebSocket() || ln.Protocol == "" {
		return
	}
	for _, at := range []string{key + ".path", key + ".origins"} {
		if l.origins[at].written() && !l.problems.about(at) {
			l.wrong(at, "", "has no meaning on protocol %s. Use protocol %s, or remove it.", ln.Protocol, ProtocolWSS)
		}
	}
}

// checkBinds finds what the kernel would refuse at start.
func (l *loader) checkBinds(c *Config) {
	type taken struct {
		key  string
		bind Bind
		udp  bool
	}
	var all []taken
	udp := false // a port of UDP is another one than that of TCP with its number
	add := func(key string, texts []string) {
		for _, text := range texts {
			b, err := ParseBind(text)
			if err != nil {
				continue // refused already
			}
			for _, t := range all {
				if t.udp != udp || !b.clashes(t.bind) {
					continue
				}
				at, value, other := key, text, t.key
				if !l.origins[key].written() { // then the other one is news to the operator
					at, value, other = t.key, t.bind.String(), key
				}
				hint := ""
				if !l.origins[other].written() {
					hint = ", or turn that default off with bind: []"
				}
				l.wrong(at, quote(value), "is taken by %s. Choose another port%s.", other, hint)
				return
			}
			all = append(all, taken{key, b, udp})
		}
	}
	for _, name := range sorted(c.Listeners) {
		udp = c.Listeners[name].Protocol == ProtocolQUIC
		add("listeners."+name+".bind", c.Listeners[name].Bind)
	}
	udp = false
	add("metrics.bind", c.Metrics.Bind)
	add("enroll.bind", c.Enroll.Bind)
}

// checkOrder refuses sources of rules that do not exist.
func (l *loader) checkOrder(c *Config) {
	const key = "authz.order"
	if l.problems.about(key) {
		return
	}
	known := c.Authz.Sources()
	seen := map[string]bool{}
	for _, name := range c.Authz.Order {
		switch {
		case !slices.Contains(known, name):
			l.wrong(key, quote(name), "is no source of rules. %sWrite %s.", meant(name, known, otherSources), oneOf(known))
		case seen[name]:
			l.wrong(key, quote(name), "is there twice. A source is asked once.")
		}
		seen[name] = true
	}
	if len(c.Authz.Order) == 0 {
		l.wrong(key, "", "is empty and would deny everything. Write [rules_file, builtin].")
	}
}

func (l *loader) checkChains(c *Config) {
	types, twice := c.Authn.Authenticators()
	for _, name := range sorted(twice) {
		l.wrong("authn."+twice[name]+"."+name, "", "has the name of another authenticator (%s). Names are one to each, whatever the type.", types[name])
	}
	if key := "authn.scram.algorithms"; len(c.Authn.SCRAM.Algorithms) == 0 && !l.problems.about(key) {
		l.wrong(key, "", "is empty and would offer nothing. Write [sha256, sha512].")
	}
	for _, name := range sorted(c.Authn.Chains) {
		key := "authn.chains." + name
		if l.problems.about(key) {
			continue
		}
		if len(c.Authn.Chains[name]) == 0 {
			l.wrong(key, "", "is empty and would let nobody in. Write [builtin].")
		}
		for _, a := range c.Authn.Chains[name] {
			if types[a] == "" {
				l.wrong(key, quote(a), "is no authenticator. %sWrite %s, or describe it in authn.lookup, authn.http, authn.jwt, authn.kerberos or authn.cinfo.", meant(a, sorted(types), otherAuthenticators), oneOf(sorted(types)))
			}
		}
	}
}

// checkLimits refuses limits that make another one meaningless. The message is
// placed at whichever the operator wrote.
func (l *loader) checkLimits(c *Config) {
	pairs := []struct {
		small, large string
		a, b         Size
		why          string
	}{
		{"limits.packet_bytes", "limits.mqueue_bytes", c.Limits.PacketBytes, c.Limits.MqueueBytes, "a packet would never fit its queue"},
		{"limits.client_id_bytes", "limits.connect_packet_bytes", c.Limits.ClientIDBytes, c.Limits.ConnectPacketBytes, "a CONNECT with the longest client identifier would be refused"},
		{"limits.topic_bytes", "limits.packet_bytes", c.Limits.TopicBytes, c.Limits.PacketBytes, "a packet with the longest topic would be refused"},
	}
	for _, p := range pairs {
		if p.a <= p.b || l.problems.about(p.small) || l.problems.about(p.large) {
			continue
		}
		at := p.small
		if !l.origins[at].written() {
			at = p.large
		}
		l.wrong(at, "", "%s (%v) must not pass %s (%v): %s. Lower the one or raise the other.",
			p.small, p.a, p.large, p.b, p.why)
	}
}

// socketBytesMax is what sun_path holds, less its zero byte.
const socketBytesMax = 107

func (l *loader) checkSocket(c *Config) {
	if len(c.Admin.Socket) > socketBytesMax && !l.problems.about("admin.socket") && !l.problems.about("node.data_dir") {
		if !l.origins["admin.socket"].written() {
			l.origins["admin.socket"] = l.origins["node.data_dir"]
		}
		l.wrong("admin.socket", quotePath(c.Admin.Socket), "is %d bytes long, and the kernel takes %d. Set a shorter one, such as /run/redoubt/admin.sock.",
			len(c.Admin.Socket), socketBytesMax)
	}
}

// checkWaivers judges every waiver, then everything that needs one.
func (l *loader) checkWaivers(c *Config) {
	needs := exposures(c)
	if l.problems.about("waivers") {
		return // an exposure may well be waived by what could not be read
	}
	today := DateOf(l.opts.Now)
	judged := map[string]bool{} // scopes that a waiver is about, good or refused
	for i, w := range c.Waivers {
		key := fmt.Sprintf("waivers[%d]", i)
		scopes := []string{}
		for _, e := range needs {
			scopes = append(scopes, e.scope)
		}
		finding := slices.Contains(findingRows, w.ID)
		switch {
		case finding && scopeOfFinding(c, w.Scope) != "":
			l.wrong(key+".scope", quote(w.Scope), "%s.", scopeOfFinding(c, w.Scope))
			continue
		case finding && judged[w.ID+" "+w.Scope]:
			l.wrong(key+".scope", quote(w.Scope), "is waived twice. Keep one of the two.")
		case finding:
		case !slices.Contains(startRows, w.ID):
			l.wrong(key+".id", quote(w.ID), "is not a row that can be waived here. There is %s.", oneOf(WaivableRows()))
		case !slices.Contains(scopes, w.Scope):
			l.wrong(key+".scope", quote(w.Scope), "waives nothing: %s. Remove the waiver.", dangling(c, w.Scope))
			continue
		case !slices.ContainsFunc(needs, func(e exposure) bool { return e.scope == w.Scope && e.id == w.ID }):
			l.wrong(key+".id", quote(w.ID), "is another row than the one that %s does not keep. Write the id that the message without the waiver has.", w.Scope)
			continue
		case judged[w.Scope]:
			l.wrong(key+".scope", quote(w.Scope), "is waived twice. Keep one of the two.")
		}
		switch {
		case today.After(w.Expires) && !l.opts.ExpiredWaivers:
			l.wrong(key+".expires", w.Expires.String(), "is past: the waiver of %s for %s has expired. Ask %s: close it, or waive it anew with a reason of today.", w.ID, w.Scope, w.Owner)
		case w.Expires.After(today.AddDays(WaiverDaysMax)):
			l.wrong(key+".expires", w.Expires.String(), "is more than %d days ahead. The latest possible is %v.", WaiverDaysMax, today.AddDays(WaiverDaysMax))
		}
		if w.Approver != "" && strings.EqualFold(strings.TrimSpace(w.Approver), strings.TrimSpace(w.Owner)) {
			l.wrong(key+".approver", quote(w.Approver), "is the owner, and nobody approves what he asks for. Write who else has agreed, or leave the key out.")
		}
		if finding {
			judged[w.ID+" "+w.Scope] = true
		} else {
			judged[w.Scope] = true
		}
	}
	for _, e := range needs {
		if !judged[e.scope] && !l.problems.about(e.key) {
			l.wrong(e.key, quote(e.bind), "%s (row %s). %s, or waive it: waivers: [{id: %s, scope: %s, reason: ..., owner: ..., expires: %v}].",
				e.danger, e.id, e.fix, e.id, e.scope, today.AddDays(WaiverDaysMax/2))
		}
	}
}

// checkClientCert refuses what asks for certificates and could accept none, and the reverse.
func (l *loader) checkClientCert(c *Config, ln *Listener, key string) {
	t := &ln.TLS
	asks := t.ClientCert == "optional" || t.ClientCert == "required"
	switch {
	case asks && len(t.ClientCA) == 0 && !l.problems.about(key+".tls.client_ca"):
		l.wrong(key+".tls.client_cert", quote(t.ClientCert), "asks clients for a certificate, and no CA is named that issues them. Name it in client_ca.")
	case !asks && len(t.ClientCA) > 0:
		l.wrong(key+".tls.client_ca", "", "has no effect while client_cert is none: nobody is asked for a certificate. Set client_cert to required or optional.")
	case !asks && t.OCSP.Check != OCSPOff && t.OCSP.Check != "":
		l.wrong(key+".tls.ocsp.check", quote(t.OCSP.Check), "has no effect while client_cert is none: nobody is asked for a certificate. Set client_cert to required or optional.")
	case !asks && len(t.CRL.Files) > 0:
		l.wrong(key+".tls.crl.files", "", "has no effect while client_cert is none: nobody is asked for a certificate. Set client_cert to required or optional.")
	}
	if chain := c.Authn.Chains[ln.Authn]; !asks && ln.ProxyTLS != ProxyTLSTrust && len(chain) == 1 && chain[0] == "x509" {
		l.wrong(key+".authn", quote(ln.Authn), "knows clients by their certificates only, and this listener asks for none, so that nobody could connect. Set tls.client_cert to required.")
	}
}
