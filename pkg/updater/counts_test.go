package updater

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"cauase/pkg/testkit"
)

// TestCountsAreDocumented: what the counts of failures are of is in the manual, each of them.
func TestCountsAreDocumented(t *testing.T) {
	objects, _ := testkit.DocumentedJSON(t, "../../docs/json.md")
	if typ := objects["job"]["counts.failures"].Type; typ != "map of number" {
		t.Errorf("the counts are of the type %s", typ)
	}
	row := rowOf(t, "../../docs/json.md", "`counts.failures`")
	for _, task := range countable {
		if !strings.Contains(row, "`"+string(task)+"`") {
			t.Errorf("%s is not in %s", task, row)
		}
	}
	if n := strings.Count(row, "`") / 2; n != len(countable)+1 {
		t.Errorf("%d names, and %d tasks", n-1, len(countable))
	}
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, dir)
		h.wire.Cut(true)
		all, err := Once(t.Context(), h.o, []Job{h.job})
		must(t, err)
		if len(all[0].Counts.Failures) == 0 {
			t.Error("nothing is counted")
		}
		for task := range all[0].Counts.Failures {
			if !slices.Contains(countable, task) {
				t.Errorf("counts %q", task)
			}
		}
	})
}

// rowOf is the row of a table in a page that begins with a cell.
func rowOf(t *testing.T, page, cell string) string {
	t.Helper()
	content, err := os.ReadFile(page)
	must(t, err)
	for line := range strings.Lines(string(content)) {
		if strings.HasPrefix(line, "| "+cell+" |") {
			return line
		}
	}
	t.Fatalf("%s has no row %s", page, cell)
	return ""
}
