package config

import (
	"strings"
	"testing"
	"unicode/utf16"
)

// TestWords: an error speaks of the file, and not of the program that reads it.
func TestWords(t *testing.T) {
	type job struct {
		Name   string   `toml:"name"`
		Days   *float64 `toml:"days"`
		List   []string `toml:"list"`
		On     *bool    `toml:"on"`
		Number *int     `toml:"number"`
	}
	for content, want := range map[string]string{
		"name = 5":                      "line 2, column 8: name: an integer instead of text in quotes",
		"name = true":                   "a boolean instead of text in quotes",
		"name = [1]":                    "an array instead of text in quotes",
		"name = 2020-01-01":             "a local date instead of text in quotes",
		"days = 'soon'":                 "a string instead of a number",
		"days = {a = 1}":                "an inline table instead of a number",
		"list = 'x'":                    "a string instead of a list such as",
		"list = [1]":                    "list: an integer instead of text in quotes",
		"on = 'yes'":                    "a string instead of true or false",
		"number = 1.5":                  "a float instead of a whole number",
		"number = 'x'":                  "a string instead of a whole number",
		"number = 99999999999999999999": "too large",
		"name = 'x":                     "line 2, column 10: literal strings cannot have new lines",
	} {
		var into struct {
			Job []job `toml:"job"`
		}
		err := Decode([]byte("[[job]]\n"+content+"\n"), &into)
		if err == nil || !strings.Contains(err.Error(), want) || strings.ContainsAny(err.Error(), "*`") || strings.Contains(err.Error(), "struct") || strings.Contains(err.Error(), "toml:") {
			t.Errorf("%s: %v, want %s", content, err, want)
		}
		if err := Decode([]byte("job = 5\n"), &into); err == nil || !strings.Contains(err.Error(), "an integer instead of tables") {
			t.Error(err)
		}
	}
}

// TestEditors: what editors put before the first line is no part of it, or is said.
func TestEditors(t *testing.T) {
	const text = "name = \"a\"\n"
	var into struct {
		Name string `toml:"name"`
	}
	if err := Decode([]byte("\ufeff"+text), &into); err != nil || into.Name != "a" {
		t.Errorf("%q, %v", into.Name, err)
	}
	if got, err := Settings([]byte("\ufeff" + text)); err != nil || got["name"].Value != "a" || got["name"].Line != 1 || got["name"].Column != 1 {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := ParseContexts("f", []byte("\ufeff"+text), []string{"name"}); err != nil || got.common["name"].Value != "a" {
		t.Errorf("%v, %v", got, err)
	}
	if at := PlacesIn([]byte("\ufeff" + text)).Find("name"); at.Line != 1 {
		t.Error(at)
	}
	var wide []byte
	for _, unit := range utf16.Encode([]rune("\ufeff" + text)) {
		wide = append(wide, byte(unit), byte(unit>>8))
	}
	if err := Decode(wide, &into); err == nil || !strings.Contains(err.Error(), "UTF-16") {
		t.Error(err)
	}
	if _, err := Settings(wide); err == nil || !strings.Contains(err.Error(), "UTF-16") {
		t.Error(err)
	}
}
