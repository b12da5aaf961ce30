// Package bans answers "is this client, or this address, shut out?". A ban names a
// client identifier, a user, an address, a network, or a pattern of the first two; it
// says who made it, why, when and until when. Bans of operators are kept by a Keeper and
// survive a restart; those of the bans file are read-only; those of flapping clients are
// in memory and short.
//
// It opens no file and no socket and starts no goroutine. What it is asked of a client is
// asked after the client has proved who it is: by the name alone nobody is shut out, so
// that nobody is shut out by somebody who only knows the name.
//
// Rules: names and shapes of EMQX's /api/v5/banned; checklist row P4.x; attacks A058, A126.
package bans

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"regexp/syntax"
	"strings"
	"time"
	"unicode/utf8"
)

// As is what a ban goes by.
type As uint8

// The kinds of bans, in the order in which they are listed.
const (
	ClientID As = iota
	Username
	Peerhost
	PeerhostNet
	ClientIDRe
	UsernameRe
	asEnd
)

// Names are EMQX's words for the kinds, by their number.
var Names = [asEnd]string{"clientid", "username", "peerhost", "peerhost_net", "clientid_re", "username_re"}

// String is the kind's name.
func (a As) String() string { return Names[a] }

// ParseAs reads the name of a kind.
func ParseAs(s string) (As, error) {
	for i, n := range Names {
		if s == n {
			return As(i), nil
		}
	}
	return 0, fmt.Errorf("%s is no kind of ban; there are %s", shown(s), strings.Join(Names[:], ", "))
}

const (
	// Max is how many bans a Keeper may have, and how many a file: 100,000 take some 30 MB.
	Max = 100_000
	// PatternsMax is how many patterns each of the two may have. An address costs the same
	// whatever there is; a pattern is tried on every client that has proved who it is, in
	// some ten nanoseconds if it begins with ^ and a text, and in microseconds if it begins
	// with .* and finds much to try.
	PatternsMax = 1000
	// WhoBytesMax bounds a name, in bytes, so that Max of them are 100 MB at the worst and
	// not the 6.5 GB that limits.client_id_bytes could let in. A client with a longer
	// identifier is banned by its user or by a pattern.
	WhoBytesMax = 1024
	// PatternBytesMax bounds a pattern, in bytes, and patternInstructions what it compiles
	// to: the time to try one is at most that times the length of what it is tried on.
	PatternBytesMax     = 256
	patternInstructions = 2000
	// InstructionsMax bounds what the patterns of each of the two compile to together: an
	// instruction takes some 350 bytes, so that is 18 MB. A thousand patterns have it with
	// fifty each, of which a letter is one and x{900} is nine hundred.
	InstructionsMax = 50_000
	// TextBytesMax bounds a reason and who made the ban, in bytes.
	TextBytesMax = 512
)

// Ban shuts somebody out.
type Ban struct {
	As       As
	Who      string       // in the one form that Check gives it
	Identity string       // with ClientID: of this identity only; empty: of any
	From     netip.Prefix // of a flapping client: when it comes from here; else zero
	By       string       // who made it
	Reason   string       // may be empty
	At       int64        // when, Unix seconds
	Until    int64        // its end, Unix seconds; 0: none

	re   *regexp.Regexp // of a pattern; nil until it was checked
	size int            // instructions of it
}

// key is what there is only one ban of.
type key struct {
	as            As
	who, identity string
}

func (b *Ban) key() key { return key{b.As, b.Who, b.Identity} }

// Over tells whether the ban has ended.
func (b *Ban) Over(now time.Time) bool { return b.Until != 0 && now.Unix() >= b.Until }

// What is refused for being there, or not.
var (
	ErrUnknown   = errors.New("there is no such ban")
	ErrAmbiguous = errors.New("several bans fit")
	ErrFile      = errors.New("the ban belongs to the bans file")
	ErrFull      = errors.New("there are as many bans as there can be")
)

