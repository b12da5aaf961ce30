package local

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/redoubtmq/redoubt/store"
)

const (
	newSuffix     = ".new"     // being written; of no value after a crash
	rebuiltSuffix = ".rebuilt" // complete, and about to replace a damaged segment
	asideSuffix   = ".bad-"    // a damaged segment, and a number
	idName        = "log.id"   // the log's id again, for a log whose only header is damaged
)

// head is a segment whose header was read.
type head struct {
	name string
	file string // what it is called now: not name when dry, and a crash left it half renamed
	size int64
	header
	bad bool // damaged: only first is known
}

// lost tells that nothing of the segment can be read, so that nobody knows what
// was in it.
func (h *head) lost(s *scanned) bool { return h.bad && s.empty() }

// tidy finishes or undoes what a crash interrupted and answers the segments in
// order.
func (r *recovery) tidy() ([]head, error) {
	names, err := r.dir.List()
	if err != nil {
		return nil, err
	}
	files := make(map[string]string, len(names)) // what is going to be there, and what it is called now
	for _, n := range names {
		files[n] = n
	}
	for _, n := range names {
		if err := r.tidyFile(n, names, files); err != nil {
			return nil, err
		}
	}
	if len(r.report.Tidied) > 0 && !r.dry {
		if err := r.dir.Sync(); err != nil {
			return nil, err
		}
	}
	r.saved = files[idName] != ""
	var heads []head
	for n, f := range files {
		if _, ok := parseSegmentName(n); ok {
			heads = append(heads, head{name: n, file: f})
		}
	}
	slices.SortFunc(heads, func(a, b head) int { return strings.Compare(a.name, b.name) })
	return heads, nil
}

// tidyFile does for one file of names what tidy is for.
func (r *recovery) tidyFile(n string, names []string, files map[string]string) (err error) {
	old, rebuilt := strings.CutSuffix(n, rebuiltSuffix)
	switch {
	case strings.Contains(n, segmentSuffix+asideSuffix):
		r.report.Aside = append(r.report.Aside, n)
		return nil
	case strings.HasSuffix(n, newSuffix), rebuilt && slices.Contains(names, old):
		if delete(files, n); !r.dry {
			err = r.dir.Remove(n)
		}
	case rebuilt: // the damaged one is aside already
		delete(files, n)
		if files[old] = n; !r.dry {
			files[old] = old
			err = r.dir.Rename(n, old)
		}
	default:
		return nil
	}
	r.report.Tidied = append(r.report.Tidied, n)
	return err
}

// readHeads reads all headers before any frame: what a newer program wrote is
// refused before anything is changed, and a segment's end is known by the header
// after it.
func (r *recovery) readHeads(heads []head) error {
	known := false
	for i := range heads {
		h := &heads[i]
		if err := r.readHead(h); err != nil {
			return err
		}
		if !h.bad && known && h.log != r.id {
			return fmt.Errorf("segment %s belongs to another log; take it out of the folder", h.name)
		}
		if !h.bad {
			r.id, known = h.log, true
		}
		r.report.Format = max(r.report.Format, int(h.version))
		r.meter.total += h.size
	}
	if r.heads = heads; !known {
		return r.readID()
	}
	return nil
}

func (r *recovery) readHead(h *head) error {
	f, err := r.dir.Open(h.file, false)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if h.size, err = f.Size(); err != nil {
		return &store.DamageError{Segment: h.name, Err: err}
	}
	w := &window{name: h.name, f: f, size: min(h.size, headerBytes)}
	b, err := w.at(0, headerBytes)
	if err != nil {
		return err
	}
	h.header, err = parseHeader(b)
	first, _ := parseSegmentName(h.name)
	var newer *VersionError
	switch {
	case errors.As(err, &newer):
		newer.Segment = h.name
		return newer
	case err != nil:
		h.header, h.bad = header{first: first}, true
	case h.first != first:
		return fmt.Errorf("segment %s says that it begins with record %d; somebody renamed it", h.name, h.first)
	}
	return nil
}

// readID is for a log without a header that can be read, often a new one. An id
// that is lost is replaced by one that nobody knows: with a known one, a client
// could have put frames into its payloads that the search would find.
func (r *recovery) readID() error {
	newLogID(&r.id)
	f, err := r.dir.Open(idName, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	b := make([]byte, len(r.id))
	if n, _ := f.ReadAt(b, 0); n == len(b) && logID(b) != (logID{}) { // unreadable is as good as lost: it is the second copy
		r.id = logID(b)
	}
	return nil
}
