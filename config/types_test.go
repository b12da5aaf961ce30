package config

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestBind(t *testing.T) {
	for text, want := range map[string]struct {
		loopback bool
		iface    string
		port     uint16
	}{
		":8883":                   {false, "", 8883},
		"127.0.0.1:1883":          {true, "", 1883},
		"127.255.0.9:0":           {true, "", 0},
		"[::1]:1883":              {true, "", 1883},
		"[::ffff:127.0.0.1]:1883": {true, "", 1883},
		"[::ffff:8.8.8.8]:1883":   {false, "", 1883},
		"0.0.0.0:65535":           {false, "", 65535},
		"[::]:1":                  {false, "", 1},
		"10.1.2.3:1883":           {false, "", 1883},
		"[fe80::1%eth0]:8883":     {false, "", 8883},
		"[fe80::1%12]:8883":       {false, "", 8883},
		"eth0.100:8883":           {false, "eth0.100", 8883},
		"lo:1883":                 {false, "lo", 1883},
		"enp0s31f6-vlan1:1":       {false, "enp0s31f6-vlan1", 1},
	} {
		b, err := ParseBind(text)
		if err != nil || b.Loopback() != want.loopback || b.Interface != want.iface || b.Port != want.port {
			t.Errorf("%s is %+v, %v", text, b, err)
		}
		if b.String() != text {
			t.Errorf("%s is written %s", text, b)
		}
	}
}

// A zone gets into rules of the packet filter, logs and reports: it is an interface.
func TestZonesAreInterfaces(t *testing.T) {
	for _, zone := range []string{"a b", "x\nflush ruleset", "\x1b[31m", "%", "much-too-long-for-a-kernel", "/etc"} {
		if b, err := ParseBind("[fe80::1%" + zone + "]:8883"); err == nil {
			t.Errorf("%q: %+v", zone, b)
		}
	}
}

// TestWhatIsWrittenIsReadAgain: every value has one text, and that text is the
// value.
func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := Size(rapid.Int64Range(0, 1<<50).Draw(t, "size"))
		if got, err := parseSize(size.String()); err != nil || got != size {
			t.Errorf("%d bytes are written %s and read %d, %v", int64(size), size, int64(got), err)
		}
		d := rapid.Int64Range(0, int64(100*24*time.Hour)).Draw(t, "duration")
		if got, err := ParseDuration(Duration(d).String()); err != nil || int64(got) != d {
			t.Errorf("%d ns are written %v and read %d, %v", d, Duration(d), got, err)
		}
		s := Seconds(rapid.Uint32().Draw(t, "seconds"))
		if got, err := ParseDuration(s.String()); err != nil || got != s.Std() {
			t.Errorf("%d s are written %v and read %v, %v", uint32(s), s, got, err)
		}
	})
}

func TestTextOfValues(t *testing.T) {
	for got, want := range map[string]string{
		Size(0).String(): "0", Size(512).String(): "512", Size(1<<20 + 1).String(): "1048577", Size(3 << 30).String(): "3GiB",
		Duration(5 * time.Minute).String(): "5m", Duration(2 * time.Hour).String(): "2h", Duration(90 * time.Second).String(): "1m30s",
		Duration(100 * time.Millisecond).String(): "100ms", Duration(0).String(): "0s", Duration(10 * time.Second).String(): "10s",
		Seconds(300).String(): "300s", Seconds(3600).String(): "3600s", Seconds(168 * 3600).String(): "168h", Seconds(0).String(): "0s",
		Auto.String(): "auto", Count(7).String(): "7", AutoSize.String(): "auto", SizeOrAuto(96 << 20).String(): "96MiB",
	} {
		if got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
	day := DateOf(time.Date(2026, 12, 31, 23, 59, 0, 0, time.FixedZone("", -3600)))
	if day.String() != "2027-01-01" || day.AddDays(-1).After(day) || !day.End().Equal(time.Date(2027, 1, 2, 0, 0, 0, 0, time.UTC)) {
		t.Error(day, day.End())
	}
}
