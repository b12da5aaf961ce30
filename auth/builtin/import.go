package builtin

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"time"

	"github.com/redoubtmq/redoubt/auth/hash"
	"github.com/redoubtmq/redoubt/internal/secret"
)

// Bounds of one import. It is kept in one step, so that a crash leaves all of it or
// nothing; passwords in the clear are hashed here, tens of milliseconds each, and somebody
// waits at a terminal.
const (
	ImportMax          = PutMax
	ImportPasswordsMax = 300
	failuresMax        = 100 // that are named; all are counted
)

// Entry is a user of a file. It has a stored hash, with a salt where the hash does not hold
// its own, or a password, or says why it is none of a user.
type Entry struct {
	Line     int
	Name     string
	Stored   secret.Value
	Salt     string
	Password secret.Value
	Wrong    string
}

// What becomes of a user who exists with another password.
const (
	ExistingFails  = "fail"
	ExistingStays  = "skip"
	ExistingIsLost = "update" // gets the password of the file
)

// ImportOptions say how. The zero value takes hashes that say what they are, and fails on
// users that exist.
type ImportOptions struct {
	Spec      hash.Spec
	Existing  string // one of the constants; empty: ExistingFails
	Weak      bool   // hashes of plain, md5 and sha, too
	SCRAM     bool   // everybody gets SCRAM keys at the next login with a password
	KeepGoing bool   // import the others when some fail; otherwise all or nothing
	DryRun    bool   // tell what would happen
}

// ImportFailure is an entry that is not imported. Reason shows no hash and no password.
type ImportFailure struct {
	Line   int    `json:"line" doc:"Line of the file."`
	User   string `json:"user_id,omitempty" doc:"User name, if it can be one."`
	Reason string `json:"reason" doc:"Why."`
}

// ImportReport says what an import did, or would have done. The counts have EMQX's names.
type ImportReport struct {
	Total    int             `json:"total" doc:"Users of the file."`
	Created  int             `json:"success" doc:"Users that are new."`
	Updated  int             `json:"override" doc:"Users that had another password."`
	Skipped  int             `json:"skipped" doc:"Users that have this password already, or exist and were to be left alone."`
	Failed   int             `json:"failed" doc:"Users that could not be imported."`
	Foreign  int             `json:"imported_hashes" doc:"Of those that are imported, how many have a hash that is not ours until their next login."`
	Applied  bool            `json:"applied" doc:"Whether anything was changed: not by a dry run, nor if any failed, but with keep_going."`
	Failures []ImportFailure `json:"failures" doc:"The first 100 of those that failed."`
}

func (p *ImportReport) fail(e *Entry, reason string) {
	if p.Failed++; len(p.Failures) < failuresMax {
		f := ImportFailure{Line: e.Line, Reason: reason}
		if CheckName(e.Name) == nil {
			f.User = e.Name
		}
		p.Failures = append(p.Failures, f)
	}
}

// Import adds users with hashes of other programs, or ours. An error has changed nothing;
// entries that fail are in the report, and then nothing has changed either, but with
// KeepGoing. Users whose password it replaces are told to OnChange.
func (s *Store) Import(entries []Entry, opt ImportOptions) (ImportReport, error) {
	p := ImportReport{Total: len(entries), Failures: []ImportFailure{}}
	if err := opt.check(entries); err != nil {
		return p, err
	}
	now := s.clock.Now().UTC().Truncate(time.Second)
	records := make([]*record, len(entries))
	seen := make(map[string]int, len(entries))
	for i := range entries {
		e := &entries[i]
		if line, twice := seen[e.Name]; twice && e.Wrong == "" {
			p.fail(e, fmt.Sprintf("is listed twice; the first time on line %d", line))
			continue
		}
		seen[e.Name] = e.Line
		r, err := s.recordOf(e, &opt)
		if err != nil {
			p.fail(e, err.Error())
			continue
		}
		r.created, r.changed = now, now
		records[i] = r
	}
	lost, err := s.take(entries, records, &opt, &p)
	s.audience.tell(lost...)
	return p, err
}

func (o *ImportOptions) check(entries []Entry) error {
	switch o.Existing {
	case "", ExistingFails, ExistingStays, ExistingIsLost:
	default:
		return errors.New("what becomes of existing users is fail, skip or update")
	}
	if err := o.Spec.Check(); err != nil {
		return err
	}
	if len(entries) > ImportMax {
		return fmt.Errorf("the file has more than %d users, which is the most that one import takes; split it", ImportMax)
	}
	clear := 0
	for i := range entries {
		if !entries[i].Password.Empty() {
			clear++
		}
	}
	if clear > ImportPasswordsMax {
		return fmt.Errorf("the file has %d passwords in the clear, and one import hashes at most %d; split it", clear, ImportPasswordsMax)
	}
	return nil
}

