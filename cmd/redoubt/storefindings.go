package main

import (
	"fmt"
	"strings"

	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/local"
)

// A disk that goes has thousands of bad places; people read the first few, and
// programs all of them (-o json).
const (
	placesShown = 5
	lossesShown = 20 // of one segment
)

// findings are paragraphs that each begin with one word, the worst first.
func (s *storeReport) findings() []string {
	var out []string
	for i := range s.Quarantined {
		out = append(out, s.damaged(&s.Quarantined[i], true))
	}
	out = append(out, s.missing(true)...)
	out = append(out, s.cut(true)...)
	out = append(out, s.tidied(true)...)
	return append(out, s.notes()...)
}

// acts are paragraphs on what a start does to the files; future if it has not yet.
func (s *storeReport) acts(future bool) []string {
	var out []string
	for i := range s.Quarantined {
		out = append(out, s.damaged(&s.Quarantined[i], future))
	}
	out = append(out, s.cut(future)...)
	out = append(out, s.tidied(future)...)
	if !s.Clean {
		out = append(out, "CLOSE    "+tense(future, "The end of the log is written to the disk once more and closed.\n", "The end of the log was written to the disk once more and closed.\n"))
	}
	return out
}

// damaged is one segment of which something is not what was written.
func (s *storeReport) damaged(q *local.Quarantine, future bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "DAMAGED  %s: %s\n", q.Segment, placesText(q.Places))
	if len(q.Missing) == 0 {
		b.WriteString("  Lost: nothing. There was no record in it.\n")
	}
	b.WriteString(s.lostLines(q.Segment, ", known since an earlier repair"))
	if future {
		fmt.Fprintf(&b, "  The next start keeps this file as %s\n  and goes on with every record that can be read.\n", q.Aside)
	} else {
		fmt.Fprintf(&b, "  This file is now %s;\n  in its place is one with every record that can be read.\n", q.Aside)
	}
	return b.String()
}

func placesText(places []local.Place) string {
	if len(places) == 1 {
		return fmt.Sprintf("%s at offset %d are not what was written", count(places[0].Bytes, "byte"), places[0].Offset)
	}
	s := fmt.Sprintf("%d places are not what was written", len(places))
	for i, p := range places {
		if i == placesShown {
			return s + fmt.Sprintf("\n    and %d more", len(places)-i)
		}
		s += fmt.Sprintf("\n    %s at offset %d", count(p.Bytes, "byte"), p.Offset)
	}
	return s
}

// missing are records whose segment is not damaged now, those that nobody
// understands, and perhaps all. Without earlier, what an earlier run has said is left
// out.
func (s *storeReport) missing(earlier bool) (out []string) {
	said := make(map[string]bool)
	for _, q := range s.Quarantined {
		said[q.Segment] = true
	}
	for _, l := range s.Losses {
		if said[l.Segment] || l.Earlier && !earlier {
			continue
		}
		said[l.Segment] = true
		why := "It ends too early: its end was cut off, or segments after it were deleted."
		if l.Earlier {
			why = "Known since an earlier repair or start, which put the damaged file aside."
		}
		out = append(out, fmt.Sprintf("MISSING  %s\n%s  %s\n", l.Segment, s.lostLines(l.Segment, ""), why))
	}
	for _, u := range s.Unknown {
		out = append(out, fmt.Sprintf("UNKNOWN  %s: the batch at offset %d is as it was written, and this program cannot read it\n  (%v).\n"+
			"  A newer program wrote it, or a broken one. The broker stops there: start the newer program.\n", u.Segment, u.Offset, u.Err))
	}
	if s.Bare {
		out = append(out, "EMPTIED  There is a log.id and no segment: somebody removed the segments, or the very first write failed.\n"+
			"  If there were any, put them back before a broker starts: it would begin with number 1 again.\n")
	}
	return out
}

// lostLines are what one segment has lost, a line each, with a word on those that
// are no news.
func (s *storeReport) lostLines(segment, old string) string {
	var b strings.Builder
	n, atMost := 0, false
	for i := range s.Losses {
		l := &s.Losses[i]
		if l.Segment != segment {
			continue
		}
		if n++; n <= lossesShown {
			fmt.Fprintf(&b, "  Lost: %s%s\n", lossText(l), tense(l.Earlier, old, ""))
		}
		atMost = atMost || l.AtMost
	}
	if n > lossesShown {
		fmt.Fprintf(&b, "  Lost: and %d ranges more (-o json has them all)\n", n-lossesShown)
	}
	if atMost {
		b.WriteString("  Most likely far fewer: nobody knows where it ended, so every number that it could have had counts.\n")
	}
	return b.String()
}

// lossText says which records are lost and when they were written.
func lossText(l *local.Loss) string {
	s := "record " + l.Range.String()
	if n := records(l.Range); n > 1 {
		s = fmt.Sprintf("records %s (%d)", l.Range, n)
	}
	switch {
	case l.After != 0 && l.Before != 0 && timeText(l.After) == timeText(l.Before):
		s += ", written at " + timeText(l.After)
	case l.After != 0 && l.Before != 0:
		s += ", written between " + spanText(l.After, l.Before, " and ")
	case l.After != 0:
		s += ", written after " + timeText(l.After)
	case l.Before != 0:
		s += ", written before " + timeText(l.Before)
	}
	return s
}

// cut is the end of the newest segment that a start cuts off.
func (s *storeReport) cut(future bool) []string {
	then := tense(future, "The next start cuts that off.", "That was cut off.")
	switch {
	case s.CutBytes == 0:
		return nil
	case s.Clean:
		return []string{fmt.Sprintf("CUT      %s: %s after its end, where no broker writes. %s\n", s.CutSegment, count(s.CutBytes, "byte"), then)}
	}
	return []string{fmt.Sprintf("CUT      %s: its last %s are a write that was not finished.\n"+
		"  Nothing acknowledged is in it: whoever sent it was not told that it is stored, and sends it again.\n  %s\n", s.CutSegment, count(s.CutBytes, "byte"), then)}
}

// tidied are files of something that was interrupted.
func (s *storeReport) tidied(future bool) (out []string) {
	for _, n := range s.Tidied {
		out = append(out, fmt.Sprintf("TIDY     %s: left by a start or a write that was interrupted.\n  %s\n", n,
			tense(future, "The next start finishes or removes it.", "It was finished or removed.")))
	}
	return out
}

// notes are what only explains.
func (s *storeReport) notes() (out []string) {
	if n := s.leftOut(); n > 0 {
		out = append(out, fmt.Sprintf("NOTE     %s never given out, and nothing is missing there: after a crash a start\n"+
			"  leaves some out, so that none is used twice.\n", count(n, "number was", "numbers were")))
	}
	for _, n := range s.Aside {
		out = append(out, fmt.Sprintf("NOTE     %s was put aside earlier and is never read again.\n"+
			"  Delete it when nobody needs it any more.\n", n))
	}
	return out
}

// leftOut is how many numbers have no record and never had one.
func (s *storeReport) leftOut() int64 {
	lost, _ := s.lost()
	return records(store.Range{First: s.First, Last: s.Last}) - s.Records - lost
}

// tense is what a start will do, or did.
func tense(future bool, will, did string) string {
	if future {
		return will
	}
	return did
}
