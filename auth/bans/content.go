package bans

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// A ban in the log is a name, which is its key, and JSON: 100,000 are read in a fraction of
// a second, and a person can read one.

// contentVersion is the form of the JSON. Another one is refused, never guessed.
const contentVersion = 1

type content struct {
	Version  int    `json:"v"`
	As       string `json:"as"`
	Who      string `json:"who"`
	Identity string `json:"identity,omitempty"`
	By       string `json:"by,omitempty"`
	Reason   string `json:"reason,omitempty"`
	At       int64  `json:"at"`
	Until    int64  `json:"until,omitempty"`
}

// name is the key of the record. No text of a ban holds a zero byte.
func (b *Ban) name() string { return b.As.String() + "\x00" + b.Identity + "\x00" + b.Who }

func (b *Ban) encode() []byte {
	out, err := json.Marshal(content{contentVersion, b.As.String(), b.Who, b.Identity, b.By, b.Reason, b.At, b.Until})
	if err != nil {
		panic("BUG: bans: a ban that is no JSON: " + err.Error())
	}
	return out
}

func decode(b []byte) (*Ban, error) {
	var c content
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return nil, err
	}
	if c.Version != contentVersion {
		return nil, fmt.Errorf("its form is %d and this version reads %d", c.Version, contentVersion)
	}
	as, err := ParseAs(c.As)
	if err != nil {
		return nil, err
	}
	ban := &Ban{As: as, Who: c.Who, Identity: c.Identity, By: c.By, Reason: c.Reason, At: c.At, Until: c.Until}
	return ban, ban.Check()
}

// Infinity is how EMQX writes the end of a ban that has none.
const Infinity = "infinity"

// UntilText is an end as export and API have it.
func UntilText(until int64) string {
	if until == 0 {
		return Infinity
	}
	return TimeText(until)
}

// TimeText is a time as export and API have it.
func TimeText(at int64) string { return time.Unix(at, 0).UTC().Format(time.RFC3339) }

// ParseUntil reads an end: a time of RFC 3339, or infinity or nothing for none.
func ParseUntil(s string) (int64, error) {
	if s == "" || s == Infinity {
		return 0, nil
	}
	return parseTime("until", s)
}

func parseTime(what, s string) (int64, error) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Unix() <= 0 {
		return 0, fmt.Errorf("%s is %s, which is no time; write it as 2027-03-31T12:00:00Z", what, shown(s))
	}
	return t.Unix(), nil
}
