// Package config reads the tools' configuration files, which are TOML. Errors say in which line and
// column something is wrong, and what would be right.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"cauase/pkg/cli"
)

// MaxSize is far more than anybody writes, in bytes.
const MaxSize = 4 << 20

// Read returns the content of the file at path.
func Read(path string) (content []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	content, err = io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err == nil && len(content) > MaxSize {
		err = fmt.Errorf("%s: longer than %d bytes", path, MaxSize)
	}
	return content, err
}

// A Position is where something stands in a file. The zero Position is nowhere.
type Position struct{ Line, Column int }

func (p Position) String() string { return fmt.Sprintf("line %d, column %d", p.Line, p.Column) }

// Decode reads content into v, a pointer to a struct with toml tags. Keys that v does not have are
// errors.
func Decode(content []byte, v any) error {
	return decode(content, v, func(string) bool { return false })
}

// DecodeTables does so with the tables that v has, and leaves out the other keys at the top, which
// Settings returns.
func DecodeTables(content []byte, v any) error {
	settings, err := Settings(content)
	if err != nil {
		return err
	}
	return decode(content, v, func(key string) bool { _, ok := settings[key]; return ok })
}

func decode(content []byte, v any, ignored func(key string) bool) error {
	content, err := plain(content)
	if err != nil {
		return err
	}
	err = toml.NewDecoder(bytes.NewReader(content)).DisallowUnknownFields().Decode(v)
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) {
		var all error
		for _, e := range unknown.Errors {
			key := e.Key()
			if len(key) == 1 && ignored(key[0]) {
				continue
			}
			line, column := e.Position()
			all = errors.Join(all, Unknown(Position{line, column}, key[len(key)-1], names(reflect.TypeOf(v), 0)...))
		}
		return all
	}
	return located(err)
}

// Unknown is the error about a key at p that means nothing, where those known do.
func Unknown(p Position, key string, known ...string) error {
	err := fmt.Errorf("%v: there is no setting %q", p, key)
	if meant := cli.Closest(key, known); meant != "" {
		return cli.WithHint(err, "did you mean %s?", meant)
	}
	return cli.WithHint(err, "the settings are named like the options, without the dashes before them")
}

// names returns the keys that a type takes, with those of the tables within it.
func names(t reflect.Type, depth int) (all []string) {
	const deepest = 6
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return names(t.Elem(), depth)
	case reflect.Struct:
		for i := range t.NumField() {
			field := t.Field(i)
			if name, _, _ := strings.Cut(field.Tag.Get("toml"), ","); name != "" && name != "-" {
				all = append(all, name)
			}
			if depth < deepest {
				all = append(all, names(field.Type, depth+1)...)
			}
		}
	}
	return all
}

// A Setting is a key at the top of a file, outside of all tables, and its value.
type Setting struct {
	Position
	Value any // string, int64, float64, bool, []any, or whatever else TOML has
}

// Settings returns the keys at the top of a file. Tables, and keys that make some, are left out.
func Settings(content []byte) (map[string]Setting, error) {
	content, err := plain(content)
	if err != nil {
		return nil, err
	}
	var values map[string]any
	if err := toml.Unmarshal(content, &values); err != nil {
		return nil, located(err)
	}
	places, err := topLevel(content)
	if err != nil {
		return nil, err
	}
	settings := make(map[string]Setting)
	for key, value := range values {
		if place, ok := places[key]; ok {
			settings[key] = Setting{place, value}
		}
	}
	return settings, nil
}

// topLevel returns where the keys before the first table stand.
func topLevel(content []byte) (map[string]Position, error) {
	places := make(map[string]Position)
	err := eachKey(content, func(table, key []string, begins bool, at Position) {
		if !begins && len(table) == 0 && len(key) == 1 {
			places[key[0]] = at
		}
	})
	return places, err
}

// Find returns where a key stands, given with the names of the tables that it is in, or the innermost of
// those tables if it is not there.
func Find(content []byte, path ...string) (found Position) {
	depth := 0
	// What cannot be parsed is not found; whoever reads the file has said so.
	_ = eachKey(content, func(table, key []string, _ bool, at Position) {
		whole := slices.Concat(table, key)
		if len(whole) > depth && len(whole) <= len(path) && slices.Equal(whole, path[:len(whole)]) {
			found, depth = at, len(whole)
		}
	})
	return found
}

// FindIn returns where a key stands in one of the tables of an array, [[ARRAY]], counted from 0; nowhere if it is not
// there.
func FindIn(content []byte, array string, index int, name string) (found Position) {
	at := -1
	_ = eachKey(content, func(table, key []string, begins bool, place Position) {
		switch {
		case begins && slices.Equal(key, []string{array}):
			at++
		case at == index && slices.Equal(table, []string{array}) && slices.Equal(key, []string{name}):
			found = place
		}
	})
	return found
}

// eachKey calls fn with each key and the table that it is in; where a table begins,
// its name is the key.
func eachKey(content []byte, fn func(table, key []string, begins bool, at Position)) error {
	content, err := plain(content)
	if err != nil {
		return err
	}
	var p unstable.Parser
	p.Reset(content)
	var table []string
	for p.NextExpression() {
		e := p.Expression()
		if e.Kind != unstable.KeyValue && e.Kind != unstable.Table && e.Kind != unstable.ArrayTable {
			continue
		}
		var key []string
		var at Position
		for parts := e.Key(); parts.Next(); {
			if len(key) == 0 {
				start := p.Shape(parts.Node().Raw).Start
				at = Position{start.Line, start.Column}
			}
			key = append(key, string(parts.Node().Data))
		}
		if e.Kind == unstable.KeyValue {
			fn(table, key, false, at)
			continue
		}
		fn(nil, key, true, at)
		table = key
	}
	return p.Error()
}
