package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/internal/memory"
)

// notLooked stands where the broker has not looked yet, which it does a few seconds after it
// has started: what is not known must not look like nothing.
const notLooked = "not looked at yet"

// printStoreStatus says how the log is and who holds its oldest record.
func printStoreStatus(w io.Writer, s *admin.StoreStatus) {
	if s.Failed != "" {
		fmt.Fprintf(w, "store\tFAILED: %s\n", s.Failed)
	}
	if s.Refuses != "" {
		fmt.Fprintf(w, "store\tREFUSES publishes that must be stored: %s\n", s.Refuses)
	}
	fmt.Fprintf(w, "store\t%s of %s in %d files, records %d to %d\n", memory.Text(s.Bytes+s.RescuedBytes), memory.Text(s.MaxBytes), s.Segments, s.First, s.Last)
	free := notLooked
	if s.Free != nil {
		free = memory.Text(*s.Free) + " free"
	}
	fmt.Fprintf(w, "store disk\t%s\n", free)
	writes := "none since the start"
	if x := &s.Writes; x.Commits > 0 {
		writes = fmt.Sprintf("%d, %.1f records and %.1f ms each on average, %d took longer than 100 ms", x.Commits, float64(x.Records)/float64(x.Commits), float64(x.AverageMicros)/1000, x.SlowerThanAHundred)
	}
	fmt.Fprintf(w, "store writes\t%s\n", writes)
	index := notLooked
	if x := s.Index; x != nil {
		index = fmt.Sprintf("about: postings %s, sessions %s, retained %s, values %s, rescued %s", sizeText(x.Postings), sizeText(x.Sessions), sizeText(x.Retained), sizeText(x.Values), sizeText(x.Rescued))
	}
	fmt.Fprintf(w, "store index\t%s\n", index)
	if s.Rescued > 0 {
		fmt.Fprintf(w, "rescued\t%d messages, %s, which the log had no more room for\n", s.Rescued, memory.Text(s.RescuedBytes))
	}
	if s.Lag == nil || s.Behind == nil || s.Away == nil || s.Groups == nil || s.Oldest == nil {
		fmt.Fprintf(w, "behind\t%s\noldest wanted\t%s\n", notLooked, notLooked)
		return
	}
	printBehind(w, s)
}

// printBehind says for whom messages wait in the log, of a status that knows.
func printBehind(w io.Writer, s *admin.StoreStatus) {
	if *s.Behind+*s.Groups == 0 {
		fmt.Fprintf(w, "behind\tnobody\n")
	}
	if n := *s.Behind - *s.Away; n > 0 {
		fmt.Fprintf(w, "behind\t%d sessions with a client: %d messages, %s\n", n, s.Lag.ConnectedMessages, memory.Text(s.Lag.ConnectedBytes))
	}
	if *s.Away > 0 {
		fmt.Fprintf(w, "behind\t%d sessions that are away: %d messages, %s\n", *s.Away, s.Lag.AwayMessages, memory.Text(s.Lag.AwayBytes))
	}
	if *s.Groups > 0 {
		fmt.Fprintf(w, "behind\t%d shared subscriptions: %d messages, %s\n", *s.Groups, s.Lag.SharedMessages, memory.Text(s.Lag.SharedBytes))
	}
	switch {
	case *s.Oldest == 0:
		fmt.Fprintf(w, "oldest wanted\tnone\n")
	case s.Identity == "" && strings.HasPrefix(s.ClientID, "$share/"):
		fmt.Fprintf(w, "oldest wanted\trecord %d, by the shared subscription %s\n", *s.Oldest, plain(s.ClientID))
	default:
		fmt.Fprintf(w, "oldest wanted\trecord %d, by client %s of %s\n", *s.Oldest, plain(s.ClientID), plain(s.Identity))
	}
}
