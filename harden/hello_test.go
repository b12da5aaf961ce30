package harden

import (
	"bytes"
	"crypto/tls"
	"net"
	"testing"
	"time"
)

// A TLS library reads our hellos as they are meant.
func TestHellosAreUnderstood(t *testing.T) {
	cert := selfSigned(t)
	for _, c := range []struct {
		hello    hello
		versions []uint16
		name     string
		accepted uint16
	}{
		{hello{legacy: tls12, supported: []uint16{tls13}, name: "localhost"}, []uint16{tls13}, "localhost", tls13},
		{hello{legacy: tls12, supported: []uint16{tls13, tls12}}, []uint16{tls13, tls12}, "", tls13},
		{hello{legacy: tls12, name: "localhost"}, []uint16{tls12, tls11, tls10}, "localhost", tls12},
		{hello{legacy: tls11}, []uint16{tls11, tls10}, "", tls11},
		{hello{legacy: tls10, name: "localhost"}, []uint16{tls10}, "localhost", tls10},
		{hello{legacy: tls12, supported: []uint16{tls11, tls10}}, []uint16{tls11, tls10}, "", tls11},
	} {
		var got *tls.ClientHelloInfo
		conf := &tls.Config{MinVersion: tls.VersionTLS10, Certificates: []tls.Certificate{cert}, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
			GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) { got = h; return nil, nil }}
		ours, theirs := net.Pipe()
		for _, c := range []net.Conn{ours, theirs} {
			if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
		}
		ended := make(chan struct{})
		go func() { defer close(ended); _ = tls.Server(theirs, conf).Handshake() }()
		b, err := c.hello.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ours.Write(b); err != nil {
			t.Fatal(err)
		}
		g := readGreeting(ours)
		_ = ours.Close()
		<-ended
		_ = theirs.Close()
		if g.accepted != c.accepted || got == nil || got.ServerName != c.name {
			t.Errorf("%+v: %s, server name %q", c.hello, g, got.ServerName)
			continue
		}
		for _, v := range c.versions {
			if !bytes.Contains(words16(got.SupportedVersions), words16([]uint16{v})) {
				t.Errorf("%+v: understood as %x", c.hello, got.SupportedVersions)
			}
		}
	}
}

func words16(v []uint16) (out []byte) {
	for _, x := range v {
		out = append(out, byte(x>>8), byte(x))
	}
	return out
}

// Whatever comes back is told from an acceptance.
func TestGreetings(t *testing.T) {
	hello := func(rest ...byte) []byte {
		body := append([]byte{3, 3}, make([]byte, 32)...)
		body = append(body, rest...)
		msg := append([]byte{2, 0, 0, byte(len(body))}, body...)
		return append([]byte{22, 3, 3, 0, byte(len(msg))}, msg...)
	}
	for name, c := range map[string]struct {
		bytes []byte
		want  string
	}{
		"nothing":             {nil, "closed without a word"},
		"half a record":       {[]byte{22, 3, 3}, "closed without a word"},
		"http":                {[]byte("HTTP/1.1 400 Bad Request\r\n"), "an answer that is not TLS"},
		"a record of nothing": {[]byte{22, 3, 3, 0, 0}, "an answer that is not TLS"},
		"a huge record":       {[]byte{22, 3, 3, 0xff, 0xff}, "an answer that is not TLS"},
		"alert":               {[]byte{21, 3, 1, 0, 2, 2, 70}, "alert protocol_version (70)"},
		"another alert":       {[]byte{21, 3, 1, 0, 2, 2, 40}, "alert 40"},
		"a broken alert":      {[]byte{21, 3, 1, 0, 1, 2}, "a broken alert"},
		"TLS 1.2":             {hello(0, 0xc0, 0x2b, 0), "ServerHello for TLS 1.2"},
		"TLS 1.3":             {hello(0, 0x13, 1, 0, 0, 6, 0, 43, 0, 2, 3, 4), "ServerHello for TLS 1.3"},
		"another message":     {[]byte{22, 3, 3, 0, 4, 1, 0, 0, 0}, "a broken ServerHello"},
		"a short hello":       {hello(), "a broken ServerHello"},
		"a long session id":   {hello(200, 0xc0, 0x2b, 0), "a broken ServerHello"},
		"a cut extension":     {hello(0, 0x13, 1, 0, 0, 6, 0, 43, 0, 9, 3, 4), "a broken ServerHello"},
	} {
		if got := readGreeting(bytes.NewReader(c.bytes)).String(); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if versionName(0x7f1c) != "version 0x7f1c" {
		t.Error(versionName(0x7f1c))
	}
}

func FuzzGreeting(f *testing.F) {
	f.Add([]byte{22, 3, 3, 0, 4, 2, 0, 0, 0})
	f.Add([]byte{21, 3, 1, 0, 2, 2, 70})
	f.Add(append([]byte{22, 3, 3, 0, 40, 2, 0, 0, 0}, make([]byte, 36)...)) // says it is empty, and is not
	f.Fuzz(func(t *testing.T, b []byte) {
		if g := readGreeting(bytes.NewReader(b)); g.String() == "" {
			t.Error("no words for what came")
		}
	})
}
