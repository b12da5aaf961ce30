package config

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/redoubtmq/redoubt/internal/secret"
)

// TestEveryFieldHasItsRow walks the structs and the table side by side: the
// same keys in the same order, with types that can hold each other.
func TestEveryFieldHasItsRow(t *testing.T) {
	var walked []string
	var walk func(pattern string, typ reflect.Type)
	walk = func(pattern string, typ reflect.Type) {
		for _, f := range fieldsOf(typ) {
			key := join(pattern, f.name)
			if f.name == "" {
				t.Fatalf("a field of %v has no yaml tag", typ)
			}
			walked = append(walked, key)
			row := rowOf[key]
			if row == nil {
				t.Errorf("%s has no row", key)
				continue
			}
			ft := typ.FieldByIndex(f.index).Type
			if !holds(ft, row.Kind) {
				t.Errorf("%s is a %s in the table and a %v in the struct", key, row.Kind, ft)
			}
			switch row.Kind {
			case KindSection:
				walk(key, ft)
			case KindItems:
				walk(key+"[]", ft.Elem())
			case KindNames:
				if ft.Elem().Kind() == reflect.Struct {
					walk(key+".<name>", ft.Elem())
				} else {
					walked = append(walked, key+".<name>")
				}
			}
		}
	}
	walk("", reflect.TypeFor[Config]())
	var rows []string
	for _, r := range Rows() {
		rows = append(rows, r.Key)
	}
	if !slices.Equal(walked, rows) {
		for i := range max(len(walked), len(rows)) {
			if i >= len(walked) || i >= len(rows) || walked[i] != rows[i] {
				t.Fatalf("struct fields and rows part at %q and %q", walked[min(i, len(walked)-1):], rows[min(i, len(rows)-1):])
			}
		}
	}
}

// holds tells whether a Go type is the one for a kind.
func holds(t reflect.Type, k Kind) bool {
	want := map[Kind]reflect.Type{
		KindPrefixes: reflect.TypeFor[map[string]int](), KindString: reflect.TypeFor[string](), KindName: reflect.TypeFor[string](),
		KindPath: reflect.TypeFor[string](), KindSecret: reflect.TypeFor[Secret](), KindEnum: reflect.TypeFor[string](),
		KindInt: reflect.TypeFor[int](), KindCount: reflect.TypeFor[Count](), KindBool: reflect.TypeFor[bool](),
		KindSize: reflect.TypeFor[Size](), KindAutoSize: reflect.TypeFor[SizeOrAuto](), KindSeconds: reflect.TypeFor[Seconds](), KindDuration: reflect.TypeFor[Duration](),
		KindDate: reflect.TypeFor[Date](), KindEnums: reflect.TypeFor[[]string](), KindNameList: reflect.TypeFor[[]string](), KindBinds: reflect.TypeFor[[]string](), KindOrigins: reflect.TypeFor[[]string](), KindPaths: reflect.TypeFor[[]string](), KindTexts: reflect.TypeFor[[]string](), KindNetworks: reflect.TypeFor[[]string](), KindHosts: reflect.TypeFor[[]string](), KindAccess: reflect.TypeFor[[]string](),
	}
	switch k {
	case KindSection:
		return t.Kind() == reflect.Struct
	case KindNames:
		return t.Kind() == reflect.Map
	case KindItems:
		return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct
	default:
		return want[k] == t
	}
}

// TestRowsSayEverything: what a person would ask of a key is in its row.
func TestRowsSayEverything(t *testing.T) {
	sentence := regexp.MustCompile(`^.+[.]$`)
	for _, r := range Rows() {
		if !sentence.MatchString(r.Why) {
			t.Errorf("%s: why is no sentence: %q", r.Key, r.Why)
		}
		if r.Since == "" {
			t.Errorf("%s: since which release?", r.Key)
		}
		container := r.Kind == KindSection || r.Kind == KindNames
		if (r.Reload == "") != container {
			t.Errorf("%s: reload is %q", r.Key, r.Reload)
		}
		if entry := strings.HasSuffix(r.Key, ".<name>"); !container && !entry && r.Need == (r.Default != "") {
			t.Errorf("%s: a key has a default or is required, not both or neither", r.Key)
		}
		switch r.Kind {
		case KindInt, KindCount, KindSize, KindAutoSize, KindSeconds, KindDuration, KindPrefixes:
			if lo, hi := r.bounds(); lo >= hi {
				t.Errorf("%s: range %s to %s", r.Key, r.Min, r.Max)
			}
		case KindEnum, KindEnums:
			if len(r.Values) == 0 {
				t.Errorf("%s: no choices", r.Key)
			}
		case KindString, KindTexts:
			if r.Pattern == "" || r.Form == "" {
				t.Errorf("%s: no form", r.Key)
			}
		}
		if strings.ContainsAny(r.Range()+r.Unit, "\n|") {
			t.Errorf("%s: breaks the table of the reference page", r.Key)
		}
	}
	for _, n := range later {
		if (rowOf[n.key] == nil) == (n.value != "") {
			t.Errorf("%s %s is in the table and among what is not built yet, or a value of no key", n.key, n.value)
		}
		if n.value != "" && slices.Contains(rowOf[n.key].Values, n.value) {
			t.Errorf("%s: %s is built", n.key, n.value)
		}
	}
}

// TestDefaultsAreDeliberate pins every default: the test of a security default
// is that changing it shows.
func TestDefaultsAreDeliberate(t *testing.T) {
	l, err := loadText("")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/defaults.yaml", l.YAML(false))
}

func TestExampleIsTheDefaults(t *testing.T) {
	empty, err := loadText("")
	if err != nil {
		t.Fatal(err)
	}
	example, err := loadText(string(Example()))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(empty.Config, example.Config) {
		t.Errorf("the example does not mean the defaults:\n%s", example.YAML(false))
	}
	for _, s := range example.Settings() {
		// What a listener's or chain's name stands for is there once; all else is written out.
		if !example.Origin(s.Key).Pinned() {
			t.Errorf("%s is not in the example", s.Key)
		}
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	text := "listeners: {mqtts: {tls: {certificates: [{cert: a.pem, key: file:a.key}, {cert: b.pem, key: credential:b}]}}}"
	l, err := loadText(text)
	if err != nil {
		t.Fatal(err)
	}
	certs := l.Config.Listeners["mqtts"].TLS.Certificates
	want := []Certificate{
		{"/etc/redoubt/a.pem", Secret{"file:/etc/redoubt/a.key", secret.FromString(canary)}},
		{"/etc/redoubt/b.pem", Secret{"credential:b", secret.FromString(canary)}},
	}
	if !reflect.DeepEqual(certs, want) {
		t.Errorf("certificates are %v", certs)
	}
	shown := string(l.YAML(true))
	ex, err := l.Explain("listeners.mqtts.tls.certificates")
	if err != nil {
		t.Fatal(err)
	}
	other, err := loadText(strings.Replace(text, "a.key", "c.key", 1))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range Diff(l.Config, other.Config) {
		shown += c.From + c.To
	}
	shown += ex.Text() + mustJSON(t, ex) + mustJSON(t, l.Settings()) + mustJSON(t, l.Config)
	if strings.Contains(shown, canary) {
		t.Errorf("a secret is shown:\n%s", shown)
	}
	if !strings.Contains(shown, "file:/etc/redoubt/a.key") {
		t.Errorf("the reference of a secret is not shown:\n%s", shown)
	}
}
