package config

import "net/netip"

// Whether a proxy speaks first at a listener.
const (
	ProxyOff      = "off"
	ProxyRequired = "required"
)

// Whether a proxy is believed about certificates of its clients.
const (
	ProxyTLSIgnore = "ignore"
	ProxyTLSTrust  = "trust"
)

// ProxyNetworks are those of ProxySources.
func (l *Listener) ProxyNetworks() (list []netip.Prefix) {
	for _, s := range l.ProxySources {
		if p, err := netip.ParsePrefix(s); err == nil { // the schema has judged it
			list = append(list, p)
		}
	}
	return list
}

// checkProxy refuses what would believe anybody, and what would have no effect.
func (l *loader) checkProxy(ln *Listener, key string) {
	required := ln.ProxyProtocol == ProxyRequired
	sources := key + ".proxy_sources"
	switch {
	case l.problems.about(sources) || l.problems.about(key+".proxy_protocol"):
	case required && len(ln.ProxySources) == 0:
		l.wrong(key+".proxy_protocol", quote(ln.ProxyProtocol), "believes what proxies say, and no proxy is named. Name them in proxy_sources.")
	case !required && len(ln.ProxySources) > 0:
		l.wrong(sources, "", "has no effect while proxy_protocol is off. Set it to required, or remove them.")
	}
	for _, p := range ln.ProxyNetworks() {
		if p.Bits() == 0 && required {
			l.wrong(sources, quote(p.String()), "is everybody: whoever connects could claim any address. Name the proxies.")
		}
	}
	if ln.ProxyTLS != ProxyTLSTrust {
		return
	}
	switch at := key + ".proxy_tls"; {
	case !ln.Plaintext():
		l.wrong(at, quote(ln.ProxyTLS), "has no meaning on protocol %s, where TLS ends here and clients show their certificates to us. Use tls.client_cert, or protocol %s behind the proxy.", ln.Protocol, unencrypted(ln.Protocol))
	case !required:
		l.wrong(at, quote(ln.ProxyTLS), "has no effect while proxy_protocol is off. Set it to required, or remove this.")
	}
}

// unencrypted is the protocol without TLS that is otherwise the same.
func unencrypted(encrypted string) string {
	if encrypted == ProtocolWSS {
		return ProtocolWS
	}
	return ProtocolMQTT
}
