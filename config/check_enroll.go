package config

import "fmt"

// checkEnroll refuses an entrance for enrolment that could not be opened, and claims that
// mean something else than they seem to.
func (l *loader) checkEnroll(c *Config) {
	e := &c.Enroll
	if ln, known := c.Listeners[e.Listener]; e.Listener != "" && !l.problems.about("enroll.listener") {
		switch {
		case !known:
			l.wrong("enroll.listener", quote(e.Listener), "is no listener. There is %s.", oneOf(sorted(c.Listeners)))
		case ln.Plaintext():
			l.wrong("enroll.listener", quote(e.Listener), "is in plain text, and has no certificate to show. Name one with TLS.")
		case len(ln.Bind) == 0:
			l.wrong("enroll.listener", quote(e.Listener), "is off (bind: []), so that its certificates are not read. Name one that is open.")
		}
	}
	if l.origins["enroll.claims"].written() && len(e.Claims) > 0 && len(e.Bind) == 0 && !l.problems.about("enroll.bind") {
		l.wrong("enroll.claims", "", "have no effect while enroll.bind is empty: nobody can show a claim certificate anywhere. Set enroll.bind.")
	}
	for i := range e.Claims {
		key := fmt.Sprintf("enroll.claims[%d]", i)
		if _, err := e.Claims[i].NamesPattern(); err != nil && !l.problems.about(key+".names") {
			l.wrong(key+".names", quote(e.Claims[i].Names), "is no regular expression: %v.", err)
		}
		for name, ln := range c.Listeners {
			for _, ca := range ln.TLS.ClientCA {
				if ca == e.Claims[i].CA && !l.problems.about(key+".ca") {
					l.wrong(key+".ca", quotePath(ca), "is a client_ca of listeners.%s, too, where a claim certificate would be a client. Use a CA that issues claim certificates and nothing else.", name)
				}
			}
		}
	}
}
