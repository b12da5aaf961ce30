package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/redoubtmq/redoubt/admin"
	"github.com/redoubtmq/redoubt/auth/bans"
)

// bannedShown is how many bans of one client are told.
const bannedShown = 5

// orBanned adds to the answer that a client has no session which bans there are of it. Its
// user and its address are known from a session only, so bans of those are not found.
func orBanned(ctx context.Context, c *admin.Client, ref *admin.SessionRef, missing error) error {
	var p *admin.Problem
	if !errors.As(missing, &p) || p.Status != http.StatusNotFound {
		return missing
	}
	var lines []string
	more := 0
	tell := func(b *admin.BanInfo) error {
		if hitsClient(b, ref) {
			if len(lines) < bannedShown {
				lines = append(lines, banOfClient(b))
			} else {
				more++
			}
		}
		return nil
	}
	for _, f := range []admin.Filter{{"as": bans.ClientID.String(), "who": ref.ClientID}, {"as": bans.ClientIDRe.String()}} {
		if err := c.EachBan(ctx, f, tell); err != nil { // who may not see the bans has the other answer
			return missing
		}
	}
	if len(lines) == 0 {
		return missing
	}
	if more > 0 {
		lines = append(lines, fmt.Sprintf("and by %d bans more", more))
	}
	return fmt.Errorf("%w; this client is banned:\n%s", missing, strings.Join(lines, "\n"))
}

// hitsClient tells whether a ban of client identifiers is one of this client.
func hitsClient(b *admin.BanInfo, ref *admin.SessionRef) bool {
	if b.As == bans.ClientIDRe.String() {
		re, err := regexp.Compile(b.Who)
		return err == nil && re.MatchString(ref.ClientID)
	}
	return b.Who == ref.ClientID && (b.Identity == "" || ref.Identity == nil || *ref.Identity == b.Identity)
}

// banOfClient is a ban in a line, with the command that lists it.
func banOfClient(b *admin.BanInfo) string {
	line := fmt.Sprintf("redoubt ban list --kind %s --who %s --source %s: %s", b.As, quoted(b.Who), b.Source, banEnd(b.Until))
	if within := strings.TrimSpace(b.Identity + " " + b.Network); within != "" {
		line += ", within " + within
	}
	line += ", by " + b.By
	if b.Reason != "" {
		line += ", because " + b.Reason
	}
	return plain(line)
}

// quoted is a text as a shell takes it.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
