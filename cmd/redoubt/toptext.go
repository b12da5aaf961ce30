package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/limit/top"
)

// For how many of one measure there are commands, and which part of all they must have at
// least, there and where each measure is shown.
const (
	topSuggested = 3
	topShare     = 0.05
	topShareEach = 0.25
)

// printTop shows a report to a person.
func printTop(w io.Writer, r *admin.TopReport, q *admin.TopQuery) error {
	var quiet []string
	var lists []*admin.TopList
	for i := range r.Lists {
		if l := &r.Lists[i]; len(l.Rows) > 0 {
			lists = append(lists, l)
		} else {
			quiet = append(quiet, l.Measure)
		}
	}
	fmt.Fprintf(w, "each second, over the last %.0f s\n", r.WindowSeconds)
	if len(lists) > 0 {
		table := newRows(w, false, "MEASURE", "OF ALL", "EACH SECOND", "SHARE", "CLIENT", "USER", "ADDRESS", "LISTENER")
		for _, l := range lists {
			for i := range l.Rows {
				if err := table.add(nil, topCells(l, &l.Rows[i])...); err != nil {
					return err
				}
			}
		}
		if err := table.end(true); err != nil {
			return err
		}
	}
	if len(quiet) > 0 {
		fmt.Fprintf(w, "nothing: %s\n", strings.Join(quiet, ", "))
	}
	suggested, nameless := topCommands(lists, q.Measure == "")
	for _, c := range suggested {
		fmt.Fprintf(w, "\n%s\n", c.of)
		for _, command := range []string{c.look, c.ban} {
			if command != "" {
				fmt.Fprintf(w, "  %s\n", command)
			}
		}
	}
	if nameless > 0 {
		fmt.Fprintf(w, "\n%d of these have a name that no shell takes, or one that is not whole here; try --by user and --by network\n", nameless)
	}
	return nil
}

func topCells(l *admin.TopList, r *admin.TopRow) []string {
	number := figure
	if l.Measure == top.Bytes.String() || l.Measure == top.OutBytes.String() {
		number = func(f float64) string { return sizeText(int64(f)) }
	}
	share := func(f float64) string { return fmt.Sprintf("%.0f", math.Floor(f*100)) }
	client, user := r.ClientID, r.Username
	if user == "" {
		user = r.Identity
	}
	from := r.IPAddress
	switch {
	case r.Network != "" && !r.OneAddress():
		from = r.Network
	case r.Several:
		from += " and others"
	}
	if r.NameCut {
		client += "..."
	}
	return []string{l.Measure, number(l.PerSecond), bounds(number(r.PerSecondAtLeast), number(r.PerSecond)), bounds(share(r.ShareAtLeast), share(r.Share)) + " %",
		client, user, from, r.Listener}
}

// bounds is a figure with its bounds, if they differ.
func bounds(least, most string) string {
	if least == most {
		return most
	}
	return least + "-" + most
}

// figure is a number of things for a person.
func figure(f float64) string {
	switch {
	case f == 0:
		return "0"
	case f < 1:
		return strconv.FormatFloat(f, 'f', 2, 64)
	case f < 10:
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	s := strconv.FormatFloat(f, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// topCommand is what to do about somebody.
type topCommand struct{ of, look, ban string }

// topCommands are those for the first of each measure, each once, or for the first few of one
// measure, as far as they have enough of all.
func topCommands(lists []*admin.TopList, each bool) (list []topCommand, nameless int) {
	for _, l := range lists {
		for i := range l.Rows {
			r := &l.Rows[i]
			if each && (i > 0 || r.ShareAtLeast < topShareEach) || r.ShareAtLeast < topShare || i == topSuggested {
				break
			}
			if !pronounceable(r) {
				nameless++
				continue
			}
			of := l.Measure
			if !each {
				of = topName(r)
			}
			c := topCommand{of, lookCommand(l.By, r), banCommand(r.Ban)}
			if c.look == "" && c.ban == "" {
				continue
			}
			same := slices.IndexFunc(list, func(o topCommand) bool { return o.look == c.look && o.ban == c.ban })
			if same < 0 {
				list = append(list, c)
			} else {
				list[same].of += ", " + c.of
			}
		}
	}
	return list, nameless
}

// topName is somebody in a word: no name looks like one of the commands that are shown.
func topName(r *admin.TopRow) string {
	return word(plain(cmp.Or(r.ClientID, r.Username, r.Identity, r.Network)))
}

// lookCommand shows more of somebody.
func lookCommand(by string, r *admin.TopRow) string {
	switch {
	case by == top.ByClient.String():
		c := "redoubt clients show --identity " + word(r.Identity)
		if r.Mountpoint != "" {
			c += " --mountpoint " + word(r.Mountpoint)
		}
		return c + operands(r.ClientID)
	case by == top.ByUser.String() && r.Username != "":
		return "redoubt clients list --user " + word(r.Username)
	case by == top.ByNetwork.String() && r.IPAddress != "":
		from := r.IPAddress
		if !r.OneAddress() {
			from = r.Network
		}
		return "redoubt clients list --address " + from
	}
	return ""
}

// banCommand shuts somebody out for an hour, in which somebody may think.
func banCommand(b *admin.TopBan) string {
	if b == nil {
		return ""
	}
	c := "redoubt ban add --for 1h"
	if b.Identity != "" {
		c += " --identity " + word(b.Identity)
	}
	return c + operands(b.As, b.Who)
}

// operands are what follows the flags of a command.
func operands(names ...string) (s string) {
	for _, n := range names {
		if strings.HasPrefix(n, "-") {
			s = " --"
		}
	}
	for _, n := range names {
		s += " " + word(n)
	}
	return s
}

var unquoted = regexp.MustCompile(`^[A-Za-z0-9._@:/+-]+$`)

// word is a text as a shell takes it. Names are clients' to choose.
func word(s string) string {
	if unquoted.MatchString(s) {
		return s
	}
	return quoted(s)
}

// pronounceable tells whether the names of r can stand in a command that is shown.
func pronounceable(r *admin.TopRow) bool {
	return !r.NameCut && strings.IndexFunc(r.ClientID+r.Username+r.Identity+r.Mountpoint, steers) < 0
}

// trafficWords are what goes on in a line of redoubt status.
func trafficWords(t *admin.TrafficStatus) string {
	return fmt.Sprintf("each second %s messages in, %s out, %s connects, %s refused (redoubt top says who)",
		figure(t.MessagesIn), figure(t.MessagesOut), figure(t.Connects), figure(t.Refused))
}
