package config

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// yamlFor writes a file with one key.
func yamlFor(key, value string) string {
	var b strings.Builder
	names := strings.Split(key, ".")
	for i, name := range names {
		b.WriteString(strings.Repeat("  ", i) + name + ":")
		if i < len(names)-1 {
			b.WriteString("\n")
		}
	}
	return b.String() + " " + value + "\n"
}

// problemAt returns what was said about a key, "" if nothing.
func problemAt(t *testing.T, err error, key string) string {
	t.Helper()
	var es *Errors
	if err == nil {
		return ""
	}
	if !errors.As(err, &es) {
		t.Fatalf("Load returned %T: %v", err, err)
	}
	for _, p := range es.Problems {
		if p.Key == key || strings.HasPrefix(p.Key, key+".") || strings.HasPrefix(p.Key, key+"[") {
			return p.Error()
		}
	}
	return ""
}

// TestRangeEdges tries, for every number, both ends of its range and the first
// value beyond each.
func TestRangeEdges(t *testing.T) {
	tried := 0
	for _, r := range Rows() {
		one := func(value string) string {
			if r.Kind == KindPrefixes {
				value = `{"/24": ` + value + `}`
			}
			key := r.Key
			if list, name, ok := strings.Cut(key, "[]."); ok { // of an item: the first one
				key, value = list, "[{"+name+": "+value+"}]"
			}
			name := strings.NewReplacer("<name>", "mqtts", "[]", "[0]")
			_, err := loadText(yamlFor(name.Replace(key), value))
			return problemAt(t, err, name.Replace(r.Key))
		}
		var below, above string
		lo, hi := int64(0), int64(0)
		if r.Min != "" {
			lo, hi = r.bounds()
		}
		switch r.Kind {
		case KindInt, KindPrefixes:
			below, above = Count(lo-1).String(), Count(hi+1).String()
			if lo == 1 {
				below = "0" // which a Count calls auto
			}
		case KindCount:
			below, above = "0", Count(hi+1).String()
		case KindSize:
			below, above = Size(lo-1).String(), Size(hi+1).String()
			if lo == 0 {
				below = "-1"
			}
		case KindAutoSize:
			below, above = Size(lo-1).String(), Size(hi+1).String()
		case KindSeconds:
			below, above = Seconds(lo/1e9-1).String(), Seconds(hi/1e9+1).String()
			if lo == 0 {
				below = "-1s"
			}
		case KindDuration:
			below, above = (time.Duration(lo) - 1).String(), (time.Duration(hi) + 1).String()
		default:
			continue
		}
		tried++
		for _, value := range []string{r.Min, r.Max} {
			if p := one(value); strings.Contains(p, "out of range") {
				t.Errorf("%s at the end of its range: %s", r.Key, p)
			}
		}
		for _, value := range []string{below, above} {
			p := one(value)
			if !strings.Contains(p, r.Range()) && !strings.HasPrefix(value, "-") {
				t.Errorf("%s: %s, beyond the range, is answered %q", r.Key, value, p)
			}
			if p == "" {
				t.Errorf("%s: %s, beyond the range, is taken", r.Key, value)
			}
		}
	}
	if tried < 30 {
		t.Errorf("only %d keys have a range", tried)
	}
}

// TestEveryKeyRefusesNonsense gives every key a value of each wrong shape.
func TestEveryKeyRefusesNonsense(t *testing.T) {
	for _, r := range Rows() {
		if strings.Contains(r.Key, "[]") {
			continue
		}
		key := strings.Replace(r.Key, "<name>", "mqtts", 1)
		for _, value := range []string{"[[x]]", "{zz: {a: b}}", `"\0"`, "!tag x", "-1"} {
			_, err := loadText(yamlFor(key, value))
			if problemAt(t, err, key) == "" {
				t.Errorf("%s takes %s", key, value)
			}
		}
	}
}

// TestEnvReachesEveryKey sets every default again, through the environment.
func TestEnvReachesEveryKey(t *testing.T) {
	plain, err := loadText("")
	if err != nil {
		t.Fatal(err)
	}
	var env []string
	for _, s := range plain.Settings() {
		value := s.Text
		if strings.HasPrefix(value, `"`) {
			value = strings.Trim(value, `"`)
		}
		env = append(env, EnvName(s.Key)+"="+value)
	}
	l, err := loadText("", env...)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range l.Settings() {
		if o := l.Origin(s.Key); o.Kind != FromEnv || o.Name != EnvName(s.Key) {
			t.Errorf("%s comes from %v", s.Key, o)
		}
	}
	if changes := Diff(plain.Config, l.Config); len(changes) != 0 {
		t.Errorf("the same values are a change: %v", changes)
	}
}