// recordOf makes a user of an entry, without a time. A password in the clear costs one
// argon2id.
func (s *Store) recordOf(e *Entry, opt *ImportOptions) (r *record, err error) {
	if e.Wrong != "" {
		return nil, errors.New(e.Wrong)
	}
	if err := CheckName(e.Name); err != nil {
		return nil, err
	}
	r = &record{name: e.Name, wants: opt.SCRAM}
	if !e.Password.Empty() {
		if err := checkPassword(e.Password); err != nil {
			return nil, err
		}
		r.cred, err = newCredential(s.random, chosen, e.Password.Reveal())
		return r, err
	}
	stored := string(e.Stored.Reveal())
	if own, err := decodeCredential(stored); err == nil && (opt.Spec.Algorithm == "" || opt.Spec.Algorithm == hash.Auto || opt.Spec.Algorithm == hash.Argon2id) {
		r.cred = own
		r.wants = r.wants && own.kind != generated // nobody could make keys of it later: such a login is answered at once
		return r, nil
	}
	h, err := opt.Spec.Parse(stored, e.Salt)
	if err != nil && opt.Weak && opt.Spec.Algorithm == "" {
		if own, wrong := hash.Decode(stored); wrong == nil { // of an export of ours
			h, err = own, nil
		}
	}
	if err != nil {
		return nil, err
	}
	if h.Algorithm() == hash.Plain { // also where the entry itself says so
		return nil, errors.New("its hash is the password itself, which would be kept in the clear: give it as the password (column password), and it is hashed now")
	}
	if h.Weak() && !opt.Weak {
		return nil, fmt.Errorf("its hash is of %s, which anybody who reads a backup undoes in minutes; say that you accept it until the user's next login (--allow-weak), or set a new password", h.Algorithm())
	}
	r.imported, r.cred.kind = newForeign(h), foreign
	if _, err := io.ReadFull(s.random, r.cred.salt[:]); err != nil {
		return nil, fmt.Errorf("read random bytes for a salt: %w", err)
	}
	return r, nil
}

// take judges the records against the users there are, and keeps them. It answers who has
// lost a password.
func (s *Store) take(entries []Entry, records []*record, opt *ImportOptions, p *ImportReport) (lost []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ks := *s.users.Load(), *s.kinds.Load()
	now := maps.Clone(old)
	var kept []Kept
	for i, r := range records {
		if r == nil {
			continue
		}
		was := old[r.name]
		switch {
		case was == nil && s.temporary.lookup(s.clock.Now, r.name) != nil:
			p.fail(&entries[i], "is the name of a user for a probe; try again in some minutes")
			continue
		case was == nil:
			p.Created++
		case was.hasPasswordOf(r) || opt.Existing == ExistingStays:
			p.Skipped++
			continue
		case opt.Existing == ExistingIsLost:
			p.Updated++
			r.created = was.created
			r.wants = r.wants || was.hasSCRAM() && r.cred.kind != generated
			lost = append(lost, r.name)
		default:
			p.fail(&entries[i], "exists with another password (--existing skip leaves such users as they are, update gives them the file's)")
			continue
		}
		ks = ks.changed(was.foreign(), r.imported)
		if r.imported != nil {
			p.Foreign++
		}
		now[r.name] = r
		kept = append(kept, Kept{r.name, r.content()})
	}
	switch {
	case len(now) > UsersMax:
		return nil, fmt.Errorf("there would be %d users; at most %d are allowed", len(now), UsersMax)
	case len(ks) > ForeignKindsMax:
		return nil, tooManyKinds(ks)
	case opt.DryRun || p.Failed > 0 && !opt.KeepGoing || len(kept) == 0:
		return nil, nil
	}
	if err := s.keeper.Put(kept...); err != nil {
		return nil, &KeepError{kept[0].Name, err}
	}
	p.Applied = true
	s.kinds.Store(&ks)
	s.replace(&now)
	return lost, nil
}

func (r *record) foreign() *foreignHash {
	if r == nil {
		return nil
	}
	return r.imported
}

// hasPasswordOf tells whether r has the very hash of o.
func (r *record) hasPasswordOf(o *record) bool {
	if r.cred.kind != o.cred.kind {
		return false
	}
	if r.imported != nil {
		return r.imported.Encode().Equal(o.imported.Encode())
	}
	return r.cred == o.cred
}

// Exported is a user as a file has it.
type Exported struct {
	User
	Stored secret.Value // empty: not asked for
}

// Export is every user, by name, and with hashes if they are asked for: in forms that
// Import takes, ours and foreign ones alike. SCRAM keys stay here.
func (s *Store) Export(hashes bool) []Exported {
	out := []Exported{}
	for _, r := range s.users.Load().sorted() {
		e := Exported{User: r.user()}
		switch {
		case !hashes:
		case r.imported != nil:
			e.Stored = r.imported.Encode()
		default:
			e.Stored = r.cred.stored()
		}
		out = append(out, e)
	}
	return out
}
