package harden

import (
	"fmt"
	"strings"
)

// One scope of a row may have a fault that a program mends beside one that only a person can:
// which is which is kept, so that the words for the second are not lost behind the steps for
// the first.

// doneBy is what the wants of an inquiry take care of.
type doneBy struct {
	seen  map[int]bool    // observations, by number
	words map[string]bool // of what would help
}

// want adds a change to what would help with what was seen last.
func (q *inquiry) want(w Want) {
	q.wants = append(q.wants, w)
	if q.done.seen == nil {
		q.done.seen = map[int]bool{}
	}
	q.done.seen[len(q.obs)-1] = true
}

// mend adds words for what would help with what was seen last, and the changes that do the same.
// Where there is none, neither here nor by want before it, the words are for a person alone.
func (q *inquiry) mend(words string, wants ...Want) {
	for _, w := range wants {
		q.want(w)
	}
	if words == "" {
		return
	}
	if q.done.seen[len(q.obs)-1] {
		q.mended(words)
	} else {
		q.fixes = append(q.fixes, words)
	}
}

// mended adds words for what changes do that were added before.
func (q *inquiry) mended(words string) {
	q.fixes = append(q.fixes, words)
	if q.done.words == nil {
		q.done.words = map[string]bool{}
	}
	q.done.words[words] = true
}

// leftMost bounds what is named of it.
const leftMost = 8

// left is what no want helps, where others do something.
func (q *inquiry) left() (findings []string, fix string) {
	if len(q.wants) == 0 {
		return nil, ""
	}
	more := 0
	for i := range q.obs {
		o := &q.obs[i]
		if o.State != Fail && o.State != Warn || q.done.seen[i] {
			continue
		}
		if len(findings) == leftMost {
			more++
			continue
		}
		findings = append(findings, o.What+": "+o.Actual)
	}
	if more > 0 {
		findings = append(findings, fmt.Sprintf("and %d more, which redoubt doctor --evidence shows", more))
	}
	var words []string
	for _, f := range q.fixes {
		if !q.done.words[f] && !strings.HasPrefix(f, dropInHead) { // that command is of wants alone
			words = append(words, f)
		}
	}
	if len(findings) == 0 && len(words) > 0 { // such as one that belongs to all of it
		return []string{}, strings.Join(words, " && ")
	}
	return findings, strings.Join(words, " && ")
}
