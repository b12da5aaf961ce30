package conn

import (
	"bytes"
	"testing"
)

func TestHelloSize(t *testing.T) {
	zeros := func(n int) string { return string(make([]byte, n)) }
	for _, row := range []struct {
		name string
		b    string
		need int // 0: refused
	}{
		{"nothing", "", 5},
		{"a first byte", "\x16", 5},
		{"a first byte of MQTT", "\x10", 0},
		{"a first byte of HTTP", "G", 0},
		{"four bytes", "\x16\x03\x01\x00", 5},
		{"a record header", "\x16\x03\x01\x01\x00", 5 + 256},
		{"an empty record", "\x16\x03\x01\x00\x00", 0},
		{"a record over 16 KiB", "\x16\x03\x01\x40\x01", 0},
		{"a record of 16 KiB", "\x16\x03\x01\x40\x00", 5 + 16<<10},
		{"SSL 2", "\x16\x02\x01\x01\x00", 0},
		{"an alert", "\x15\x03\x01\x00\x02", 0},
		{"a ServerHello", "\x16\x03\x01\x01\x00\x02", 0},
		{"a ClientHello begins", "\x16\x03\x01\x01\x00\x01", 5 + 256},
		{"its length is as the record says", "\x16\x03\x01\x01\x00\x01\x00\x00\xfc", 5 + 256},
		{"it goes on in a second record", "\x16\x03\x01\x01\x00\x01\x00\x00\xfd", 5 + 256 + 5},
		{"a whole one", "\x16\x03\x01\x00\x08\x01\x00\x00\x04abcd", 13},
		{"a whole one and more", "\x16\x03\x01\x00\x08\x01\x00\x00\x04abcdefgh", 13},
		{"over 16 KiB", "\x16\x03\x01\x40\x00\x01\x00\x40\x01", 0},
		{"16 MiB", "\x16\x03\x01\x40\x00\x01\xff\xff\xff", 0},
		{"its head is in three records", "\x16\x03\x01\x00\x01\x01\x16\x03\x01\x00\x01\x00\x16\x03\x01\x00\x06\x00\x04abcd", 0 + 6 + 6 + 11},
		{"four records", "\x16\x03\x01\x00\x05\x01\x00\x00\x04a\x16\x03\x01\x00\x01b\x16\x03\x01\x00\x01c\x16\x03\x01\x00\x01d", 28},
		{"five records", "\x16\x03\x01\x00\x05\x01\x00\x00\x05a\x16\x03\x01\x00\x01b\x16\x03\x01\x00\x01c\x16\x03\x01\x00\x01d\x16\x03\x01\x00\x01e", 0},
		{"a second record that is data", "\x16\x03\x01\x00\x05\x01\x00\x00\x05a\x17\x03\x01\x00\x01b", 0},
		{"a tail over what is looked at", "\x16\x03\x01\x20\x00\x01\x00\x20\x00" + zeros(0x2000-4) + "\x16\x03\x01\x40\x00", 0},
	} {
		need, ok := helloSize([]byte(row.b))
		if !ok {
			need = 0
		}
		if need != row.need {
			t.Errorf("%s: %d, %v; want %d", row.name, need, ok, row.need)
		}
	}
}

// FuzzHelloSize: what is accepted is a ClientHello that is whole; every beginning of
// it is waited for, never with a wish for less than has come or for more than is
// looked at.
func FuzzHelloSize(f *testing.F) {
	f.Add([]byte("\x16\x03\x01\x00\x08\x01\x00\x00\x04abcd"), uint16(3))
	f.Add([]byte("\x16\x03\x01\x00\x01\x01\x16\x03\x01\x00\x01\x00\x16\x03\x01\x00\x06\x00\x04abcd"), uint16(9))
	f.Add(append([]byte("\x16\x03\x01\x20\x00\x01\x00\x20\x01"), bytes.Repeat([]byte("\x16\x03\x01\x40\x00"), 4000)...), uint16(8200))
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		need, ok := helloSize(b)
		if !ok {
			return
		}
		if need > peekMax {
			t.Fatalf("waits for %d bytes and looks at %d", need, peekMax)
		}
		if part := b[:min(int(cut), len(b))]; len(part) < need {
			less, ok := helloSize(part)
			if !ok || less > need || less <= len(part) {
				t.Fatalf("%d of %d bytes: %d, %v", len(part), need, less, ok)
			}
		}
		if need > len(b) {
			return
		}
		var message []byte
		records := 0
		for at := 0; at < need; records++ {
			end := at + recordHeader + int(b[at+3])<<8 + int(b[at+4])
			message = append(message, b[at+recordHeader:end]...)
			at = end
		}
		if records > helloRecords || message[0] != 1 || len(message) < 4 || len(message)-4 < int(message[1])<<16+int(message[2])<<8+int(message[3]) {
			t.Fatalf("not a whole ClientHello: % x in %d records", message[:min(len(message), 8)], records)
		}
	})
}
