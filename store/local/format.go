package local

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/redoubtmq/redoubt/store"
)

// formatVersion is what this program writes. docs/adr/0007-log-format.md says
// what a new number obliges to.
const formatVersion = 1

// The layout is little endian. A segment is a header and then frames, end to end.
const (
	headerBytes = 64
	frameBytes  = 32 // a frame's head; its body follows

	batchBytesMax = store.BodyBytesMax + 1<<20 // one batch encoded, with room for what goes with the largest body
	// seqMax is no number that a log reaches in 100,000 years; more is damage, and
	// sums of numbers below it do not overflow.
	seqMax = 1 << 62

	segmentSuffix = ".seg"
	segmentDigits = 20
)

// fileMagic begins every segment of every format version.
var fileMagic = [8]byte{'R', 'D', 'B', 'T', 'L', 'O', 'G', '\n'}

// castagnoli is CRC-32C, which processors compute at memory speed.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// logID tells one log from another, so that a file copied from elsewhere is not
// read as ours.
type logID [16]byte

// marker begins every frame of one segment. It follows from the log's id, which
// never leaves the disk: the search for frames after damage must not take a
// payload for one, and a client chooses payloads.
type marker [8]byte

func markerOf(id logID, first store.Seq) marker {
	sum := sha256.Sum256(binary.LittleEndian.AppendUint64(append([]byte("redoubt log frame\n"), id[:]...), uint64(first)))
	return marker(sum[:8])
}

// header is the first headerBytes of a segment:
//
//	 0 magic 8, 8 format version 2, 10 flags 2, 12 zero 4
//	16 log id 16, 32 first 8, 40 follows 8, 48 zero 12, 60 CRC-32C 4
//
// Magic, version and the checksum's place are the same in all versions.
type header struct {
	version uint16
	rebuilt bool // salvaged: it was complete and on disk before it got its name
	log     logID
	first   store.Seq // of its first record
	follows store.Seq // the newest durable record before it; numbers between were never given out
}

const flagRebuilt = 1 << 0

func (h *header) append(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, fileMagic[:]...)
	dst = binary.LittleEndian.AppendUint16(dst, formatVersion)
	var flags uint16
	if h.rebuilt {
		flags |= flagRebuilt
	}
	dst = binary.LittleEndian.AppendUint16(dst, flags)
	dst = append(dst, 0, 0, 0, 0)
	dst = append(dst, h.log[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.first))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.follows))
	dst = append(dst, make([]byte, 12)...)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[at:], castagnoli))
}

// errHeader: the header is damaged.
var errHeader = errors.New("the header is damaged")

// VersionError says that a file was written by a newer program.
type VersionError struct {
	Segment string
	Version int
}

// Error says what to do.
func (e *VersionError) Error() string {
	return fmt.Sprintf("log segment %s has format version %d and this program reads up to %d; start the newer program that wrote it, or restore a backup made before it ran", e.Segment, e.Version, formatVersion)
}

// parseHeader reads a header; damage is errHeader, a newer one a *VersionError
// without its segment.
func parseHeader(b []byte) (h header, err error) {
	if len(b) < headerBytes || !bytes.Equal(b[:8], fileMagic[:]) ||
		crc32.Checksum(b[:60], castagnoli) != binary.LittleEndian.Uint32(b[60:]) {
		return h, errHeader
	}
	h.version = binary.LittleEndian.Uint16(b[8:])
	if h.version > formatVersion {
		return h, &VersionError{Version: int(h.version)}
	}
	h.rebuilt = binary.LittleEndian.Uint16(b[10:])&flagRebuilt != 0
	copy(h.log[:], b[16:])
	h.first = store.Seq(binary.LittleEndian.Uint64(b[32:]))
	h.follows = store.Seq(binary.LittleEndian.Uint64(b[40:]))
	if h.version == 0 || h.first == 0 || h.first >= seqMax || h.follows >= h.first {
		return h, errHeader
	}
	return h, nil
}

// Kinds of frame.
const (
	frameBatch = 1 // records; they are there all or none
	frameSeal  = 2 // a clean end: first is the next number to give out, the body is the newest durable one
)

const sealBytes = frameBytes + 8

