package config

var rowsKerberos = []Row{
	{Key: "authn.kerberos", Kind: KindNames, Default: "{}", Form: nameForm, Since: release,
		Why: "Authenticators that know clients of MQTT 5 by Kerberos tickets, with the Authentication Method GSSAPI-KERBEROS. The broker asks no KDC: it has the keys of its service. Encryption is AES; a client may connect until its ticket ends. docs/ops/kerberos.md."},
	whenRow("authn.kerberos.<name>"),
	{Key: "authn.kerberos.<name>.principal", Kind: KindString, Need: true, Pattern: `^[^ /@]+/[^ /@]+@[^ /@]+$`, Form: "service/host@REALM, such as mqtt/broker.example@PLANT.EXAMPLE",
		Why: "The service that tickets have to be for.", Since: release, Reload: NewConnections, File: fileAuthn},
	{Key: "authn.kerberos.<name>.keytab", Kind: KindPath, Need: true,
		Why: "The keys of principal, as `kadmin ktadd` writes them; nobody else may read the file. Whoever has it can make himself anybody. Read again at every reload.", Since: release, Reload: NewConnections, File: fileAuthn},
	{Key: "authn.kerberos.<name>.realms", Kind: KindTexts, Need: true, Pattern: `^[^ /@]{1,256}$`, Form: "a realm, such as PLANT.EXAMPLE",
		Why: "Realms whose clients are let in, at most 32. A client is called name@REALM.", Since: release, Reload: NewConnections, File: fileAuthn},
	{Key: "authn.kerberos.<name>.bare_realm", Kind: KindString, Default: `""`, Note: "none", Pattern: `^[^ /@]{1,256}$`, Form: "one of realms",
		Why: "The realm whose clients are called by their name alone: then alice of it is the user alice, also for builtin and for rules.", Since: release, Reload: NewConnections, File: fileAuthn},
}
