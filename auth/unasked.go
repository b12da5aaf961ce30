package auth

// PerClient are the sources that have rules of each client alone, read when it connects.
func (p *Policy) PerClient() []string {
	names := []string{}
	if p == nil {
		return names
	}
	for i := range p.parts {
		if q := &p.parts[i]; q.set == nil && q.branch == nil {
			names = append(names, q.source)
		}
	}
	return names
}

// Unasked are the sources that say at CONNECT what a client may and have not been asked
// about by, where d might be another if they had: those before the rule that decided.
func (p *Policy) Unasked(by *Principal, d Decision) (names []string) {
	if p == nil || by == nil || d.Rule == superuser {
		return nil
	}
	decided := d.Rule != last && d.Rule != unasked
	for i := range p.parts {
		q := &p.parts[i]
		if decided && d.Rule.Source == q.source {
			break
		}
		if q.set != nil || q.branch != nil {
			continue
		}
		if _, asked := by.Claims.own(q.source); !asked {
			names = append(names, q.source)
		}
	}
	return names
}
