package builtin

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/redoubtmq/redoubt/internal/secret"
)

// NameBytesMax bounds a user name. Names are shown in logs and stand in topics.
const NameBytesMax = 256

// A chosen password has 8 to 1024 bytes: NIST SP 800-63B's floor, and a ceiling
// that is far above any pass phrase.
const (
	PasswordBytesMin = 8
	PasswordBytesMax = 1024
)

// CheckName says why a user cannot have this name, or nil.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("a user needs a name")
	case len(name) > NameBytesMax:
		return fmt.Errorf("a user name has at most %d bytes, this one has %d", NameBytesMax, len(name))
	case !utf8.ValidString(name):
		return errors.New("a user name is UTF-8 text")
	case strings.ContainsAny(name, "+#/"):
		return fmt.Errorf("user name %q holds one of + # /: the rules could never expand ${username} for it; use another character, such as - or _", name)
	case name[0] == '$':
		return fmt.Errorf("user name %q starts with $: the rules never expand ${username} for it, because $ marks reserved topics; use another first character", name)
	case strings.TrimSpace(name) != name:
		return fmt.Errorf("user name %q starts or ends with a space; leave it out", name)
	}
	for _, r := range name {
		// Invisible characters make two names that look the same, and some turn the
		// direction of the log line they stand in.
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return fmt.Errorf("user name %q holds the invisible character %U; leave it out", name, r)
		}
	}
	return nil
}

// checkPassword says why a person cannot choose this password. It never shows it.
func checkPassword(p secret.Value) error {
	b := p.Reveal()
	switch {
	case len(b) == 0:
		return errors.New("the password is empty; leave it out to have a secret generated")
	case len(b) < PasswordBytesMin:
		return fmt.Errorf("the password has fewer than %d bytes; choose a longer one, or leave it out to have a secret generated", PasswordBytesMin)
	case len(b) > PasswordBytesMax:
		return fmt.Errorf("the password has more than %d bytes; choose a shorter one, or leave it out to have a secret generated", PasswordBytesMax)
	case generatedForm(b):
		// Nobody has looked at how it was made, and the cheap hash is safe only for
		// 160 random bits.
		return errors.New("the password has the form of a generated secret; leave it out to have a new one generated")
	}
	return nil
}
