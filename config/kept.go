package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// ValueBytesMax bounds one value that is set at run time, in bytes. The longest that
// any key takes is a text of 1,024 characters.
const ValueBytesMax = 8 << 10

// Kept is one key that was set at run time, as the log keeps it.
type Kept struct {
	Key   string
	Value string    // as a variable has it: text, or YAML in one line
	At    time.Time // when; the zero time if not known
	UID   int       // of the user who did it; -1 if not known

	unread string // why the record cannot be read; then there is no value
}

// keptFormat is in every record. A record of another one is not guessed at.
const keptFormat = 1

// keptRecord is the content of a record. It is JSON, because there are few of them, and
// so that whoever finds one in a segment can read it.
type keptRecord struct {
	Format int       `json:"format"`
	Value  string    `json:"value"`
	At     time.Time `json:"at,omitzero"`
	UID    int       `json:"uid"`
}

// Content is what the log keeps under the key.
func (k *Kept) Content() []byte {
	b, err := json.Marshal(keptRecord{keptFormat, k.Value, k.At.UTC(), k.UID})
	if err != nil {
		panic("BUG: what is set at run time has no JSON: " + err.Error())
	}
	return b
}

// ReadKept reads a record. One that cannot be read is a Kept that With leaves out and
// says so: the file alone must always be enough for a start.
func ReadKept(key string, content []byte) Kept {
	var r keptRecord
	err := json.Unmarshal(content, &r)
	if err == nil && r.Format != keptFormat {
		err = fmt.Errorf("its format is %d, and this version reads %d", r.Format, keptFormat)
	}
	if err == nil && r.At.Year() > 9999 {
		err = errors.New("its time is none")
	}
	if err != nil {
		return Kept{Key: key, UID: -1, unread: "its record cannot be read: " + err.Error()}
	}
	return Kept{Key: key, Value: r.Value, At: r.At, UID: max(r.UID, -1)}
}

// origin is where the value comes from, with when and by whom.
func (k *Kept) origin() Origin {
	o := Origin{Kind: FromRunTime}
	if !k.At.IsZero() {
		o.Name = k.At.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	if k.UID >= 0 {
		if o.Name != "" {
			o.Name += " "
		}
		o.Name += fmt.Sprintf("by uid %d", k.UID)
	}
	return o
}
