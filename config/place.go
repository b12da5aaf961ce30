package config

import "strings"

// Place is where in the file key is set, for who wants to point at it: the line of the
// key itself, else the first line of what is set below it, else that of what it is
// part of. The zero Origin: the file says nothing of it.
func (l *Loaded) Place(key string) Origin {
	if o := l.inFile(key); o.Line > 0 {
		return o
	}
	var first Origin
	for k, o := range l.origins {
		if strings.HasPrefix(k, key+".") && o.Kind == FromFile && o.Line > 0 && (first.Line == 0 || o.Line < first.Line) {
			first = o
		}
	}
	for first.Line == 0 {
		dot := strings.LastIndexByte(key, '.')
		if dot < 0 {
			break
		}
		key = key[:dot]
		first = l.inFile(key)
	}
	return first
}

func (l *Loaded) inFile(key string) Origin {
	if o := l.origins[key]; o.Kind == FromFile {
		return o
	}
	return Origin{}
}
