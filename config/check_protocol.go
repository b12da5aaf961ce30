package config

import "strings"

// bindOfListener is the one key of addresses that takes paths, too.
const bindOfListener = "listeners.<name>.bind"

// isSocketPath tells a path from an address. No address has a slash.
func isSocketPath(s string) bool { return strings.Contains(s, "/") }

// checkProtocol refuses paths where addresses belong, and the reverse.
func (l *loader) checkProtocol(ln *Listener, key string) {
	if other := ln.Protocol == ProtocolQUIC || ln.Protocol == ProtocolUnix; other && ln.ProxyProtocol == ProxyRequired {
		l.wrong(key+".proxy_protocol", "", "has no meaning on protocol %s: proxies of that protocol speak TCP. Remove it.", ln.Protocol)
	}
	if ln.Protocol == ProtocolUnix && len(ln.Access) > 0 {
		l.wrong(key+".access", "", "has no meaning on protocol %s, whose clients have no address. The permissions of the file say who may connect. Remove it.", ln.Protocol)
	}
	if ln.Protocol != ProtocolUnix && ln.SocketMode == SocketOwner {
		l.wrong(key+".socket_mode", quote(ln.SocketMode), "has no meaning on protocol %s, which has no file. Remove it.", ln.Protocol)
	}
	if ln.Protocol == "" || l.problems.about(key+".bind") {
		return
	}
	for _, bind := range ln.Bind {
		switch path := isSocketPath(bind); {
		case path && ln.Protocol != ProtocolUnix:
			l.wrong(key+".bind", quotePath(bind), "is a path, and protocol %s listens on addresses. Write address:port, or use protocol %s.", ln.Protocol, ProtocolUnix)
		case !path && ln.Protocol == ProtocolUnix:
			l.wrong(key+".bind", quote(bind), "is an address, and protocol %s listens on files. Write a path with a / in it, such as /run/redoubt/mqtt.sock.", ProtocolUnix)
		case path && len(bind) > socketBytesMax:
			l.wrong(key+".bind", quotePath(bind), "is %d bytes long, and the kernel takes %d. Set a shorter one, such as /run/redoubt/mqtt.sock.", len(bind), socketBytesMax)
		default:
			continue
		}
		return
	}
}
