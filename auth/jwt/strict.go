package jwt

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// depthMax is how deep an object may be nested: acl has three levels.
const depthMax = 6

// object reads a JSON object so that everybody who reads it reads the same: UTF-8, nothing
// behind it, and no name twice, of which one reader takes the first and another the last.
// Numbers are json.Number. Names are what they are written as, in capitals or not.
func object(b []byte) (map[string]any, error) {
	if !utf8.Valid(b) {
		return nil, errors.New("is not UTF-8")
	}
	if !json.Valid(b) {
		return nil, errors.New("is not JSON")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	v, err := value(d, depthMax)
	if err != nil {
		return nil, err
	}
	o, is := v.(map[string]any)
	if !is {
		return nil, errors.New("is no JSON object")
	}
	return o, nil
}

func value(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, errors.New("is not JSON")
	}
	open, is := t.(json.Delim)
	if !is {
		return t, nil
	}
	if depth == 0 {
		return nil, errors.New("is nested too deep")
	}
	if open == '[' {
		list := []any{}
		for d.More() {
			v, err := value(d, depth-1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = d.Token()
		return list, err
	}
	o := map[string]any{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, errors.New("is not JSON")
		}
		key, is := name.(string)
		if !is {
			return nil, errors.New("is not JSON")
		}
		if _, twice := o[key]; twice {
			return nil, errors.New("has a name twice")
		}
		if o[key], err = value(d, depth-1); err != nil {
			return nil, err
		}
	}
	_, err = d.Token()
	return o, err
}
