package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/redoubtmq/redoubt/internal/datadir"
	"github.com/redoubtmq/redoubt/store"
	"github.com/redoubtmq/redoubt/store/local"
)

// storeReport is a report of the log in words, for somebody who was woken by it.
// What it found is in storefindings.go.
type storeReport struct {
	*local.Report
	folder string
	flags  string // of the commands it offers
}

// whole tells that nothing which was acknowledged is damaged or missing.
func (s *storeReport) whole() bool {
	return len(s.Quarantined)+len(s.Losses)+len(s.Unknown) == 0 && !s.Bare
}

// writeCheck is what redoubt store check says.
func (s *storeReport) writeCheck(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintf(w, "log\t%s\n", s.folder)
	if s.Segments > 0 {
		fmt.Fprintf(w, "format\t%d\n", s.Format)
	}
	fmt.Fprintf(w, "size\t%s, %s\n", count(int64(s.Segments), "segment"), sizeText(s.Bytes))
	fmt.Fprintf(w, "records\t%s\n", s.recordsText())
	if s.Newest != 0 {
		fmt.Fprintf(w, "written\t%s\n", spanText(s.Oldest, s.Newest, " to "))
	}
	switch {
	case s.Segments == 0:
	case s.Clean:
		fmt.Fprint(w, "last run\tclosed in order\n")
	default:
		fmt.Fprint(w, "last run\tnot closed in order: the broker was killed, or the power went\n")
	}
	if err := w.Flush(); err != nil {
		return err
	}
	var b strings.Builder
	for _, p := range s.findings() {
		b.WriteString("\n" + p)
	}
	b.WriteString("\n" + s.verdict())
	_, err := io.WriteString(out, b.String())
	return err
}

// writeRepair is what redoubt store repair says.
func (s *storeReport) writeRepair(out io.Writer, dry bool) error {
	var b strings.Builder
	acts := s.acts(dry)
	switch {
	case len(acts) == 0:
		fmt.Fprintf(&b, "There is nothing to repair in %s.\n", s.folder)
	case dry:
		fmt.Fprintf(&b, "Nothing was changed. A start of the broker, or redoubt store repair%s, does this in\n%s:\n", s.flags, s.folder)
	default:
		fmt.Fprintf(&b, "Repaired %s:\n", s.folder)
	}
	for _, p := range append(acts, s.missing(false)...) {
		b.WriteString("\n" + p)
	}
	switch lost, most := s.lost(); {
	case s.Segments == 0:
		b.WriteString("\nThe log is empty.")
	case lost > 0:
		fmt.Fprintf(&b, "\n%s missing; %s can be read.", capital(amount(lost, most)), count(s.Records, "record"))
	default:
		fmt.Fprintf(&b, "\nNothing that was acknowledged is missing; %s can be read.", count(s.Records, "record"))
	}
	if !dry && !s.Bare && len(s.Unknown) == 0 {
		b.WriteString(" The broker can start.")
	}
	_, err := io.WriteString(out, b.String()+"\n")
	return err
}

// verdict is what a check ends with: how it is, and what to do now.
func (s *storeReport) verdict() string {
	lost, most := s.lost()
	fresh := len(s.Quarantined) > 0
	for _, l := range s.Losses {
		fresh = fresh || !l.Earlier
	}
	switch {
	case s.Bare:
		return "The log is empty, and only right if no broker has ever stored anything here.\n"
	case s.Segments == 0:
		return "The log is empty: no broker has stored anything here.\n"
	case s.whole():
		return "No damage: everything that was acknowledged is there.\n"
	case fresh:
		return fmt.Sprintf("Damage: %s missing; %s can be read.\n"+
			"A record is a message that is kept for a session or retained, or a change of a session, such as a subscription.\n\n", amount(lost, most), count(s.Records, "record")) + s.advice()
	case lost > 0:
		return fmt.Sprintf("No new damage. %s missing since an earlier repair.\n", capital(amount(lost, most)))
	}
	return "No damage, but records that this program cannot read.\n"
}

// advice is what to do about new damage.
func (s *storeReport) advice() string {
	last := "Otherwise start the broker: it goes on without what is missing."
	if len(s.Quarantined) > 0 {
		last = fmt.Sprintf("Otherwise:  redoubt store repair%s   (a start of the broker does the same)", s.flags)
	}
	return fmt.Sprintf("What to do\n"+
		"  1. Leave the broker stopped and copy the folder:  cp -a %s /ANOTHER/DISK/\n"+
		"  2. Ask the disk (dmesg, smartctl -a): one that lost this loses more.\n"+
		"  3. A segment does not change any more once there is a later one. If a backup or a snapshot has the file that is\n"+
		"     damaged or gone, put that in its place and check again.\n"+
		"  4. %s\n"+
		"%s has more.\n", datadir.Quote(s.folder), last, storePage)
}

// lost is how many records are missing; most tells that it may be fewer.
func (s *storeReport) lost() (n int64, most bool) {
	for _, l := range s.Losses {
		n += records(l.Range)
		most = most || l.AtMost
	}
	return n, most
}

func (s *storeReport) recordsText() string {
	if s.Last < s.First {
		return "none"
	}
	return fmt.Sprintf("%d, numbers %d to %d", s.Records, s.First, s.Last)
}

func records(r store.Range) int64 { return int64(r.Last-r.First) + 1 } //nolint:gosec // below 2^62

// amount begins a sentence about records that are missing.
func amount(n int64, most bool) string {
	switch {
	case n == 0:
		return "no record is"
	case most:
		return fmt.Sprintf("at most %d records are", n)
	}
	return count(n, "record is", "records are")
}

// count is a number with its word; the plural has an s if none is given.
func count(n int64, one string, many ...string) string {
	switch {
	case n == 1:
		return "1 " + one
	case len(many) > 0:
		return fmt.Sprintf("%d %s", n, many[0])
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// capital begins a sentence.
func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func timeText(ms int64) string {
	return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05 UTC")
}

// spanText is two times; a day that is the same is said once.
func spanText(from, to int64, between string) string {
	a, b := timeText(from), timeText(to)
	day := len("2006-01-02 ")
	if a == b {
		return a
	}
	if a[:day] == b[:day] {
		b = b[day:]
	}
	return strings.TrimSuffix(a, " UTC") + between + b
}