// frame is one frame:
//
//	 0 marker 8, 8 length of the body 4, 12 group 4
//	16 first 8, 24 records 2, 26 kind 1, 27 zero 1, 28 CRC-32C of all the rest 4
//
// group is where in the file the write began that this frame was part of. One
// write is on disk before the next begins, so a frame with a group after some
// place proves that everything before that place once was on disk.
type frame struct {
	kind  byte
	group uint32
	first store.Seq
	count int
	body  []byte
}

// size is the whole frame in bytes.
func (f *frame) size() int64 { return int64(frameBytes + len(f.body)) }

// next is the number after its last record.
func (f *frame) next() store.Seq { return f.first + store.Seq(f.count) } //nolint:gosec // count is from two bytes

// finishFrame fills in the head of b, a frame whose body is there.
func finishFrame(b []byte, m marker, kind byte, group uint32, first store.Seq, count int) {
	copy(b, m[:])
	binary.LittleEndian.PutUint32(b[8:], uint32(len(b)-frameBytes)) //nolint:gosec // at most batchBytesMax
	binary.LittleEndian.PutUint32(b[12:], group)
	binary.LittleEndian.PutUint64(b[16:], uint64(first))
	binary.LittleEndian.PutUint16(b[24:], uint16(count)) //nolint:gosec // at most store.BatchRecordsMax
	b[26], b[27] = kind, 0
	crc := crc32.Update(0, castagnoli, b[:28])
	binary.LittleEndian.PutUint32(b[28:], crc32.Update(crc, castagnoli, b[frameBytes:]))
}

// appendSeal appends the frame that says a segment ended as it should, at offset
// off of its file.
func appendSeal(dst []byte, m marker, off int64, next, last store.Seq) []byte {
	at := len(dst)
	dst = append(dst, make([]byte, frameBytes)...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(last))
	finishFrame(dst[at:], m, frameSeal, uint32(off), next, 0) //nolint:gosec // a segment is under 4 GiB
	return dst
}

// sealLast is the newest durable number of a seal's body.
func (f *frame) sealLast() store.Seq { return store.Seq(binary.LittleEndian.Uint64(f.body)) }

// frameLength reads from a head how long the whole frame claims to be.
func frameLength(head []byte) int64 {
	return frameBytes + int64(binary.LittleEndian.Uint32(head[8:]))
}

// splitFrame takes a frame apart without judging it; b is exactly the frame.
func splitFrame(b []byte) frame {
	return frame{
		kind:  b[26],
		group: binary.LittleEndian.Uint32(b[12:]),
		first: store.Seq(binary.LittleEndian.Uint64(b[16:])),
		count: int(binary.LittleEndian.Uint16(b[24:])),
		body:  b[frameBytes:],
	}
}

// parseFrame judges b, which must be exactly one frame of the segment with
// marker m.
func parseFrame(b []byte, m marker) (f frame, ok bool) {
	if len(b) < frameBytes || !bytes.Equal(b[:8], m[:]) || frameLength(b) != int64(len(b)) || b[27] != 0 {
		return f, false
	}
	crc := crc32.Update(0, castagnoli, b[:28])
	if crc32.Update(crc, castagnoli, b[frameBytes:]) != binary.LittleEndian.Uint32(b[28:]) {
		return f, false
	}
	f = splitFrame(b)
	switch f.kind {
	case frameBatch:
		ok = f.count > 0 && f.first > 0 && f.first < seqMax
	case frameSeal:
		ok = f.count == 0 && len(f.body) == 8 && f.sealLast() < f.first && f.first < seqMax
	}
	return f, ok
}

// decodeBatch appends the records of a batch's body to recs. It allocates for
// records it has read, whatever count claims.
func decodeBatch(recs []store.Record, f *frame) ([]store.Record, error) {
	rest := f.body
	for range f.count {
		var r store.Record
		n, err := store.DecodeRecord(rest, &r)
		if err != nil {
			return recs, err
		}
		recs, rest = append(recs, r), rest[n:]
	}
	if len(rest) != 0 {
		return recs, fmt.Errorf("%w: %d bytes after the last of the batch", store.ErrRecord, len(rest))
	}
	return recs, nil
}

// segmentName is the file of the segment that begins with first.
func segmentName(first store.Seq) string {
	return fmt.Sprintf("%0*d%s", segmentDigits, first, segmentSuffix)
}

// parseSegmentName reads the number back.
func parseSegmentName(name string) (store.Seq, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != segmentDigits {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return store.Seq(n), err == nil && n > 0 && n < seqMax
}
