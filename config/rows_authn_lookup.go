package config

// queryPattern is what a query is before it is read.
const (
	queryPattern = `^.{1,1000}$`
	queryForm    = "a query in one line; in YAML >- folds several into one"
)

var rowsLookup = []Row{
	{Key: "authn.lookup", Kind: KindNames, Default: "{}", Form: nameForm, Since: release,
		Why: "Authenticators that compare the password of a client with the hash in a row of a back end, by name; authn.chains names them. No row: the next one is asked. A wrong password ends the chain; a back end that cannot be asked refuses the client."},
	whenRow("authn.lookup.<name>"),
	{Key: "authn.lookup.<name>.backend", Kind: KindName, Need: true,
		Why: "Which of backends is asked.", Since: release, Reload: NewConnections, File: fileAuthn},
	{Key: "authn.lookup.<name>.query", Kind: KindString, Need: true, Pattern: queryPattern, Form: queryForm,
		Why:   "What it is asked: for SQL a statement that answers the columns password_hash and, if there are, salt, is_superuser, username and client_attrs_NAME; for Redis HMGET or HGETALL with such fields; for a directory base?attributes?scope?filter, as in an LDAP URL; for MongoDB collection?fields?filter, with a filter in JSON. ${username} and its like become parameters, so they stand without quotes. Of another column, or a value that is not understood, nobody guesses: the client is refused, and the log says which.",
		Since: release, Reload: NewConnections, File: fileAuthn},
	{Key: "authn.lookup.<name>.method", Kind: KindEnum, Default: LookupHashes, Values: []string{LookupHashes, LookupBinds},
		Why:   "Who compares the password: hash is the broker, with what the query answers. bind has a directory judge it, as the one entry that the query finds; for type ldap.",
		Since: release, Reload: NewConnections, File: fileAuthn},
	{Key: "authn.lookup.<name>.hash", Kind: KindSection, Since: release,
		Why: "How the passwords of the back end were hashed."},
	{Key: "authn.lookup.<name>.hash.algorithm", Kind: KindEnum, Default: "auto", Values: []string{"auto", "argon2id", "bcrypt", "scrypt", "pbkdf2", "sha512", "sha256", "sha", "md5", "plain"},
		Why:   "auto takes what the hash says of itself ($argon2id$, $2b$, $pbkdf2-sha256$, ...). The last three need a waiver of P4.1: whoever reads the table has the passwords.",
		Since: release, Reload: NewConnections, File: fileAuthn},
	{Key: "authn.lookup.<name>.hash.salt_position", Kind: KindString, Default: `""`, Note: "prefix", Pattern: `^(prefix|suffix|disable)$`, Form: "prefix, suffix or disable",
		Why: "Where the salt stands before hashing, for sha512 and what is below it.", Since: release, Reload: NewConnections, File: fileAuthn},
	{Key: "authn.lookup.<name>.hash.encoding", Kind: KindString, Default: `""`, Note: "hex", Pattern: `^(hex|base64)$`, Form: "hex or base64",
		Why: "How the hash is written, for sha512 and what is below it, and pbkdf2.", Since: release, Reload: NewConnections, File: fileAuthn},
	{Key: "authn.lookup.<name>.hash.mac", Kind: KindString, Default: `""`, Note: "sha256", Pattern: `^(sha256|sha512)$`, Form: "sha256 or sha512",
		Why: "Of pbkdf2, where the hash does not say it.", Since: release, Reload: NewConnections, File: fileAuthn},
	{Key: "authn.lookup.<name>.hash.iterations", Kind: KindInt, Default: "0", Min: "0", Max: "2000000", Note: "only hashes that say theirs",
		Why: "Of pbkdf2, where the hash does not say them.", Since: release, Reload: NewConnections, File: fileAuthn},
	{Key: "authn.lookup.<name>.cache", Kind: KindSection, Since: release,
		Why: "Answers that are remembered, so that a storm of clients does not become one of questions. Passwords are compared each time. Whoever is deleted or locked in the back end can connect until the answer is forgotten; redoubt reload forgets all at once."},
	{Key: "authn.lookup.<name>.cache.entries", Kind: KindInt, Unit: "answers", Default: "10000", Min: "0", Max: "1000000",
		Why: "Most answers; the oldest makes room. One takes about 500 bytes. 0: none are remembered.", Since: release, Reload: NewConnections, File: fileAuthn},
	{Key: "authn.lookup.<name>.cache.positive", Kind: KindDuration, Default: "60s", Min: "0s", Max: "1h",
		Why: "How long an answer with a row is believed. 0s: not at all.", Since: release, Reload: NewConnections, File: fileAuthn},
	{Key: "authn.lookup.<name>.cache.negative", Kind: KindDuration, Default: "5s", Min: "0s", Max: "10m",
		Why: "How long it is believed that there is none. A client that was added waits as long.", Since: release, Reload: NewConnections, File: fileAuthn},
}
