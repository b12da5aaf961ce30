package lookup

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redoubtmq/redoubt/auth"
	"github.com/redoubtmq/redoubt/auth/jwt"
	"github.com/redoubtmq/redoubt/backend"
)

// verdict is an answer that was understood.
type verdict struct {
	result   string // allow, deny or ignore
	username string
	claims   auth.Claims
}

// untilMax is the last time an answer can name: what is later is of another unit.
var untilMax = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC).Unix()

// read takes an answer. A field that is not known may have been meant to make less of a
// client, so that it is not left out.
func (s *Service) read(body string) (*verdict, error) {
	o, err := jwt.Object([]byte(body))
	if err != nil {
		return nil, fmt.Errorf("the answer %w", err)
	}
	d := &verdict{}
	for _, name := range sortedNames(o) {
		value := o[name]
		text, _ := value.(string)
		switch name {
		case "result":
			if d.result = text; !slices.Contains([]string{"allow", "deny", "ignore"}, text) {
				return nil, errors.New("the answer has a result that is none of allow, deny and ignore")
			}
		case "username":
			if d.username = text; text == "" || len(text) > AttrBytesMax {
				return nil, fmt.Errorf("the answer has a username that is no text of 1 to %d bytes", AttrBytesMax)
			}
		case "is_superuser":
			is, fits := value.(bool)
			if !fits {
				return nil, errors.New("the answer has an is_superuser that is neither true nor false")
			}
			d.claims.Superuser = is && s.opt.Superuser
		case "client_attrs":
			attrs, err := jwt.Attributes(value)
			if err != nil {
				return nil, fmt.Errorf("the answer has client_attrs that %w", err)
			}
			if s.opt.Attributes {
				d.claims.Attrs = attrs
			}
		case "acl":
			own, err := rulesOf(jwt.Source, "", value)
			if err != nil {
				return nil, fmt.Errorf("the answer has an acl %w", err)
			}
			d.claims.Rules = []auth.Own{own}
		case "expire_at":
			if d.claims.Until, err = readUntil(value); err != nil {
				return nil, err
			}
		case "clientid_override", "zone_override":
			return nil, fmt.Errorf("the answer has %s, which is EMQX's and not known here: nobody gets another client identifier or zone by authentication", name)
		default:
			return nil, fmt.Errorf("the answer has %s, which has no meaning; there are result, username, is_superuser, client_attrs, acl and expire_at", shown(name))
		}
	}
	if d.result == "" {
		return nil, errors.New("the answer has no result")
	}
	return d, nil
}

// readUntil reads seconds since 1970.
func readUntil(value any) (time.Time, error) {
	n, is := value.(json.Number)
	at, err := strconv.ParseInt(string(n), 10, 64)
	if !is || err != nil || at <= 0 || at > untilMax {
		return time.Time{}, errors.New("the answer has an expire_at that is no whole number of seconds since 1970 (milliseconds are too large)")
	}
	return time.Unix(at, 0), nil
}

func sortedNames(o map[string]any) []string {
	names := make([]string, 0, len(o))
	for name := range o {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// httpAnswer is what package backend/web has answered.
func httpAnswer(rows []backend.Row) (status, body string, err error) {
	if len(rows) != 1 || len(rows[0]) != 2 || rows[0][0].Name != "status" || rows[0][1].Name != "body" {
		return "", "", errors.New("BUG: this is no answer over HTTP")
	}
	return rows[0][0].Value, rows[0][1].Value, nil
}

// rulesOf compiles rules in either form of acl. The error is the rest of a sentence that
// begins with what they are in.
func rulesOf(source, file string, value any) (auth.Own, error) {
	specs, err := jwt.Rules(value)
	if err != nil {
		return auth.Own{}, fmt.Errorf("that %w", err)
	}
	for i := range specs {
		if specs[i].ID == "" {
			specs[i].ID = fmt.Sprintf("rule %d", i+1)
		}
		if file != "" {
			specs[i].File, specs[i].Line = file, i+1
		}
	}
	own, err := auth.CompileOwn(source, specs)
	if err != nil {
		return auth.Own{}, fmt.Errorf("of which %w", err)
	}
	return own, nil
}

// rulesOfService are the rules that a service has for a client: acl, and nothing else.
func rulesOfService(name string, rows []backend.Row) (auth.Own, error) {
	status, body, err := httpAnswer(rows)
	switch {
	case err != nil:
		return auth.Own{}, fmt.Errorf("%s: %w", name, err)
	case status != "200":
		return auth.Own{}, fmt.Errorf("%s: the service answers %s without rules; none are {\"acl\": []}", name, status)
	}
	o, err := jwt.Object([]byte(body))
	if err != nil {
		return auth.Own{}, fmt.Errorf("%s: the answer %w", name, err)
	}
	acl, there := o["acl"]
	switch _, asks := o["result"]; {
	case asks:
		return auth.Own{}, fmt.Errorf("%s: the answer has a result: all rules of a client are read at once, and nobody is asked about each publish; answer {\"acl\": [...]}", name)
	case !there || len(o) != 1:
		return auth.Own{}, fmt.Errorf("%s: the answer is not {\"acl\": [...]} and nothing else", name)
	}
	own, err := rulesOf(name, name, acl)
	if err != nil {
		return auth.Own{}, fmt.Errorf("%s: the answer has an acl %w", name, err)
	}
	return own, nil
}
