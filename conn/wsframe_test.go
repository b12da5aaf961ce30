package conn

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
)

// frameVectors are frames as a client sends them, in hexadecimal with a mask of
// zeros where it does not matter; the limit is 100,000 bytes.
var frameVectors = []struct {
	name, in string
	data     string // what is MQTT in it
	status   uint16 // of our close frame; 0: the frames go on
	ping     string // the ping to answer, behind "!"
}{
	{"the example of RFC 6455 §5.7, binary", "82 85 37fa213d 7f9f4d5158", "Hello", 0, ""},
	{"in fragments", "02 83 00000000 48656c 80 82 00000000 6c6f", "Hello", 0, ""},
	{"in three fragments, one of them empty", "02 81 00000000 48 00 80 00000000 80 81 00000000 49", "HI", 0, ""},
	{"an empty frame", "82 80 00000000", "", 0, ""},
	{"two frames", "82 81 00000000 41 82 81 01010101 43", "AB", 0, ""},
	{"16 bits of length", "82 fe 007e 00000000" + strings.Repeat("41", 126), strings.Repeat("A", 126), 0, ""},
	{"64 bits of length", "82 ff 0000000000010000 00000000" + strings.Repeat("41", 65536), strings.Repeat("A", 65536), 0, ""},
	{"a ping", "89 82 00000000 6869", "", 0, "!hi"},
	{"an empty ping", "89 80 00000000", "", 0, "!"},
	{"two pings, the latest counts", "89 81 00000000 61 89 81 00000000 62", "", 0, "!b"},
	{"a pong nobody asked for", "8a 82 00000000 6869", "", 0, ""},
	{"a ping of 125 bytes", "89 fd 00000000" + strings.Repeat("41", 125), "", 0, "!" + strings.Repeat("A", 125)},
	{"a ping between fragments", "02 81 00000000 41 89 81 00000000 70 80 81 00000000 42", "AB", 0, "!p"},

	{"a close", "88 82 00000000 03e8", "", 1000, ""},
	{"an empty close", "88 80 00000000", "", 1000, ""},
	{"a close with a reason", "88 84 00000000 0bb8 6f6b", "", 3000, ""},
	{"a close with half a status", "88 81 00000000 03", "", 1002, ""},
	{"a close with a status nobody may send", "88 82 00000000 03ee", "", 1002, ""},
	{"nothing counts behind a close", "82 81 00000000 41 88 80 00000000 82 81 00000000 42", "A", 1000, ""},

	{"a text frame", "81 85 37fa213d 7f9f4d5158", "", 1003, ""},
	{"a text frame behind data", "82 81 00000000 41 81 81 00000000 42", "A", 1003, ""},
	{"unmasked", "82 01 41", "", 1002, ""},
	{"an unmasked close", "88 00", "", 1002, ""},
	{"RSV1, compressed", "c2 81 00000000 41", "", 1002, ""},
	{"RSV2", "a2 81 00000000 41", "", 1002, ""},
	{"RSV3 on a ping", "99 80 00000000", "", 1002, ""},
	{"reserved opcode 3", "83 80 00000000", "", 1002, ""},
	{"reserved opcode 11", "8b 80 00000000", "", 1002, ""},
	{"a continuation of nothing", "80 81 00000000 41", "", 1002, ""},
	{"a message inside another", "02 81 00000000 41 82 81 00000000 42", "A", 1002, ""},
	{"a fragmented ping", "09 80 00000000", "", 1002, ""},
	{"a fragmented close", "08 80 00000000", "", 1002, ""},
	{"a ping of 126 bytes", "89 fe 007e 00000000", "", 1002, ""},
	{"a ping of 64 bits", "89 ff", "", 1002, ""},
	{"16 bits for 125", "82 fe 007d 00000000", "", 1002, ""},
	{"64 bits for 65535", "82 ff 000000000000ffff 00000000", "", 1002, ""},
	{"at the limit", "82 ff 00000000000186a0 00000000 41", "A", 0, ""},
	{"over the limit", "82 ff 00000000000186a1 00000000 41", "", 1009, ""},
	{"2^63 - 1", "82 ff 7fffffffffffffff 00000000", "", 1009, ""},
	{"2^63", "82 ff 8000000000000000 00000000", "", 1002, ""},
	{"2^64 - 1", "82 ff ffffffffffffffff 00000000", "", 1002, ""},
}

