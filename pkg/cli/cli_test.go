package cli

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

func TestReport(t *testing.T) {
	plain := errors.New("disk full")
	tests := []struct {
		name string
		err  error
		out  string
		code int
	}{
		{"nothing", nil, "", ExitOK},
		{"plain", plain, "x: error: disk full\n", ExitError},
		{"hint", WithHint(plain, "free %d bytes", 7), "x: error: disk full\nx: hint: free 7 bytes\n", ExitError},
		{"hint under context", fmt.Errorf("write: %w", WithHint(plain, "free some")), "x: error: write: disk full\nx: hint: free some\n", ExitError},
		{"hint and code apart", WithHint(WithCode(plain, ExitHook), "look"), "x: error: disk full\nx: hint: look\n", ExitHook},
		{"pending is no error", WithCode(errors.New("still pending"), ExitPending), "x: warning: still pending\n", ExitPending},
		{"a code that means something else here", WithHint(&Error{Err: plain, Code: ExitPending, Failed: true}, "look"), "x: error: disk full\nx: hint: look\n", ExitPending},
		{"the gravest code", errors.Join(WithCode(errors.New("a"), ExitPending), errors.New("b"), WithCode(errors.New("c"), ExitHook)),
			"x: warning: a\nx: error: b\nx: error: c\n", ExitError},
		{"hook is graver than pending", errors.Join(WithCode(errors.New("c"), ExitHook), WithCode(errors.New("a"), ExitPending)),
			"x: error: c\nx: warning: a\n", ExitHook},
		{"several about one file", fmt.Errorf("f.toml: %w", errors.Join(WithHint(errors.New("line 1"), "so"), errors.New("line 2"))),
			"x: error: f.toml: line 1\nx: hint: so\nx: error: f.toml: line 2\n", ExitError},
		{"several with one hint", WithHint(fmt.Errorf("f: %w", errors.Join(WithCode(errors.New("a"), ExitPending), WithCode(errors.New("b"), ExitHook))), "look"),
			"x: warning: f: a\nx: hint: look\nx: error: f: b\nx: hint: look\n", ExitHook},
		{"several within a sentence", fmt.Errorf("f: %w, which is bad", errors.Join(errors.New("a"), errors.New("b"))), "x: error: f: a\\x0ab, which is bad\n", ExitError},
		{"one about a file", fmt.Errorf("f: %w", errors.Join(nil, WithHint(errors.New("a"), "so"))), "x: error: f: a\nx: hint: so\n", ExitError},
		{"a terminal is not addressed", errors.New("said \x1b[2J\nx: all is well"), "x: error: said \\x1b[2J\\x0ax: all is well\n", ExitError},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			code := Report(&out, "x", tt.err)
			if out.String() != tt.out || code != tt.code {
				t.Errorf("got %q, exit %d\nwant %q, exit %d", out.String(), code, tt.out, tt.code)
			}
		})
	}
}

func TestNilStaysNil(t *testing.T) {
	if WithHint(nil, "x") != nil || WithCode(nil, 2) != nil {
		t.Error("nil became an error")
	}
}

func TestWriteJSON(t *testing.T) {
	var out bytes.Buffer
	err := WriteJSON(&out, struct {
		List []string `json:"list"`
		URL  string   `json:"url"`
	}{[]string{}, "http://ca.example/?a=1&b=<2>"})
	if want := "{\n  \"list\": [],\n  \"url\": \"http://ca.example/?a=1&b=<2>\"\n}\n"; err != nil || out.String() != want {
		t.Errorf("%v:\n%swant\n%s", err, out.String(), want)
	}
	if err := WriteJSON(&out, func() {}); err == nil {
		t.Error("a function can be written")
	}
}
