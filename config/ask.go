package config

import (
	"fmt"
	"strings"
)

// What a command says to somebody who has a key nearly right. None of it needs a
// configuration: a key is one whether or not it is set.

// Known answers a *KeyError for what is no key and no section, with the nearest that is.
func Known(key string) error {
	if _, err := (*Loaded)(nil).patternOf(key); err != nil {
		return &KeyError{key, Unknown, strings.TrimPrefix(err.Error(), printable(key)+" ")}
	}
	return nil
}

// Lacks says what may stand behind a key that was written without its value: an error in
// any case, a *KeyError for what is no key.
func Lacks(key string) error {
	pattern, err := (*Loaded)(nil).patternOf(key)
	if err != nil {
		return Known(key)
	}
	row := rowOf[pattern]
	if row == nil || row.Kind == KindSection || row.Kind == KindNames {
		return &KeyError{key, BelongsToFile, "is a section. Set its keys one by one; redoubt config explain " + printable(key) + " lists them"}
	}
	may := row.describe()
	if rng := row.Range(); rng != "" && rng != may {
		may += ", " + strings.ReplaceAll(rng, "`", "")
	}
	return fmt.Errorf("%s has no value: write %s%s", printable(key), may, row.orDefault("; the default is %s"))
}

// NearestKey is the one of some keys that is written nearly as key is; "": none.
func NearestKey(key string, keys []string) string {
	if len(key) > 64 {
		return ""
	}
	return nearest(strings.ToLower(key), keys)
}
