package fix

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/redoubtmq/redoubt/harden"
)

const tableHead = "table inet redoubt\ndelete table inet redoubt\n"

// tableText is a table of nftables that judges the ports of the broker and no other packet:
// the chain accepts what no rule drops, and every rule that drops names a port of the
// broker, with its address where it has one. Only what begins is judged, so that nobody who
// is connected is cut off, and no connection is tracked for it.
func tableText(ports []harden.Port, clients []netip.Prefix) string {
	var b strings.Builder
	b.WriteString("# P1.4: what reaches the broker. Made from the addresses at which it listens; for other ones\n" +
		"# make it anew: redoubt fix P1.4 --firewall. It judges the ports of the broker alone, and leaves\n" +
		"# everything else, ssh among it, to your own rules. Check: nft -c -f " + tableFile + "\n" + tableHead)
	rules := tableRules(ports, clients)
	fmt.Fprintf(&b, "\ntable inet redoubt {\n\tchain version_%s {\n\t}\n\n", digest(rules)[:16])
	b.WriteString(rules + "}\n")
	return b.String()
}

func tableRules(ports []harden.Port, clients []netip.Prefix) string {
	var b strings.Builder
	b.WriteString("\tchain input {\n\t\ttype filter hook input priority filter - 5; policy accept;\n\t\tiif \"lo\" accept\n")
	seen := map[string]bool{}
	for i := range ports {
		p := &ports[i]
		comment := "\n\t\t# " + plain(p.Name+" "+p.Addr.String()) // a zone may hold what it likes
		var from []netip.Prefix
		switch {
		case p.Addr.Addr().IsLoopback():
			comment += ": this host alone, as it is bound"
		case len(p.From) > 0: // nobody else gets in there
			from = p.From
			comment += ": its proxies alone"
		case p.Open || p.Accepted != "":
			comment += ": clients"
			if p.Accepted != "" {
				comment += ", in plain text, " + p.Accepted
			}
			if len(clients) == 0 {
				b.WriteString(comment + ", from everywhere\n")
				continue
			}
			from = clients
		default:
			comment += ": this host alone"
		}
		b.WriteString(comment + "\n")
		for _, rule := range dropsOf(p, from) {
			if !seen[rule] {
				seen[rule] = true
				b.WriteString("\t\t" + rule + "\n")
			}
		}
	}
	b.WriteString("\t}\n")
	return b.String()
}

// dropsOf are the rules that drop what is for a port and not from where it may come.
func dropsOf(p *harden.Port, from []netip.Prefix) (rules []string) {
	port := fmt.Sprintf("tcp dport %d tcp flags & (fin | syn | rst | ack) == syn", p.Addr.Port())
	if p.UDP {
		port = fmt.Sprintf("udp dport %d", p.Addr.Port())
	}
	addr := p.Addr.Addr().Unmap().WithZone("")
	for _, v4 := range []bool{true, false} {
		if addr.Is4() != v4 && !(v4 && addr == netip.IPv6Unspecified()) { // [::] takes both
			continue
		}
		family, proto := "ip6", "ipv6"
		if v4 {
			family, proto = "ip", "ipv4"
		}
		rule := "meta nfproto " + proto + " "
		if !addr.IsUnspecified() {
			rule = family + " daddr " + addr.String() + " "
		}
		var list []string
		for _, n := range from {
			if n.Addr().Is4() == v4 {
				list = append(list, n.String())
			}
		}
		if slices.Contains(list, "0.0.0.0/0") || slices.Contains(list, "::/0") {
			continue
		}
		if len(list) > 0 {
			slices.Sort(list)
			rule += fmt.Sprintf("%s saddr != { %s } ", family, strings.Join(slices.Compact(list), ", "))
		}
		rules = append(rules, rule+port+" drop")
	}
	return rules
}

// policyText is a NetworkPolicy of Kubernetes for the same ports.
func policyText(ports []harden.Port, clients []netip.Prefix) string {
	var b strings.Builder
	b.WriteString("# P1.4: what reaches the pods of the broker. Made from the addresses at which it listens.\n" +
		"# The labels are those of your deployment; what is not listed is dropped.\n" +
		"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: redoubt\nspec:\n" +
		"  podSelector:\n    matchLabels:\n      app.kubernetes.io/name: redoubt\n  policyTypes: [Ingress]\n  ingress:\n")
	entry := func(from []netip.Prefix, list []harden.Port) {
		done := map[string]bool{}
		head := "    - "
		if len(from) > 0 {
			b.WriteString(head + "from:\n")
			for _, n := range from {
				fmt.Fprintf(&b, "        - ipBlock: {cidr: %q}\n", n.String())
			}
			head = "      "
		}
		b.WriteString(head + "ports:\n")
		for i := range list {
			proto := "TCP"
			if list[i].UDP {
				proto = "UDP"
			}
			line := fmt.Sprintf("        - {protocol: %s, port: %d} # %s\n", proto, list[i].Addr.Port(), plain(list[i].Name))
			if !done[line] {
				done[line] = true
				b.WriteString(line)
			}
		}
	}
	var open []harden.Port
	any := false
	for _, p := range ports {
		switch {
		case p.Addr.Addr().IsLoopback():
		case len(p.From) > 0:
			entry(p.From, []harden.Port{p})
			any = true
		case p.Open || p.Accepted != "":
			open = append(open, p)
		}
	}
	if len(open) > 0 {
		entry(clients, open)
		any = true
	}
	if !any {
		return strings.TrimSuffix(b.String(), "  ingress:\n") + "  ingress: []\n"
	}
	return b.String()
}

var versionChain = regexp.MustCompile(`(?m)^\s*chain version_([0-9a-f]{16}) \{`)

// lookTable asks for the table in force. Its version is in the name of a chain.
func (w *World) lookTable(ctx context.Context) (State, error) {
	text, err := w.run(ctx, nil, "nft", "list", "table", "inet", "redoubt")
	var said *programError
	if errors.As(err, &said) && strings.Contains(said.said, "No such file or directory") {
		return State{Absent: true}, nil
	}
	if err != nil {
		return State{}, err
	}
	s := State{Content: append([]byte(tableHead), text...)}
	if m := versionChain.FindSubmatch(text); m != nil {
		s.Value = string(m[1])
	}
	return s, nil
}

// tableState is the state that a text makes.
func tableState(text string) State {
	s := State{Content: []byte(text)}
	if m := versionChain.FindStringSubmatch(text); m != nil {
		s.Value = m[1]
	}
	return s
}

func (w *World) putTable(ctx context.Context, to State) error {
	text := to.Content
	if to.Absent {
		text = []byte(tableHead) // made, so that there is one to delete
	}
	_, err := w.run(ctx, text, "nft", "-f", "-")
	return err
}
