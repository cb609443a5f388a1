// Package adversaries puts what adversaries send, and the faults that happen, before the real binaries: one table,
// with what has to come of each line, tried with the daemon on SQLite and on PostgreSQL. docs/adversaries.md
// is made of it.
package adversaries

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"cauase/pkg/pgtest"
	"cauase/pkg/testkit"
)

const (
	minInputs   = 150 // in the table
	minPerClass = 3
)

const page = "../../docs/adversaries.md"

var update = flag.Bool("update", false, "write "+page)

// tools are the binaries under test; plain is the daemon without the race detector, for commands that run time and again.
var tools, plain string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	flag.Parse()
	dir, err := os.MkdirTemp("", "cauase-adversaries-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	tools, plain = filepath.Join(dir, "tools"), filepath.Join(dir, "plain")
	for _, err := range []error{
		os.MkdirAll(tools, 0o700), os.MkdirAll(plain, 0o700),
		testkit.Build(tools, map[string]string{"cauased": "cauased"}),
		testkit.BuildReleased(plain, map[string]string{"cauased": "cauased", "cauase": "cauase", "cauase-updater": "updater"}),
	} {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "CAUASE") {
			os.Unsetenv(name)
		}
	}
	// Whatever moves a database, or opens one from elsewhere, needs what opens the keys in it.
	os.Setenv("CAUASED_KEY_SECRET", filepath.Join(dir, "key-secret"))
	os.Setenv("XDG_CONFIG_HOME", filepath.Join(dir, "config"))
	return m.Run()
}

func TestTable(t *testing.T) {
	rows := inputs()
	if len(rows) < minInputs {
		t.Errorf("%d inputs, %d at least are needed", len(rows), minInputs)
	}
	inputs, names := make([]int, len(classes)), map[string]bool{}
	for _, r := range rows {
		if r.class < 1 || r.class >= len(classes) {
			t.Errorf("%s: there is no class %d", r.name, r.class)
			continue
		}
		inputs[r.class]++
		if key := fmt.Sprint(r.class, r.name); names[key] {
			t.Errorf("class %d: %s is there twice", r.class, r.name)
		} else {
			names[key] = true
		}
		if r.want == "" || r.try == nil {
			t.Errorf("class %d: %s: nothing is expected, or tried", r.class, r.name)
		}
	}
	for class, title := range classes {
		if class > 0 && inputs[class] < minPerClass {
			t.Errorf("class %d, %s: %d inputs, %d at least are needed", class, title, inputs[class], minPerClass)
		}
	}
}

// TestPage compares the documentation with the table.
func TestPage(t *testing.T) {
	var b strings.Builder
	b.WriteString(introduction)
	for class, title := range classes {
		if class == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n## %d. %s\n\n| input | result | says |\n|---|---|---|\n", class, strings.ToUpper(title[:1])+title[1:])
		for _, r := range inputs() {
			if r.class == class {
				fmt.Fprintf(&b, "| %s%s | %s | %s |\n", r.name, onlyOn(r.only), r.want+r.effects(), escape(r.says))
			}
		}
	}
	if *update {
		if err := os.WriteFile(page, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(written) != b.String() {
		t.Errorf("%s is not what the table says: go test -run TestPage ./pkg/adversaries/ -update", page)
	}
}

const introduction = `# What adversaries send

Made from the table of [pkg/adversaries](../pkg/adversaries), whose test puts each line before the real binaries, with the daemon on SQLite and on PostgreSQL
(` + "`go test -run TestPage ./pkg/adversaries/ -update`" + `). A result is an HTTP status, a tool's exit code (` + "`exit 1`" + `), or what is said in words. Unless the
result says otherwise no certificate was signed, no request is pending and nothing is revoked afterwards. After each class the
daemon is ready, ` + "`cauased manage check`" + ` finds no errors in its database, the daemon has no more than 200 descriptors open, and its log
is short and tells of no panic.
`

func onlyOn(engine string) string {
	if engine == "" {
		return ""
	}
	return " (" + engine + ")"
}

func escape(s string) string { return strings.ReplaceAll(s, "|", "\\|") }

// effects says in words what a row leaves behind.
func (r row) effects() (text string) {
	for _, e := range []struct {
		count int
		what  string
	}{{r.signed, "signed"}, {r.pending, "pending"}, {r.revoked, "revoked"}} {
		if e.count > 0 {
			text += fmt.Sprintf(", %d %s", e.count, e.what)
		}
	}
	if r.audited != "" {
		text += ", on record: " + r.audited
	}
	return text
}

var cluster = pgtest.Shared(pgtest.Options{})

func TestOnSQLite(t *testing.T) {
	tryAll(t, "SQLite", filepath.Join(t.TempDir(), "cauase.sqlite"), nil)
}

func TestOnPostgreSQL(t *testing.T) {
	c := cluster(t)
	tryAll(t, "PostgreSQL", c.NewDatabase(t), c)
}

func tryAll(t *testing.T, engine, dsn string, c *pgtest.Cluster) {
	w := newWorld(t, engine, dsn, c)
	rows := inputs()
	for class, title := range classes {
		if class == 0 {
			continue
		}
		t.Run(fmt.Sprintf("%02d %s", class, title), func(t *testing.T) {
			outer := w.T
			w.T = t
			defer func() { w.T = outer }()
			for _, r := range rows {
				if r.class == class && (r.only == "" || r.only == engine) {
					w.judge(r)
				}
			}
			w.healthy()
		})
	}
}

// judge tries a row, and compares what came of it with what is expected.
func (w *world) judge(r row) {
	w.Run(r.name, func(t *testing.T) {
		outer := w.T
		w.T = t
		defer func() { w.T = outer }()
		before := w.census()
		a := r.try(w)
		if a.got != r.want {
			t.Errorf("got %q, want %q: %s", a.got, r.want, shorten(a.text))
		}
		if refused := strings.HasPrefix(r.want, "4") || r.want == "exit 1"; refused && strings.TrimSpace(a.text) == "" {
			t.Error("says nothing")
		}
		if !strings.Contains(a.text, r.says) {
			t.Errorf("says %q, and not %q", a.text, r.says)
		}
		if unprintable.MatchString(a.text) {
			t.Errorf("unprintable: %q", shorten(a.text))
		}
		after := w.census()
		if r.audited != "" && !strings.Contains(strings.Join(w.auditedSince(before.audit), "\n"), r.audited) {
			t.Errorf("%q is not in the audit log, but %q", r.audited, w.auditedSince(before.audit))
		}
		if got, want := after.minus(before), (census{signed: r.signed, pending: r.pending, revoked: r.revoked}); got != want && !r.wild {
			t.Errorf("certificates, requests and revocations: %+v, want %+v", got, want)
		}
	})
	w.sweep()
}

var unprintable = regexp.MustCompile("[\x00-\x08\x0b-\x1f\x7f]")

func shorten(s string) string {
	if len(s) > 400 {
		return s[:400] + "…"
	}
	return s
}
