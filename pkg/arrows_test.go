// Package pkg holds no code: this test keeps the dependencies between its packages the way
// docs/architecture.md draws them.
package pkg

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// testsOnly is what the table says of a package that has no other code.
const testsOnly = "tests only"

// tableRow is a line of the table of packages: name, what it holds, which others of ours it imports.
var tableRow = regexp.MustCompile("(?m)^\\| `([a-z0-9/]+)` \\|.*\\| ([a-z0-9/,; ]*) ?\\|$")

// drawn reads the table: for each package below pkg, which others of ours it imports directly. What a
// row says behind a semicolon is about packages below that one, which have rows of their own.
func drawn(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(text), "\n| package | holds | imports of ours |\n")
	if !found {
		t.Fatal("docs/architecture.md has no table of packages")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	rows := map[string][]string{}
	for _, line := range strings.Split(table, "\n")[1:] {
		row := tableRow.FindStringSubmatch(line)
		if row == nil {
			t.Fatalf("docs/architecture.md: no row of the table of packages: %s", line)
		}
		if _, twice := rows[row[1]]; twice {
			t.Errorf("docs/architecture.md: package %s is in the table twice", row[1])
		}
		rows[row[1]] = strings.FieldsFunc(row[2], func(r rune) bool { return r == ',' || r == ' ' })
		if strings.TrimSpace(row[2]) == testsOnly {
			rows[row[1]] = []string{testsOnly}
		}
	}
	return rows
}

func TestArrows(t *testing.T) {
	type listed struct {
		ImportPath string
		Imports    []string
		GoFiles    []string
	}
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,GoFiles", "-tags", "interop", "cauase/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	const module, below = "cauase/", "cauase/pkg/"
	table := drawn(t)
	seen := map[string]bool{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name, library := strings.CutPrefix(p.ImportPath, below)
		row, known := table[name]
		seen[name] = true
		if library && !known {
			t.Errorf("package %s is not in the table of docs/architecture.md", p.ImportPath)
			continue
		}
		if library && len(p.GoFiles) == 0 {
			if !slices.Equal(row, []string{testsOnly}) {
				t.Errorf("package %s holds tests only, and docs/architecture.md does not say so", p.ImportPath)
			}
			continue
		}
		var ours []string
		for _, imported := range p.Imports {
			if !strings.HasPrefix(imported, module) {
				continue
			}
			other, ok := strings.CutPrefix(imported, below)
			if !ok {
				t.Errorf("%s imports the tool %s", p.ImportPath, imported)
			}
			ours = append(ours, other)
			if library && !slices.Contains(row, other) {
				t.Errorf("%s imports %s, which docs/architecture.md does not allow", p.ImportPath, imported)
			}
		}
		if !library {
			continue
		}
		for _, other := range row {
			if !slices.Contains(ours, other) {
				t.Errorf("docs/architecture.md says that %s imports %s, which it does not", p.ImportPath, other)
			}
		}
	}
	for name := range table {
		if !seen[name] {
			t.Errorf("package %s is in the table of docs/architecture.md, and does not exist", name)
		}
	}
}
