// Package pkg holds no code: this test keeps the dependencies between its packages the way
// docs/architecture.md draws them.
package pkg

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// mayImport lists, for each package below pkg, which others of ours it may import directly. A
// package that is not listed must be added, together with the reason for its existence, to
// docs/architecture.md.
var mayImport = map[string][]string{
	"audit":             {},
	"backup":            {"pki"},
	"clock":             {},
	"durable":           {},
	"pgtest":            {}, // for tests only
	"testkit":           {}, // for tests only
	"pki":               {},
	"rollover":          {},
	"profile":           {"pki"},
	"lint":              {"pki"},
	"envelope":          {"pki"},
	"pemfile":           {"durable", "pki"},
	"cli":               {"pki"},
	"manage":            {"archive", "audit", "backup", "ca", "caucase", "clock", "dump", "envelope", "pki", "rollover", "store"},
	"metrics":           {},
	"store":             {"audit"},
	"store/sqlstore":    {"store", "audit"},
	"store/storetest":   {"store", "audit"},
	"dump":              {"store", "audit"},
	"caucase":           {"audit", "envelope", "pki", "store"},
	"caucase/caucasedb": {"caucase"},
	"ca":                {"audit", "clock", "pki", "profile", "rollover", "store"},
	"ca/catest":         {"audit", "ca", "clock", "envelope", "pki", "rollover", "store"}, // for tests only
	"client":            {"clock", "envelope", "pki"},
	"probe":             {"client", "clock", "pki"},
	"client/clienttest": {"clock", "envelope", "pki"},
	"enroll":            {"client", "clock", "pemfile", "pki"},
	"updater":           {"client", "clock", "enroll", "pemfile", "pki"},
	"cluster":           {}, // tests only
	"fleet":             {}, // tests only
	"archive":           {"audit", "backup", "clock", "dump", "pki", "store"},
	"server":            {"audit", "ca", "clock", "envelope", "pemfile", "pki", "store"},
}

func TestArrows(t *testing.T) {
	type listed struct {
		ImportPath string
		Name       string
		Imports    []string
		GoFiles    []string
	}
	out, err := exec.Command("go", "list", "-json=ImportPath,Name,Imports,GoFiles", "cauase/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	const module, below = "cauase/", "cauase/pkg/"
	seen := map[string]bool{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if len(p.GoFiles) == 0 {
			continue // tests only
		}
		name, library := strings.CutPrefix(p.ImportPath, below)
		allowed, known := mayImport[name]
		seen[name] = true
		if library && !known {
			t.Errorf("package %s is not drawn in docs/architecture.md nor listed here", p.ImportPath)
			continue
		}
		for _, imported := range p.Imports {
			if !strings.HasPrefix(imported, module) {
				continue
			}
			other, ok := strings.CutPrefix(imported, below)
			if !ok {
				t.Errorf("%s imports the tool %s", p.ImportPath, imported)
			} else if library && !slices.Contains(allowed, other) {
				t.Errorf("%s must not import %s", p.ImportPath, imported)
			}
		}
	}
	for name := range mayImport {
		if !seen[name] {
			t.Errorf("package %s is listed here but does not exist", name)
		}
	}
}
