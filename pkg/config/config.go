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
	"strings"

	"github.com/pelletier/go-toml/v2"

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
	err := eachKey(content, func(table, key []string, begins beginning, at Position) {
		if begins == ofValue && len(table) == 0 && len(key) == 1 {
			places[key[0]] = at
		}
	})
	return places, err
}
