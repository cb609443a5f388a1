package config

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"cauase/pkg/cli"
)

// plain is a file without what editors put before its first line.
func plain(content []byte) ([]byte, error) {
	if bytes.HasPrefix(content, []byte{0xff, 0xfe}) || bytes.HasPrefix(content, []byte{0xfe, 0xff}) {
		return nil, cli.WithHint(errors.New("the file is in UTF-16, and TOML is UTF-8"), "save it as UTF-8, or convert it: iconv -f UTF-16 -t UTF-8 OLD > NEW")
	}
	return bytes.TrimPrefix(content, []byte("\ufeff")), nil
}

// located says where in the file an error of the parser's is, and what it is in terms of the file.
func located(err error) error {
	var syntax *toml.DecodeError
	if !errors.As(err, &syntax) {
		return err
	}
	line, column := syntax.Position()
	at := Position{line, column}.String()
	text := strings.TrimPrefix(err.Error(), "toml: ")
	if key := syntax.Key(); len(key) > 0 && !strings.HasPrefix(text, "key ") {
		at += ": " + key[len(key)-1]
	}
	if found := mistyped.FindStringSubmatch(text); found != nil {
		if wanted := wantedFor(found[2]); wanted != "" {
			return fmt.Errorf("%s: %s instead of %s", at, article(found[1]), wanted)
		}
		return fmt.Errorf("%s: %s makes no sense here", at, article(found[1]))
	}
	return worded{at + ": " + text, err}
}

// A worded error has a text of its own.
type worded struct {
	text string
	error
}

func (w worded) Error() string { return w.text }
func (w worded) Unwrap() error { return w.error }

// mistyped is how the parser says that a value is of another type than the variable that it is for.
var mistyped = regexp.MustCompile(`^(?s:cannot (?:decode|store|assign) (?:TOML )?(?:an? )?([a-z -]+?) (?:in|into|to) .*?(?: of type (\S+))?)$`)

// wantedFor says what is written in a file for a variable of a type of Go's, "" if that is not known.
func wantedFor(goType string) string {
	switch strings.TrimLeft(goType, "*") {
	case "string":
		return "text in quotes"
	case "bool":
		return "true or false"
	case "float32", "float64":
		return "a number"
	case "int", "int8", "int16", "int32", "int64", "uint", "uint8", "uint16", "uint32", "uint64":
		return "a whole number"
	}
	switch {
	case strings.HasPrefix(goType, "[]string"):
		return `a list such as ["a", "b"]`
	case strings.HasPrefix(goType, "[]"):
		return "tables, each with its name in double brackets"
	case strings.HasPrefix(goType, "map["):
		return "a table"
	}
	return ""
}

func article(kind string) string {
	if strings.ContainsAny(kind[:1], "aeiou") {
		return "an " + kind
	}
	return "a " + kind
}
