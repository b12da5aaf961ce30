package config

import (
	"slices"
	"strings"
)

// otherWords are settings of other brokers, for those who try them first.
var otherWords = map[string]string{
	"max_packet_size":              "limits.packet_bytes",
	"message_size_limit":           "limits.packet_bytes",
	"max_connections":              "limits.connections_total",
	"max_conn_rate":                "limits.connect_rate_per_prefix",
	"messages_rate":                "limits.publish_rate.messages",
	"bytes_rate":                   "limits.publish_rate.bytes",
	"memory_limit":                 "limits.memory",
	"access_rules":                 "listeners.<name>.access",
	"flapping_detect":              "flapping",
	"max_count":                    "flapping.connects",
	"window_time":                  "flapping.window",
	"ban_time":                     "flapping.ban",
	"banned":                       "bans.file",
	"max_inflight":                 "limits.inflight",
	"max_inflight_messages":        "limits.inflight",
	"max_mqueue_len":               "limits.mqueue_messages",
	"max_queued_messages":          "limits.mqueue_messages",
	"max_awaiting_rel":             "limits.awaiting_rel",
	"max_subscriptions":            "limits.subscriptions",
	"max_topic_levels":             "limits.topic_levels",
	"max_clientid_len":             "limits.client_id_bytes",
	"max_topic_alias":              "limits.topic_aliases",
	"max_keepalive":                "limits.keep_alive_max",
	"session_expiry_interval":      "limits.session_expiry_max",
	"max_qos_allowed":              "mqtt.max_qos",
	"max_delayed_messages":         "limits.delayed_messages_total",
	"shared_subscription_strategy": "mqtt.shared_strategy",
	"exclusive_subscription":       "mqtt.exclusive_subscriptions",
	"sys_msg_interval":             "mqtt.sys_interval",
	"source_topic":                 "mqtt.rewrite[].source",
	"dest_topic":                   "mqtt.rewrite[].dest",
	"max_retained_messages":        "limits.retained_messages_total",
	"acl_file":                     "authz.rules_file",
	"password_file":                "authn.builtin (then redoubt user add)",
	"certfile":                     "listeners.<name>.tls.certificates",
	"keyfile":                      "listeners.<name>.tls.certificates",
	"allow_anonymous":              "listeners.<name>.authn (there is no anonymous access)",
	"port":                         "listeners.<name>.bind",
	"listener":                     "listeners.<name>.bind",
	"log_type":                     "log.level",
	"persistence_location":         "node.data_dir",
}

// otherSources and otherAuthenticators are what another broker calls ours.
var (
	otherSources        = map[string]string{"file": "rules_file", "acl_file": "rules_file", "built_in_database": "builtin", "built_in": "builtin", "jwt": "claims", "client_info": "claims"}
	otherAuthenticators = map[string]string{"built_in_database": "builtin", "built_in": "builtin", "password_based": "builtin", "certificate": "x509", "cert": "x509", "mtls": "x509"}
)

// meant asks whether one of the names that are known was meant, and ends with a space; empty:
// nothing is near.
func meant(name string, known []string, others map[string]string) string {
	if len(name) < 3 || len(name) > 64 { // short names are all near one another
		return ""
	}
	near := abbreviated(name, known)
	if other := others[name]; near == "" && slices.Contains(known, other) {
		near = other
	}
	if near == "" {
		return ""
	}
	return "Did you mean " + near + "? "
}

// suggestKey finds what a person may have meant by an unknown name below a
// pattern: a key of the same section, spelled nearly so; a key of that name in
// another section; or another broker's word. "" when nothing is near.
func suggestKey(parent, path, name string) string {
	name = strings.ToLower(name)
	if len(name) > 64 {
		return ""
	}
	siblings := append(laterChildren(parent), childrenOf[parent]...)
	if near := nearest(name, siblings); near != "" {
		return join(path, near)
	}
	if key := keyNamed(name, path); key != "" {
		return key
	}
	if key := otherWords[name]; key != "" {
		return at(key, path)
	}
	var names []string
	for i := range table {
		_, last := splitKey(table[i].Key)
		names = append(names, last)
	}
	return keyNamed(nearest(name, names), path)
}

// keyNamed finds a key of another section by its last name. Below an entry of
// the operator's, that entry is meant.
func keyNamed(name, path string) string {
	keys := []string{}
	for i := range table {
		keys = append(keys, table[i].Key)
	}
	for i := range later {
		keys = append(keys, later[i].key)
	}
	for _, key := range keys {
		if _, last := splitKey(key); last != name || name == "" {
			continue
		}
		if (strings.HasPrefix(key, "listeners.<name>.mqtt.") || strings.HasPrefix(key, "listeners.<name>.limits.")) && !strings.HasPrefix(path, "listeners.") {
			continue // the key of that name below mqtt or limits is the one for everybody
		}
		return at(key, path)
	}
	return ""
}

// at puts the name in path into a key of the same section.
func at(key, path string) string {
	names := strings.Split(path, ".")
	if section, _, ok := strings.Cut(key, ".<name>"); ok && len(names) > 1 && names[0] == section {
		return strings.Replace(key, "<name>", names[1], 1)
	}
	return key
}

// nearest returns the candidate with the fewest typing slips from word, if
// there are no more than a third of its letters.
func nearest(word string, candidates []string) string {
	best, bestSlips := "", len(word)/3+1
	if len(word) < 3 {
		bestSlips = 2
	}
	for _, c := range candidates {
		if s := slips(word, c); s < bestSlips {
			best, bestSlips = c, s
		}
	}
	return best
}

// abbreviated is nearest for values, where a word may also be cut short or
// written out: warning for warn, inter for intermediate.
func abbreviated(word string, candidates []string) string {
	for _, c := range candidates {
		if len(c) > 3 && strings.HasPrefix(word, c) || len(word) > 3 && strings.HasPrefix(c, word) {
			return c
		}
	}
	return nearest(word, candidates)
}

// slips is the number of letters to insert, delete, replace or swap with their
// neighbour to make a out of b. It is only called with short words.
func slips(a, b string) int {
	var prev2, prev, cur []int
	for j := 0; j <= len(b); j++ {
		prev = append(prev, j)
	}
	for i := 1; i <= len(a); i++ {
		cur = append(cur[:0:0], i)
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			n := min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				n = min(n, prev2[j-2]+1)
			}
			cur = append(cur, n)
		}
		prev2, prev = prev, cur
	}
	return prev[len(b)]
}
