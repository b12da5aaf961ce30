package store

import (
	"bytes"
	"errors"
	"testing"
)

var samples = []Record{
	{Kind: Message},
	{Kind: Hash, Body: []byte{0}},
	{Kind: Claim, SID: SID{15: 1}, Epoch: 1<<64 - 1, At: -1 << 63, Body: []byte("body")},
	{Kind: Subscribe, Epoch: 127, At: 1<<63 - 1},
	{Kind: Retain, At: -1, Body: bytes.Repeat([]byte("x"), 300)},
}

func same(a, b *Record) bool {
	return a.Kind == b.Kind && a.SID == b.SID && a.Epoch == b.Epoch && a.At == b.At && bytes.Equal(a.Body, b.Body)
}

func TestRecordsComeBackAndEveryCutIsRefused(t *testing.T) {
	for _, want := range samples {
		b := AppendRecord([]byte("head"), &want)[4:]
		if len(b) > want.EncodedMax() {
			t.Errorf("%v: %d bytes, EncodedMax %d", want, len(b), want.EncodedMax())
		}
		var got Record
		n, err := DecodeRecord(append(bytes.Clone(b), 0xee), &got)
		if err != nil || n != len(b) || !same(&got, &want) {
			t.Errorf("%v came back as %v, %d of %d bytes, %v", want, got, n, len(b), err)
		}
		for i := range b {
			if n, err := DecodeRecord(b[:i:i], &got); !errors.Is(err, ErrRecord) {
				t.Errorf("%v cut to %d bytes: %d, %v", want, i, n, err)
			}
		}
	}
}

// There is one way to write a record, so that equal records are equal bytes.
func TestRecordRefusesTheLongWay(t *testing.T) {
	for name, b := range map[string][]byte{
		"version 0":                  {0x00, 1, 0},
		"version 2":                  {0x20, 1, 0},
		"unknown flag":               {0x18, 1, 0},
		"kind 0":                     {0x10, 0, 0},
		"kind not known":             {0x10, byte(kindEnd), 0},
		"SID of zeros":               append([]byte{0x11, 1}, make([]byte, 17)...),
		"epoch 0 written":            {0x12, 1, 0, 0},
		"time 0 written":             {0x14, 1, 0, 0},
		"long form of a length":      {0x10, 1, 0x80, 0},
		"number of eleven bytes":     {0x12, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0},
		"length past the end":        {0x10, 1, 5, 1, 2},
		"length past every bound":    {0x10, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
		"length past the body's max": {0x10, 1, 0xff, 0xff, 0xff, 0x7f},
	} {
		var r Record
		if n, err := DecodeRecord(b, &r); !errors.Is(err, ErrRecord) {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
	}
}

func TestKindsHaveNames(t *testing.T) {
	for k := Message; k < kindEnd; k++ {
		if k.String() == "" {
			t.Errorf("kind %d has no name", uint8(k))
		}
	}
	if DelayEnd != 27 || Hash != 25 || Audit != 24 || Rescue != 17 {
		t.Error("the number of a kind has changed: it is in files")
	}
}

// FuzzRecord: arbitrary bytes never panic and nothing is read past their end, and
// what is read is written the same way.
func FuzzRecord(f *testing.F) {
	for i := range samples {
		f.Add(AppendRecord(nil, &samples[i]))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r, again Record
		n, err := DecodeRecord(b[:len(b):len(b)], &r)
		if err != nil {
			return
		}
		if !r.Valid() || n > len(b) {
			t.Fatalf("%v from %d of %d bytes", r, n, len(b))
		}
		out := AppendRecord(nil, &r)
		if !bytes.Equal(out, b[:n]) {
			t.Fatalf("%x was read and is written %x", b[:n], out)
		}
		if _, err := DecodeRecord(out, &again); err != nil || !same(&r, &again) {
			t.Fatalf("%v came back as %v, %v", r, again, err)
		}
	})
}

// FuzzRecordFields: any valid record comes back.
func FuzzRecordFields(f *testing.F) {
	f.Add(byte(1), []byte("sid"), uint64(1), int64(-1), []byte("body"))
	f.Fuzz(func(t *testing.T, kind byte, sid []byte, epoch uint64, at int64, body []byte) {
		r := Record{Kind: Kind(kind), Epoch: epoch, At: at, Body: body}
		copy(r.SID[:], sid)
		if !r.Valid() {
			return
		}
		var got Record
		b := AppendRecord(nil, &r)
		if n, err := DecodeRecord(b, &got); err != nil || n != len(b) || !same(&r, &got) {
			t.Fatalf("%v came back as %v, %d of %d, %v", r, got, n, len(b), err)
		}
	})
}
