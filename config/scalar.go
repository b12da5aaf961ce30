package config

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// scalar decodes one value and tells whether it was taken.
func (d *decoder) scalar(n *yaml.Node, row *Row, path string, v reflect.Value) bool {
	switch row.Kind {
	case KindSecret:
		s, ok := d.secretAt(n, row, path)
		if ok {
			v.Set(reflect.ValueOf(s))
		}
		return ok
	case KindString, KindName, KindPath, KindEnum:
		s, ok := d.text(n, row, path)
		if ok {
			v.SetString(s)
		}
		return ok
	}
	if n.Kind != yaml.ScalarNode {
		d.refuse(n, path, "", "is %s where a %s belongs.", describe(n), row.Kind)
		return false
	}
	switch row.Kind {
	case KindBool:
		if n.ShortTag() != "!!bool" || n.Value != "true" && n.Value != "false" {
			if n.Value == "true" || n.Value == "false" {
				d.refuse(n, path, quote(n.Value), "is text. Remove the quotes.")
			} else {
				d.refuse(n, path, quote(n.Value), "is neither true nor false.")
			}
			return false
		}
		v.SetBool(n.Value == "true")
	case KindDate:
		t, err := time.Parse(time.DateOnly, n.Value)
		if err != nil {
			d.refuse(n, path, quote(n.Value), "is not a date. Write year-month-day, such as 2027-03-31.")
			return false
		}
		v.Set(reflect.ValueOf(DateOf(t)))
	default:
		return d.number(n, row, path, v)
	}
	return true
}

// number decodes what has a range.
func (d *decoder) number(n *yaml.Node, row *Row, path string, v reflect.Value) bool {
	if t := n.ShortTag(); t == "!!str" && (row.Kind == KindInt || row.Kind == KindCount) && strings.Trim(n.Value, "0123456789") == "" && n.Value != "" {
		d.refuse(n, path, quote(n.Value), "is text, not a number. Remove the quotes.")
		return false
	}
	x, err := row.parse(n.Value)
	if err != nil {
		d.refuse(n, path, quote(n.Value), "%v.", err)
		return false
	}
	if n.Value == "auto" && (row.Kind == KindCount || row.Kind == KindAutoSize) {
		v.SetInt(x)
		return true
	}
	if lo, hi := row.bounds(); x < lo || x > hi {
		d.refuse(n, path, quote(n.Value), "is out of range. Range: %s%s.", row.Range(), row.orDefault("; default %s"))
		return false
	}
	if row.Kind == KindSeconds {
		if x%int64(time.Second) != 0 {
			d.refuse(n, path, quote(n.Value), "is not whole seconds.")
			return false
		}
		v.SetUint(uint64(x / int64(time.Second)))
		return true
	}
	v.SetInt(x)
	return true
}

// parse reads a number in the key's notation: bytes for sizes, nanoseconds for
// durations. What is too large for an int64 is the largest one. Errors are
// clauses that follow the value.
func (r *Row) parse(text string) (int64, error) {
	switch r.Kind {
	case KindSize:
		s, err := parseSize(text)
		return int64(s), err
	case KindAutoSize:
		if text == "auto" {
			return int64(AutoSize), nil
		}
		s, err := parseSize(text)
		if err != nil {
			err = fmt.Errorf("is not auto, and %w", err)
		}
		return int64(s), err
	case KindDuration, KindSeconds:
		t, err := ParseDuration(text)
		return int64(t), err
	}
	if text == "auto" && r.Kind == KindCount {
		return int64(Auto), nil
	}
	x, err := strconv.ParseInt(text, 10, 64)
	switch {
	case octal(text):
		return 0, errOctal
	case err == nil && !strings.HasPrefix(text, "+"):
		return x, nil
	case text != "" && strings.Trim(text, "0123456789") == "":
		return math.MaxInt64, nil
	case r.Kind == KindCount:
		return 0, errors.New("is neither auto nor a whole number in decimal digits")
	default:
		return 0, errors.New("is not a whole number in decimal digits")
	}
}

// bounds is the range as parse counts it. A row whose bounds do not parse is a
// bug that the tests of the table find.
func (r *Row) bounds() (lo, hi int64) {
	lo, err1 := r.parse(r.Min)
	hi, err2 := r.parse(r.Max)
	if err1 != nil || err2 != nil {
		panic("BUG: the row of " + r.Key + " has no range")
	}
	return lo, hi
}

