package config

var rowsSCRAM = []Row{
	{Key: "authn.scram", Kind: KindSection, Since: release,
		Why: "The authenticator named scram: clients of MQTT 5 that say SCRAM-SHA-256 or SCRAM-SHA-512 in CONNECT prove that they know the password, and the broker that it knows the user, and the password is not sent. Users are those of builtin that have keys (`redoubt user add --scram`). It ignores who brings a password."},
	{Key: "authn.scram.type", Kind: KindEnum, Default: "scram", Values: []string{"scram"},
		Why: "Which kind of authenticator this is.", Since: release, Reload: Restart, File: fileAuthn},
	whenRow("authn.scram"),
	{Key: "authn.scram.algorithms", Kind: KindEnums, Default: "[sha256, sha512]", Values: []string{"sha256", "sha512"},
		Why:   "What is offered, and what new keys are made for. There is no sha1, and no channel binding.",
		Since: release, Reload: NewConnections, File: fileAuthn},
	{Key: "authn.scram.iterations", Kind: KindInt, Unit: "iterations", Default: "32768", Min: "4096", Max: "1000000",
		Why:   "Work that new keys make of a guess at a password, and of a login for the client: a microcontroller does about 10,000 in a second. RFC 7677 has the least. Keys that are there keep theirs; names that nobody has seem to have what users have, each number as often.",
		Since: release, Reload: NewConnections, File: fileAuthn},
}
