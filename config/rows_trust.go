package config

// deniedPattern is one entry of certificates.denied: a serial number of at most 20 bytes, or a
// SHA-256.
const deniedPattern = `^serial:([0-9A-Fa-f]{1,40}|[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){0,19})$|^sha256:([0-9A-Fa-f]{64}|[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){31})$`

var rowsTrust = []Row{
	{Key: "certificates", Kind: KindSection, Since: release,
		Why: "What holds for certificates of clients on every listener."},
	{Key: "certificates.denied", Kind: KindTexts, Default: "[]", Note: `["serial:2e0f51"]`,
		Pattern: deniedPattern, Form: "serial: and a serial number, or sha256: and a fingerprint, in hexadecimal, with or without colons",
		Why:   "Certificates that are refused whatever their CA says, at once, on every listener, and whose clients are disconnected: one without a list, or before its list comes. A denied CA denies all that it has issued. A serial number counts for every issuer, and not for a root's own. `redoubt cert deny` adds an entry while the broker runs.",
		Since: release, Reload: Live},
}