// text decodes a string and checks it against the row; of a list's row, one
// entry of the list.
func (d *decoder) text(n *yaml.Node, row *Row, path string) (string, bool) {
	if n.Kind != yaml.ScalarNode {
		d.refuse(n, path, "", "is %s where %s belongs.", describe(n), row.describe())
		return "", false
	}
	s := n.Value
	switch tag := n.ShortTag(); {
	case tag == "!!null":
		d.refuse(n, path, "", "is empty. Write %s.", row.describe())
		return "", false
	case tag != "!!str" && len(row.Values) > 0 && !slices.Contains(row.Values, s):
		d.refuse(n, path, quote(s), "is not possible here. Write %s.", row.Range())
		return "", false
	case tag != "!!str":
		d.refuse(n, path, s, "is %s, not text. Put it in quotes: %s.", describe(n), quote(s))
		return "", false
	case len(s) > textMax:
		d.refuse(n, path, quote(s), "is longer than %d bytes.", textMax)
		return "", false
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		d.refuse(n, path, quote(s), "has a control character in it.")
		return "", false
	}
	return d.form(n, s, row, path)
}

// form checks text against the form its row asks for.
func (d *decoder) form(n *yaml.Node, s string, row *Row, path string) (string, bool) {
	switch row.Kind {
	case KindPath, KindPaths:
		return d.path(n, s, row, path)
	case KindBinds:
		if row.Key == bindOfListener && isSocketPath(s) {
			return d.path(n, s, row, path)
		}
		if _, err := ParseBind(s); err != nil {
			d.refuse(n, path, quote(s), "%v.", err)
			return "", false
		}
	case KindOrigins:
		if !shape(originPattern).MatchString(s) {
			d.refuse(n, path, quote(s), "is no origin. Write %s.", row.Form)
			return "", false
		}
	case KindHosts:
		if !publicHost(s) {
			d.refuse(n, path, quote(s), "is no host name that a public CA knows. Write one in lower case with its domain, such as broker.example.com.")
			return "", false
		}
	case KindNetworks:
		if err := checkNetwork(s); err != nil {
			d.refuse(n, path, quote(s), "%v.", err)
			return "", false
		}
	case KindAccess:
		if _, err := ParseAccess(s); err != nil {
			d.refuse(n, path, quote(s), "%v.", err)
			return "", false
		}
	case KindName, KindNameList:
		if !validName(s) {
			d.refuse(n, path, quote(s), "is no name. Names are %s.", nameForm)
			return "", false
		}
	case KindEnum, KindEnums:
		if slices.Contains(row.Values, s) {
			return s, true
		}
		if part := partOf(row.Key, s); part != "" {
			d.refuse(n, path, quote(s), "is not built yet: it joins with %s. Possible now: %s.", part, row.Range())
		} else if near := abbreviated(s, row.Values); near != "" && len(s) <= 64 {
			d.refuse(n, path, quote(s), "is not possible here. Did you mean %s? Possible: %s.", near, row.Range())
		} else {
			d.refuse(n, path, quote(s), "is not possible here. Possible: %s.", row.Range())
		}
		return "", false
	case KindString, KindTexts:
		if s == "" && row.Default == `""` {
			return s, true
		}
		if !shape(row.Pattern).MatchString(s) {
			d.refuse(n, path, quote(s), "has not the form of this key: %s.", row.Form)
			return "", false
		}
	}
	return s, true
}

// path cleans a path, and places a relative one beside the file it is in.
func (d *decoder) path(n *yaml.Node, s string, row *Row, path string) (string, bool) {
	switch {
	case s == "" && row.Default == `""`:
		return "", true
	case s == "":
		d.refuse(n, path, "", "is empty. Write a path.")
		return "", false
	case s == "~" || strings.HasPrefix(s, "~/"):
		d.refuse(n, path, quote(s), "begins with ~, which only a shell replaces. Write the whole path.")
		return "", false
	}
	return d.resolve(s), true
}

// resolve is the path as this process can open it.
func (d *decoder) resolve(s string) string {
	if d.base != "" && !filepath.IsAbs(s) {
		s = filepath.Join(d.base, s)
	}
	return filepath.Clean(s)
}

// originPattern is how browsers write the origin of a page (RFC 6454 §6.2).
const originPattern = `^[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?$`

// shape compiles a row's pattern once.
func shape(pattern string) *regexp.Regexp {
	if re, ok := shapes.Load(pattern); ok {
		return re.(*regexp.Regexp)
	}
	re := regexp.MustCompile(pattern)
	shapes.Store(pattern, re)
	return re
}

var shapes sync.Map

// prefixLength accepts "/8" to "/128".
func prefixLength(s string) bool {
	n, err := strconv.Atoi(strings.TrimPrefix(s, "/"))
	return err == nil && s == "/"+strconv.Itoa(n) && n >= 8 && n <= 128
}
