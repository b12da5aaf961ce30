package config

var rowsBans = []Row{
	{Key: "flapping", Kind: KindSection, Since: release,
		Why: "Clients that connect over and over. What counts is a client that has proved who it is, by its identity, its client identifier and the network it comes from (/24, /56), all three: nobody is banned by what others do with his names."},
	{Key: "flapping.connects", Kind: KindInt, Default: "15", Min: "0", Max: "100000", Unit: "connects",
		Why: "More connects than this within flapping.window ban the client. 0 bans nobody. A script that connects for every message, with one client identifier, is such a client: let it keep its connection, or raise this.", Since: release, Reload: Live},
	{Key: "flapping.window", Kind: KindDuration, Default: "1m", Min: "1s", Max: "24h",
		Why: "Begins with the first connect.", Since: release, Reload: Live},
	{Key: "flapping.ban", Kind: KindDuration, Default: "5m", Min: "1s", Max: "720h",
		Why: "How long it lasts. A restart forgets it; `redoubt ban delete` ends it.", Since: release, Reload: Live},
	{Key: "bans", Kind: KindSection, Since: release,
		Why: "Who is shut out. `redoubt ban` changes that while the broker runs; this is for lists that come from elsewhere."},
	{Key: "bans.file", Kind: KindPath, Default: `""`, Note: "none",
		Why:   "Bans that are read at the start and at every reload, as CSV, or as JSON where the name ends in .json; docs/ops/bans.md says how. One that is wrong refuses the start or the reload with its lines. What the file bans, `redoubt ban` does not change.",
		Since: release, Reload: Live, File: "the bans are a file themselves"},
}
