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

// A log in JSON has no line of another kind, and the last one, that says why there are no more, least of all.
func TestMessagesInALogInJSON(t *testing.T) {
	t.Setenv("TOOL_LOG_FORMAT", "")
	for line, want := range map[string]bool{
		"tool --log-format json": true, "tool --log-format=json": true, "tool -log-format JSON": true, "tool --log-format json --log-format text": false,
		"tool": false, "tool json": false, "tool --log-format": false, "tool -- --log-format json": false, "tool --nope --log-format json": true,
	} {
		if got := logsJSON(strings.Fields(line), "TOOL_LOG_FORMAT"); got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
	t.Setenv("TOOL_LOG_FORMAT", "json")
	if !logsJSON([]string{"tool"}, "TOOL_LOG_FORMAT") || logsJSON([]string{"tool", "--log-format", "text"}, "TOOL_LOG_FORMAT") {
		t.Error("the variable counts unless the command line has another format")
	}
	err := errors.Join(WithHint(errors.New("disk <full>\x1b[2J"), "free some"), errors.New("not closed"))
	want := []string{`"level":"ERROR","msg":"disk <full>\\x1b[2J","hint":"free some"}`, `"level":"ERROR","msg":"not closed"}`}
	var asked, found bytes.Buffer
	Report(LogMessages(&asked, []string{"tool"}, "TOOL_LOG_FORMAT"), "tool", err)
	Report(&found, "tool", InLog(err)) // what says so is a configuration file
	for _, out := range []string{asked.String(), found.String()} {
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if len(lines) != 2 || !strings.HasPrefix(lines[0], `{"time":"`) || !strings.HasSuffix(lines[0], want[0]) || !strings.HasSuffix(lines[1], want[1]) {
			t.Errorf("%s", out)
		}
	}
}
