package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const example = `# a comment
netloc = "ca.example"
  base-port = 8009
bind = ["127.0.0.1",
  "::1"]
"user-crt-validity" = 1.5
lock = true
a.b = 1

[profile.web]
names = ["dns"]
netloc = "not the one above"
`

func TestSettings(t *testing.T) {
	got, err := Settings([]byte(example))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Setting{
		"netloc":            {Position{2, 1}, "ca.example"},
		"base-port":         {Position{3, 3}, int64(8009)},
		"bind":              {Position{4, 1}, []any{"127.0.0.1", "::1"}},
		"user-crt-validity": {Position{6, 1}, 1.5},
		"lock":              {Position{7, 1}, true},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v\nwant %v", got, want)
	}
}

func TestDecodeTables(t *testing.T) {
	type profile struct {
		Names  []string `toml:"names"`
		Netloc string   `toml:"netloc"`
	}
	var got struct {
		Profile map[string]profile `toml:"profile"`
	}
	if err := DecodeTables([]byte(strings.Replace(example, "a.b = 1\n", "", 1)), &got); err != nil || len(got.Profile["web"].Names) != 1 {
		t.Errorf("%+v %v", got, err)
	}
	for content, want := range map[string]string{
		example:                                 `line 8, column 1: there is no setting "b"`,
		"x = 1\n[profile.web]\nnam = 1\n":       `line 3, column 1: there is no setting "nam"`,
		"x = 1\n[other]\ny = 1\n":               "line 2, column",
		"x = \n":                                "line 1, column 5: ",
		"x = 1\nx = 2\n":                        "line 2, column 1: ",
		"[profile.web]\nnames = 5\n":            "line 2, column 9: ",
		"[profile.web]\nnames = [\"dns\", 5]\n": "line 2, column ",
	} {
		if err := DecodeTables([]byte(content), &got); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", content, err, want)
		}
	}
}

func TestFind(t *testing.T) {
	for path, want := range map[string]Position{
		"netloc": {2, 1}, "profile.web": {10, 2}, "profile.web.names": {11, 1}, "profile.web.netloc": {12, 1},
		"profile.web.missing": {10, 2}, "profile.other.names": {}, "missing": {}, "a.b": {8, 1},
	} {
		if got := PlacesIn([]byte(example)).Find(strings.Split(path, ".")...); got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if _, err := Read(path); err == nil {
		t.Error("no error for a file that is not there")
	}
	for size, ok := range map[int]bool{MaxSize: true, MaxSize + 1: false} {
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := Read(path); (err == nil) != ok || ok && len(got) != size {
			t.Errorf("%d bytes: %d, %v", size, len(got), err)
		}
	}
}

// FuzzSettings: whatever a file holds, each setting stands where it is said to.
func FuzzSettings(f *testing.F) {
	for _, seed := range []string{example, "", "\ufeffa=1", "a=1\r\nb=2", "'a'=1", "\"\\u0061\"=1", "[a]\nb=1", "[[a]]", "a={b=1}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		settings, err := Settings(content)
		if err != nil {
			return
		}
		lines := strings.Count(string(content), "\n") + 1
		for key, s := range settings {
			if s.Line < 1 || s.Line > lines || s.Column < 1 {
				t.Errorf("%q is at %v of %d lines", key, s.Position, lines)
			}
		}
	})
}
