package tokens

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// contentVersion is the form of the JSON that is kept. Another one is refused, never guessed.
const contentVersion = 1

type content struct {
	Version int    `json:"v"`
	As      string `json:"as"`
	Who     string `json:"who"`
	Before  int64  `json:"before,omitempty"`
	By      string `json:"by,omitempty"`
	Reason  string `json:"reason,omitempty"`
	At      int64  `json:"at"`
	Until   int64  `json:"until,omitempty"`
}

// name is what a Keeper calls it. No text of it holds a zero byte.
func (r *Revocation) name() string { return r.As + "\x00" + r.Who }

func (r *Revocation) encode() []byte {
	b, err := json.Marshal(content{contentVersion, r.As, r.Who, r.Before, r.By, r.Reason, r.At, r.Until})
	if err != nil {
		panic("BUG: tokens: a revocation that is no JSON: " + err.Error())
	}
	return b
}

func decode(b []byte) (*Revocation, error) {
	var c content
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return nil, err
	}
	if c.Version != contentVersion {
		return nil, fmt.Errorf("its form is %d and this version reads %d", c.Version, contentVersion)
	}
	r := &Revocation{As: c.As, Who: c.Who, Before: c.Before, By: c.By, Reason: c.Reason, At: c.At, Until: c.Until}
	return r, r.Check()
}
