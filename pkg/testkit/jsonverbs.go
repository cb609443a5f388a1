package testkit

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// link is one of a page to a place in it.
var link = regexp.MustCompile(`\[([^]]+)\]\([^)]*\)`)

// PrintedJSON reads from docs/json.md, which is at path, what each command of a tool prints with --json, by the command
// without the tool's name. A row may say more of one command, separated by a comma, as in `cauase-updater`, with `--status`.
func PrintedJSON(t testing.TB, path, tool string) map[string]string {
	t.Helper()
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	printed := map[string]string{}
	of := ""
	for line := range strings.Lines(string(page)) {
		line = strings.TrimSpace(line)
		if heading, found := strings.CutPrefix(line, "## "); found {
			of = ""
			if rest, found := strings.CutPrefix(heading, "What the commands of "); found {
				of = strings.TrimSuffix(rest, " print") + " "
			} else if heading == "What the other tools print" {
				of = " "
			}
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if of == "" || !strings.HasPrefix(line, "|") || len(cells) != 2 || strings.HasPrefix(line, "|---") || strings.TrimSpace(cells[1]) == "prints" {
			continue
		}
		command, _, _ := strings.Cut(strings.ReplaceAll(strings.TrimSpace(cells[0]), "`", ""), ",")
		if rest, ours := strings.CutPrefix(strings.TrimSpace(of+command)+" ", tool+" "); ours {
			printed[strings.TrimSpace(rest)] = strings.TrimSpace(link.ReplaceAllString(cells[1], "$1"))
		}
	}
	return printed
}

// CheckVerbs checks that docs/json.md says of each of a tool's commands what it prints as JSON, of no others, and what that
// looks like.
func CheckVerbs(t testing.TB, path, tool string, verbs []string) {
	t.Helper()
	printed := PrintedJSON(t, path, tool)
	objects, _ := DocumentedJSON(t, path)
	for _, verb := range verbs {
		if _, documented := printed[verb]; !documented {
			t.Errorf("%s %s: docs/json.md does not say what it prints as JSON", tool, verb)
		}
	}
	for _, verb := range slices.Sorted(maps.Keys(printed)) {
		if !slices.Contains(verbs, verb) {
			t.Errorf("%s %s is documented, and there is no such command", tool, verb)
		}
		if object, _, _ := alternatives(printed[verb]); len(objects[strings.ToLower(object)]) == 0 {
			t.Errorf("%s %s prints %q, which is not documented", tool, verb, printed[verb])
		}
	}
}

// alternatives splits what a command prints: certificate, or result while it is pending.
func alternatives(printed string) (object string, isList bool, rest string) {
	object, rest, _ = strings.Cut(printed, ",")
	object, isList = strings.CutPrefix(object, "list of ")
	return object, isList, rest
}

// CheckPrinted checks what a command has printed against what docs/json.md has in the first place.
func CheckPrinted(t testing.TB, path, command, text string) {
	t.Helper()
	tool, verb, _ := strings.Cut(command, " ")
	printed, documented := PrintedJSON(t, path, tool)[verb]
	if !documented {
		t.Fatalf("docs/json.md does not say what %s prints", command)
	}
	object, _, _ := strings.Cut(printed, ",")
	CheckJSON(t, path, object, text)
}
