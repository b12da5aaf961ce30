package builtin

// StillProves tells whether the credential that proof names is the one a user has
// now. An Allow that was on its way while the user was deleted or got another
// password is not among what OnChange lets its callers close, so whoever lets a
// client in asks here last.
func (s *Store) StillProves(name string, proof uint64) bool {
	r := s.lookup(name)
	return r != nil && r.cred.proof() == proof
}

// sameAs tells whether two records are of the same user with the same credential. A foreign
// one that has become argon2id since is the same.
func (r *record) sameAs(o *record) bool {
	return r == o || r != nil && o != nil && r.name == o.name && r.cred.salt == o.cred.salt
}
