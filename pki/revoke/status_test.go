package revoke

import (
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"
)

// TestWhatIsNoAnswer: the page of a portal is said to be one, and not described as broken ASN.1.
func TestWhatIsNoAnswer(t *testing.T) {
	for what, b := range map[string][]byte{"a portal": []byte("<html>please log in"), "nothing": nil} {
		_, err := ParseStatus(b, big.NewInt(10), nil, noon, time.Hour)
		if !errors.Is(err, ErrForged) || !strings.Contains(err.Error(), "no OCSP answer") || strings.Contains(err.Error(), "asn1") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