const vectorLimit = 100_000

func TestFrameVectors(t *testing.T) {
	for _, v := range frameVectors {
		in, err := hex.DecodeString(strings.ReplaceAll(v.in, " ", ""))
		if err != nil {
			t.Fatal(v.name, err)
		}
		for _, cut := range []int{len(in), 1, 3, 7} {
			var f frames
			got := takeIn(&f, in, func(int) int { return cut })
			if string(got) != v.data || f.status != v.status || (f.end != nil) != (v.status != 0) {
				t.Errorf("%s, %d bytes at a time: %q, status %d, %v; want %q, %d", v.name, cut, clip(got), f.status, f.end, clip([]byte(v.data)), v.status)
			}
			if f.pong != (v.ping != "") || f.pong && "!"+string(f.ping) != v.ping {
				t.Errorf("%s, %d bytes at a time: ping %q %v, want %q", v.name, cut, f.ping, f.pong, v.ping)
			}
		}
	}
}

// takeIn gives f what came in pieces.
func takeIn(f *frames, in []byte, cut func(left int) int) (data []byte) {
	for in = bytes.Clone(in); len(in) > 0; {
		n := min(max(cut(len(in)), 1), len(in))
		data = append(data, f.take(in[:n:n], vectorLimit)...)
		in = in[n:]
	}
	return data
}

// Random bytes in random pieces: nothing panics, and the pieces make no
// difference. What is cut says where.
func FuzzFrames(f *testing.F) {
	for _, v := range frameVectors {
		if in, err := hex.DecodeString(strings.ReplaceAll(v.in, " ", "")); err == nil && len(in) < 1000 {
			f.Add(in, []byte{1, 5, 2})
		}
	}
	f.Fuzz(func(t *testing.T, in, cut []byte) {
		var whole, pieces frames
		want := takeIn(&whole, in, func(left int) int { return left })
		got := takeIn(&pieces, in, func(left int) int {
			if len(cut) == 0 {
				return left
			}
			n := int(cut[left%len(cut)])
			return n
		})
		if !bytes.Equal(got, want) || pieces.status != whole.status || pieces.pong != whole.pong || !bytes.Equal(pieces.ping, whole.ping) {
			t.Errorf("whole: %x, %d, %x\nin pieces: %x, %d, %x", want, whole.status, whole.ping, got, pieces.status, pieces.ping)
		}
		if (whole.end == nil) != (pieces.end == nil) || whole.end != nil && *whole.end != *pieces.end {
			t.Errorf("whole: %v\nin pieces: %v", whole.end, pieces.end)
		}
		if len(want) > len(in) || len(whole.control) > controlMax || len(whole.ping) > controlMax {
			t.Errorf("%d bytes, a control frame of %d and a ping of %d from %d", len(want), len(whole.control), len(whole.ping), len(in))
		}
	})
}

// Our own frames have the shortest header, whatever their length.
func TestFrameFrom(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 65535, 65536, 200_000} {
		payload := bytes.Repeat([]byte{7}, n)
		b := frameFrom(append([]byte("x\x82\x7e\x00\x00"), payload...), 1)
		if n == 0 {
			if string(b) != "x" {
				t.Errorf("an empty frame: % x", b)
			}
			continue
		}
		head := []byte{'x', 0x82, byte(n)}
		if n >= 126 {
			head = binary.BigEndian.AppendUint16([]byte{'x', 0x82, 126}, uint16(n))
		}
		if n >= 1<<16 {
			head = binary.BigEndian.AppendUint64([]byte{'x', 0x82, 127}, uint64(n))
		}
		if !bytes.Equal(b, append(head, payload...)) {
			t.Errorf("%d bytes: % x", n, b[:20])
		}
	}
}

func BenchmarkUnmask(b *testing.B) {
	in := frame(0x82, make([]byte, 16<<10))
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		var f frames
		f.take(in, 1<<20)
	}
}
