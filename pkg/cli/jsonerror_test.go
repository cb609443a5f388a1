package cli

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// With --json, wherever it stands, messages are JSON, too: a line each, of one shape for all tools.
func TestMessagesInJSON(t *testing.T) {
	for line, want := range map[string]bool{
		"tool --json": true, "tool list --json": true, "tool --json=true list": true, "tool -json": true, "tool --json --json=false": false, "tool --json=0": false,
		"tool json": false, "tool -- --json": false, "tool --jsonp": false, "tool": false, "tool --nope --json": true,
	} {
		if got := asksForJSON(strings.Fields(line), ""); got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
	t.Setenv("TOOL_JSON", "true")
	if !asksForJSON([]string{"tool"}, "TOOL_JSON") || asksForJSON([]string{"tool", "--json=false"}, "TOOL_JSON") {
		t.Error("the variable counts as the command line does")
	}
	var out bytes.Buffer
	err := errors.Join(WithHint(errors.New("disk <full>\x1b[2J"), "free some"), WithCode(fmt.Errorf("request 7 %w", errors.New("is pending")), ExitPending))
	code := Report(Messages(&out, []string{"tool", "--json"}, ""), "tool", err)
	want := `{"tool":"tool","level":"error","message":"disk <full>\\x1b[2J","hint":"free some","exit_code":1}` + "\n" +
		`{"tool":"tool","level":"warning","message":"request 7 is pending","exit_code":2}` + "\n"
	if out.String() != want || code != ExitError {
		t.Errorf("exit %d\n%swant\n%s", code, out.String(), want)
	}
}
