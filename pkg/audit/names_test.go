package audit

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"
)

// What is declared is listed, so that a filter of the log knows it.
func TestNamesAreListed(t *testing.T) {
	var actions, kinds, objects []string
	for _, a := range Actions() {
		actions = append(actions, string(a))
	}
	for _, k := range Kinds() {
		kinds = append(kinds, string(k))
	}
	for _, k := range ObjectKinds() {
		objects = append(objects, string(k))
	}
	for name, listed := range map[string][]string{"Action": actions, "Kind": kinds, "ObjectKind": objects} {
		declared := constants(t, name)
		slices.Sort(declared)
		slices.Sort(listed)
		if len(declared) == 0 || !slices.Equal(declared, listed) {
			t.Errorf("%s: declared are %q, listed %q", name, declared, listed)
		}
	}
}

// constants are the values of the constants of a type that this package declares.
func constants(t *testing.T, name string) (values []string) {
	t.Helper()
	for _, file := range []string{"audit.go", "actor.go", "object.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if typ, ok := spec.Type.(*ast.Ident); ok && typ.Name == name && len(spec.Values) == 1 {
				if text, ok := spec.Values[0].(*ast.BasicLit); ok {
					value, err := strconv.Unquote(text.Value)
					if err != nil {
						t.Fatal(err)
					}
					values = append(values, value)
				}
			}
			return true
		})
	}
	return values
}
