package manage

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"cauase/pkg/store"
)

// Every setting there is is known when a database is checked: that nobody knows one is a warning.
func TestSettingsAreKnown(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../store/counters.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Setting") {
			return true
		}
		name, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		found++
		if strings.HasSuffix(name, "/") {
			name += "1"
		}
		for _, p := range new(checker).setting(store.Setting{Authority: "cas", Name: name, Value: "?"}) {
			if strings.Contains(p.text, "does not know it") {
				t.Errorf("%s: %s", spec.Names[0].Name, p.text)
			}
		}
		return true
	})
	if found < 10 {
		t.Errorf("%d settings", found)
	}
}
