package config

import (
	"reflect"
	"sync"

	"go.yaml.in/yaml/v3"
)

// defaultNodes are the table's defaults as the decoder reads them.
var defaultNodes = sync.OnceValue(func() map[string]*yaml.Node {
	m := map[string]*yaml.Node{}
	for i := range table {
		if row := &table[i]; row.Default != "" {
			n, p := parseYAML([]byte(row.Default), "default of "+row.Key)
			if p != nil || n == nil {
				panic("BUG: the default of " + row.Key + " is not YAML")
			}
			m[row.Key] = n
		}
	}
	return m
})

// applyDefaults fills a section with the table's defaults, through the same
// decoder and ranges that a file goes through.
func applyDefaults(pattern string, v reflect.Value) {
	var ps problems
	d := &decoder{problems: &ps, origin: func(*yaml.Node) Origin { return Origin{} }}
	d.defaults(pattern, v)
	if err := ps.err(); err != nil {
		panic("BUG: a default is refused: " + err.Error())
	}
}

func (d *decoder) defaults(pattern string, v reflect.Value) {
	nodes := defaultNodes()
	for _, f := range fieldsOf(v.Type()) {
		p, fv := join(pattern, f.name), v.FieldByIndex(f.index)
		if rowOf[p].Kind == KindSection {
			d.defaults(p, fv)
		} else if n := nodes[p]; n != nil {
			d.into(n, n, p, p, fv)
		}
	}
}

// Defaults are the values of an empty file, as the file would have them; what depends on
// the host or on other keys is empty.
func Defaults() map[string]string {
	out := map[string]string{}
	for _, lf := range leaves(defaultConfig()) {
		out[lf.key] = flow(nodeOf(lf.value))
	}
	return out
}

// defaultConfig is the configuration of an empty file, without what depends on
// the host and on other keys.
func defaultConfig() *Config {
	c := new(Config)
	applyDefaults("", reflect.ValueOf(c).Elem())
	return c
}
