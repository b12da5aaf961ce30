package config

var rowsCInfo = []Row{
	{Key: "authn.cinfo", Kind: KindNames, Default: "{}", Form: nameForm, Since: release,
		Why: "Authenticators that go by what is known of a client without asking for a secret: names, address, listener, certificate. A name stands in authn.chains."},
	whenRow("authn.cinfo.<name>"),
	{Key: "authn.cinfo.<name>.checks", Kind: KindItems, Default: "[]", Max: "100", Since: release, Reload: NewConnections, File: fileAuthn,
		Note: `such as {is_match: ["cert_common_name == 'gate'"], result: allow, identity: cert_common_name}`,
		Why:  "The checks, in order; the first that holds decides. A condition that looks at what is not known of a client denies it, whatever the check says: EMQX passes over a deny about a certificate that is not there."},
	{Key: "authn.cinfo.<name>.checks[].is_match", Kind: KindTexts, Need: true, Pattern: `(?s)^.+$`, Form: "a condition in CEL",
		Why:   "Conditions that all have to hold, over username, clientid, peerhost, peerport, listener, protocol_version, cert_common_name, cert_subject, has_username, has_password, has_certificate and in_network(peerhost, '10.0.0.0/8'). What one may cost is bounded.",
		Since: release, Reload: NewConnections},
	{Key: "authn.cinfo.<name>.checks[].result", Kind: KindEnum, Need: true, Values: []string{"allow", "deny", "ignore"},
		Why: "What is answered where they hold.", Since: release, Reload: NewConnections},
	{Key: "authn.cinfo.<name>.checks[].identity", Kind: KindString, Default: `""`, Pattern: `^(username|cert_common_name)?$`, Form: "username or cert_common_name, beside allow", Note: "needed beside allow",
		Why: "Who an allowed client is. username is what it has written itself: allow it only where the conditions leave nobody else.", Since: release, Reload: NewConnections},
}
