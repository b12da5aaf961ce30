package client

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/redoubtmq/redoubt/mqtt"
)

// Kind is the stable name of a failure: scripts and the JSON output may rely on
// it, while the words of an Error may improve.
type Kind string

// The kinds, in the order in which a connection meets them.
const (
	KindOptions     Kind = "options"     // the caller's settings contradict each other
	KindFile        Kind = "file"        // a certificate, key or payload file is missing or not what it should be
	KindResolve     Kind = "resolve"     // the host name has no address
	KindRefused     Kind = "refused"     // nothing listens at the port
	KindUnreachable Kind = "unreachable" // no way to the address
	KindTimeout     Kind = "timeout"     // no answer in time

	KindTLSOnPlaintextPort    Kind = "tls_on_plaintext_port"
	KindPlaintextOnTLSPort    Kind = "plaintext_on_tls_port"
	KindTLSHandshake          Kind = "tls_handshake" // no version or cipher suite in common, or an alert without a better name
	KindTLSUnknownCA          Kind = "tls_unknown_ca"
	KindTLSHostName           Kind = "tls_host_name"
	KindTLSExpired            Kind = "tls_expired"
	KindTLSNotYetValid        Kind = "tls_not_yet_valid"
	KindTLSCertificate        Kind = "tls_certificate" // the server's certificate is unusable for another reason
	KindTLSClientCertRequired Kind = "tls_client_certificate_required"
	KindTLSClientCertRefused  Kind = "tls_client_certificate_refused"

	KindNoConnack      Kind = "no_connack"      // closed before CONNACK, or something else came instead
	KindBadCredentials Kind = "bad_credentials" // CONNACK 0x86, or 4 before 5.0
	KindNotAuthorized  Kind = "not_authorized"  // CONNACK 0x87, or 5 before 5.0
	KindConnectRefused Kind = "connect_refused" // CONNACK with any other refusal

	KindPublishRefused   Kind = "publish_refused"
	KindSubscribeRefused Kind = "subscribe_refused"
	KindUnsupported      Kind = "unsupported"  // the server announced that it does not do this
	KindProtocol         Kind = "protocol"     // the server broke the rules
	KindDisconnected     Kind = "disconnected" // DISCONNECT from the server
	KindClosed           Kind = "closed"       // the connection ended without a word
	KindInterrupted      Kind = "interrupted"  // the caller gave up
)

// Exit codes of `redoubt pub` and `redoubt sub`. docs/cli-pub-sub.md promises
// them.
const (
	ExitOK            = 0
	ExitFailed        = 1
	ExitUsage         = 2
	ExitCannotConnect = 3
	ExitTLS           = 4
	ExitNotAuthorized = 5
	ExitTimeout       = 27 // -W ran out, as in mosquitto_sub
)

var exitCodes = map[Kind]int{
	KindOptions:               ExitUsage,
	KindResolve:               ExitCannotConnect,
	KindRefused:               ExitCannotConnect,
	KindUnreachable:           ExitCannotConnect,
	KindTimeout:               ExitCannotConnect,
	KindTLSOnPlaintextPort:    ExitCannotConnect,
	KindPlaintextOnTLSPort:    ExitCannotConnect,
	KindNoConnack:             ExitCannotConnect,
	KindTLSHandshake:          ExitTLS,
	KindTLSUnknownCA:          ExitTLS,
	KindTLSHostName:           ExitTLS,
	KindTLSExpired:            ExitTLS,
	KindTLSNotYetValid:        ExitTLS,
	KindTLSCertificate:        ExitTLS,
	KindTLSClientCertRequired: ExitTLS,
	KindTLSClientCertRefused:  ExitTLS,
	KindBadCredentials:        ExitNotAuthorized,
	KindNotAuthorized:         ExitNotAuthorized,
}

// Error is a failure told to a person: which check failed, the facts, and what
// to do about it. Words that came from the server are in it only after Printable.
type Error struct {
	Kind    Kind
	What    string          // one line, lower case, no full stop
	Details []string        // the facts: names, dates, what was presented
	Help    []string        // what to do, one step each
	Reason  mqtt.ReasonCode // what the server said; Success if it said nothing
	Err     error           // the cause, if there is one beneath
}

// Error is the failure in one line.
func (e *Error) Error() string { return e.What }

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// Text is the failure with its details and its help, one per line, without a
// newline at the end.
func (e *Error) Text() string {
	var b strings.Builder
	b.WriteString(e.What)
	for _, group := range [][]string{e.Details, e.Help} {
		for _, line := range group {
			b.WriteString("\n  ")
			b.WriteString(line)
		}
	}
	return b.String()
}

// MarshalJSON is the failure for a program.
func (e *Error) MarshalJSON() ([]byte, error) {
	var reason *int
	if e.Reason != mqtt.Success {
		reason = new(int(e.Reason))
	}
	return json.Marshal(struct {
		Kind     Kind     `json:"kind"`
		Message  string   `json:"message"`
		Details  []string `json:"details,omitempty"`
		Help     []string `json:"help,omitempty"`
		Reason   *int     `json:"reason_code,omitempty"`
		ExitCode int      `json:"exit_code"`
	}{e.Kind, e.What, e.Details, e.Help, reason, e.ExitCode()})
}

// ExitCode is the exit code this failure stands for: refusals for want of a
// permission or of the right credentials are told from all others, whichever
// packet carried them.
func (e *Error) ExitCode() int {
	switch e.Reason {
	case mqtt.NotAuthorized, mqtt.BadUserNameOrPassword, mqtt.BadAuthenticationMethod, mqtt.Banned:
		return ExitNotAuthorized
	}
	if code, ok := exitCodes[e.Kind]; ok {
		return code
	}
	return ExitFailed
}

// printableMax bounds what one foreign string may add to our output, in bytes.
const printableMax = 1024

// Printable makes a string that a peer chose safe to show: what could steer a
// terminal or forge a line of a log is replaced by its code, and the length is
// bounded.
func Printable(s string) string {
	cut := len(s) > printableMax
	if !cut && isPlain(s) {
		return s
	}
	if cut {
		n := printableMax
		for n > printableMax-utf8.UTFMax && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	b := AppendVisible(nil, []byte(s), "")
	if cut {
		b = append(b, "…"...)
	}
	return string(b)
}

func isPlain(s string) bool {
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// AppendVisible appends s with everything that is not printable replaced by its
// code, but for the characters in keep.
func AppendVisible(dst, s []byte, keep string) []byte {
	for len(s) > 0 {
		r, n := utf8.DecodeRune(s)
		switch {
		case r == utf8.RuneError && n == 1: // no UTF-8
			dst = fmt.Appendf(dst, `\x%02x`, s[0])
		case unicode.IsPrint(r) || strings.ContainsRune(keep, r):
			dst = append(dst, s[:n]...)
		case r < utf8.RuneSelf:
			dst = fmt.Appendf(dst, `\x%02x`, r)
		default:
			dst = fmt.Appendf(dst, `\u{%x}`, r)
		}
		s = s[n:]
	}
	return dst
}

// quote shows a foreign string in quotation marks.
func quote(s string) string { return `"` + Printable(s) + `"` }

// shellWord writes s so that a POSIX shell reads it back as one word: the
// commands we suggest are meant to be pasted.
func shellWord(s string) string {
	plain := s != ""
	for _, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/_-.:@%+=,", r)) {
			plain = false
			break
		}
	}
	if plain && s[0] != '-' {
		return s
	}
	return "'" + strings.ReplaceAll(Printable(s), "'", `'\''`) + "'"
}