// Check gives b its one form, or says what is wrong with it: an address without a zone
// and not in the form of IPv4 within IPv6, a network without bits beside it, a pattern
// that compiles.
func (b *Ban) Check() error {
	switch {
	case b.Who == "":
		return errors.New("who is empty: name somebody")
	case b.Identity != "" && b.As != ClientID:
		return errors.New("identity goes with clientid only")
	case len(b.Who) > WhoBytesMax || len(b.Identity) > WhoBytesMax:
		return fmt.Errorf("a name has %d bytes, at most %d are taken, so that %d bans fit into memory; ban the user, or the beginning of the name as a pattern such as ^pump-",
			max(len(b.Who), len(b.Identity)), WhoBytesMax, Max)
	case len(b.Reason) > TextBytesMax || len(b.By) > TextBytesMax:
		return fmt.Errorf("a text has more than %d bytes", TextBytesMax)
	case b.Until < 0, b.At < 0:
		return errors.New("a time before 1970")
	}
	for _, s := range []string{b.Who, b.Identity, b.Reason, b.By} {
		if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
			return errors.New("a text is not UTF-8, or holds a zero byte")
		}
	}
	switch b.As {
	case Peerhost:
		a, err := netip.ParseAddr(b.Who)
		if err != nil {
			return fmt.Errorf("%s is no address; a network is banned as %s", shown(b.Who), PeerhostNet)
		}
		b.Who = plain(a).String()
	case PeerhostNet:
		return b.checkNet()
	case ClientIDRe, UsernameRe:
		return b.compile()
	}
	return nil
}

func (b *Ban) checkNet() error {
	p, err := netip.ParsePrefix(b.Who)
	if err != nil {
		return fmt.Errorf("%s is no network; write it as 192.0.2.0/24 or 2001:db8::/32", shown(b.Who))
	}
	if p.Masked() != p {
		return fmt.Errorf("%s has bits beyond its length; the network is %s", shown(b.Who), p.Masked())
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return fmt.Errorf("%s: write IPv4 networks as IPv4", shown(b.Who))
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	b.Who = p.String()
	return nil
}

func (b *Ban) compile() error {
	if len(b.Who) > PatternBytesMax {
		return fmt.Errorf("the pattern has %d bytes, at most %d are taken", len(b.Who), PatternBytesMax)
	}
	tree, err := syntax.Parse(b.Who, syntax.Perl)
	if err != nil {
		return fmt.Errorf("%s is no regular expression (RE2): %s", shown(b.Who), strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil || len(prog.Inst) > patternInstructions {
		return fmt.Errorf("%s is too large for a pattern that every client is judged by; shorten its repetitions", shown(b.Who))
	}
	b.size = len(prog.Inst)
	b.re, err = regexp.Compile(b.Who)
	return err
}

// tooLarge says that patterns have so many instructions together.
func tooLarge(n int) string {
	return fmt.Sprintf("the patterns have %d instructions together, the most is %d, because they stay in memory; shorten repetitions such as x{900}, or ban by fewer patterns", n, InstructionsMax)
}

// Broad says why a ban would hit nearly everybody, or the operator's own machine, which
// nobody should do by a slip; empty: it would not. b was checked.
func (b *Ban) Broad() string {
	switch b.As {
	case Peerhost:
		if a := netip.MustParseAddr(b.Who); a.IsLoopback() && (a == localhost4 || a == localhost6) {
			return "it is this machine's own address"
		}
	case PeerhostNet:
		p := netip.MustParsePrefix(b.Who)
		least := 8
		if p.Addr().Is6() {
			least = 16
		}
		switch {
		case p.Bits() == 0:
			return "it is every address"
		case p.Contains(localhost4) || p.Contains(localhost6):
			return "it holds this machine's own address " + localhost4.String() + " or " + localhost6.String()
		case p.Bits() < least:
			return fmt.Sprintf("it is wider than a /%d", least)
		}
	case ClientIDRe, UsernameRe:
		for _, probe := range probes {
			if !b.re.MatchString(probe) {
				return ""
			}
		}
		return "it matches every name"
	}
	return ""
}

var (
	localhost4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	localhost6 = netip.IPv6Loopback()
	// probes have no character in common, so that what matches all of them matches anything.
	probes = []string{"q7", "Zk-0123", "äø", "wxy:/.@ 89"}
)

// plain is an address as bans compare it: IPv4 inside IPv6 is IPv4, and a zone is no part
// of it.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// shown keeps what somebody wrote short.
func shown(s string) string {
	if len(s) > 80 {
		return fmt.Sprintf("%q...", s[:80])
	}
	return fmt.Sprintf("%q", s)
}
