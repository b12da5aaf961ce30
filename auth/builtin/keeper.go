package builtin

// Keeper keeps the users; cmd has one over the log. Its methods are not called at the
// same time.
type Keeper interface {
	// Users calls fn for every user, in the order of their names. content is valid
	// during the call only.
	Users(fn func(name string, content []byte) error) error

	// Put makes or replaces users. When it answers nil all of them are durable and
	// applied: Users answers them, after any crash. After an error the caller goes on as
	// if nothing was kept, though Users may answer it after the next start. The users are
	// kept in steps of PutMax, in the order given; each step is there whole or not at all.
	Put(users ...Kept) error

	// Delete removes one, as durably.
	Delete(name string) error
}

// Kept is a user as a Keeper has it.
type Kept struct {
	Name    string
	Content []byte // its form is this package's business
}

// PutMax is how many users are kept in one step: what one batch of the log has room for.
const PutMax = 50_000
