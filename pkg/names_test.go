package pkg

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// mayName are the files of production code that may name the authorities that every daemon has, each with the
// reason. What an authority may do follows from its row, and code that asks for names forgets all others.
var mayName = map[string]string{
	"pkg/store/store.go":      "defines the names",
	"pkg/store/authority.go":  "says what is known beforehand of them",
	"pkg/ca/catest/catest.go": "is for tests",
	"pkg/ca/catest/site.go":   "is for tests",
	"pkg/daemon/config.go":    "makes their rows from the flags",
	"pkg/dump/version1.go":    "reads backups of when there were no others",
	"pkg/client/client.go":    "has the two that a reference daemon serves",
	"pkg/caucase/caucase.go":  "knows what caucase calls them",
	"cauased/flags.go":        "has the authority that commands are about by default",
	"cauased/serve.go":        "says how to become the first user of what the flags have made",
}

// TestNobodyNamesAuthorities reads all production code.
func TestNobodyNamesAuthorities(t *testing.T) {
	named := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != ".." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata" || strings.HasSuffix(entry.Name(), "test")):
			if entry.Name() != "catest" {
				return fs.SkipDir // hidden, data, and packages for tests
			}
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || entry.IsDir():
			return nil
		}
		if entry.IsDir() {
			return nil
		}
		file := filepath.ToSlash(strings.TrimPrefix(path, "../"))
		for _, found := range names(t, path) {
			named[file] = true
			if mayName[file] == "" {
				t.Errorf("%s names an authority: go by its row, such as its role", found)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(named) == 0 {
		t.Error("the names are found nowhere: this test looks at nothing")
	}
	for file := range mayName {
		if !named[file] {
			t.Errorf("%s need not be allowed any more to name authorities", file)
		}
	}
}

// names returns where a file names one of the authorities: by a constant of package store, or by a literal that
// is converted to a name or compared with one.
func names(t *testing.T, path string) (found []string) {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	constants := []string{"Users", "Services", "HTTPS"}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if of, ok := n.X.(*ast.Ident); ok && of.Name == "store" && slices.Contains(constants, n.Sel.Name) {
				found = append(found, files.Position(n.Pos()).String())
			}
		case *ast.Ident:
			if file.Name.Name == "store" && slices.Contains(constants, n.Name) {
				found = append(found, files.Position(n.Pos()).String())
			}
		case *ast.CallExpr:
			if of, ok := n.Fun.(*ast.SelectorExpr); ok && of.Sel.Name == "AuthorityName" && len(n.Args) == 1 {
				if _, literal := n.Args[0].(*ast.BasicLit); literal {
					found = append(found, files.Position(n.Pos()).String())
				}
			}
		case *ast.BasicLit:
			if n.Value == `"cau"` || n.Value == `"cas"` {
				found = append(found, files.Position(n.Pos()).String())
			}
		}
		return true
	})
	return found
}
