package config

const fileAuthz = "who may do what is decided where it can be reviewed"

var rowsAuthzLookup = []Row{
	{Key: "authz.report_only", Kind: KindSection, Since: release,
		Why: "Rules that are tried and decide nothing. redoubt acl diff shows what would be different."},
	{Key: "authz.report_only.rules_file", Kind: KindPath, Default: `""`, Note: "none is tried",
		Why:   "A rules file that takes the place of authz.rules_file in what is tried; the other sources of authz.order are the same. What the rules in force have to judge it judges, too, and what it would decide otherwise is counted and kept for redoubt acl diff. It has no effect on any client, and a file that cannot be read at the start is only reported.",
		Since: release, Reload: Live, File: "the rules are a file themselves"},
	{Key: "authz.lookup", Kind: KindNames, Default: "{}", Form: nameForm, Since: release,
		Why: "Sources of rules in back ends, by name; authz.order names them, and one that it does not name is not asked. All rows of a client are read when it connects, and a source that cannot be asked refuses the client: what it would have denied is not known. docs/ops/backends.md has tables to copy."},
	{Key: "authz.lookup.<name>.backend", Kind: KindName, Need: true,
		Why: "Which of backends is asked.", Since: release, Reload: Live, File: fileAuthz},
	{Key: "authz.lookup.<name>.query", Kind: KindString, Need: true, Pattern: queryPattern, Form: queryForm,
		Why:   "What it is asked about a client: columns permission, action and topic, and, if there are, qos, retain and ipaddr; for Redis HGETALL of a hash whose fields are topic filters, with publish, subscribe or all; for a directory base?attributes?scope?filter with mqttPublishTopic, mqttSubscriptionTopic, mqttPubSubTopic and mqttAclRule, or attributes with publish:, subscribe:, all: or rule: before them; for MongoDB collection?fields?filter, each document a rule. Rows are judged in their order, at most 100. One that is not understood makes all of them of no use, and the client is refused: it may have been a deny. ${username} and its like become parameters, so they stand without quotes.",
		Since: release, Reload: Live, File: fileAuthz},
	{Key: "authz.lookup.<name>.refresh", Kind: KindDuration, Default: "60s", Min: "1s", Max: "24h",
		Why:   "How often the rules of who is connected are read again, spread over half of that time, at most 30 s. redoubt acl refresh and redoubt reload do it at once. What a client has subscribed to and may not any more ends.",
		Since: release, Reload: Live, File: fileAuthz},
	{Key: "authz.lookup.<name>.stale_max", Kind: KindDuration, Default: "5m", Min: "1s", Max: "168h",
		Why:   "How long the rules that a connected client has count while they cannot be read again. Then it has none from here, and what no source before has decided is denied.",
		Since: release, Reload: Live, File: fileAuthz},
}
