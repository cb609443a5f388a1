package deployment

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// notRun are the blocks of commands that no test runs as they stand on their page, by page and beginning, and why. Our tools know what is
// in them all the same, see TestPageCommandsExist.
var notRun = map[string]string{
	"README.md: make run     # builds":                    "the tour begins with it; make test is what runs this",
	"README.md: cauase-updater --ca-url":                  "stays in the foreground; docs/updater.md is run",
	"docs/architecture.md: cauased ─→":                    "a drawing",
	"docs/audit-log.md: cauased manage audit verify":      "tests of cauased verify logs",
	"docs/audit-log.md: cauase.log/":                      "a note",
	"docs/cauase.md: cauase init --ca-url":                "scripts of testdata/script configure clients",
	"docs/cauase.md: cauase config show":                  "scripts of testdata/script configure clients",
	"docs/cauase.md: cauase init --config":                "for root, in /etc",
	"docs/cauase.md: cauase request --mode user":          "asks for a passphrase at a terminal",
	"docs/cauase.md: openssl pkcs8":                       "asks for a passphrase at a terminal",
	"docs/cauase.md: cauase request --sign":               "asks for a password at a terminal; docs/browser.md is run",
	"docs/cauase.md: cauase ca install":                   "TestPageTrustStores has a machine to itself",
	"docs/cauase.md: cauase ca card":                      "tests of the client have newcomers begin with it",
	"docs/cauase.md: cauase p12":                          "asks for a password at a terminal",
	"docs/cauase.md: cauase self-signed":                  "asks for a password at a terminal",
	"docs/operations.md: install -d -m 0700":              "in /var/lib; endtoend starts and ends daemons",
	"docs/operations.md: cauase --user-key user.pem sign": "scripts of testdata/script sign files",
	"docs/operations.md: cauased --netloc":                "waits for half past three; package archive takes backups",
	"docs/operations.md: cauased manage create-identity":  "asks for a passphrase at a terminal",
	"docs/signing-api.md: curl --data-binary":             "scripts of testdata/script ask with curl",
	"docs/operations.md: $ cauase-key-id":                 "an example of output",
	"docs/operations.md: error: certificate cas":          "an example of output",
	"docs/performance.md: make bench":                     "takes long, and measures this machine",
	"docs/protocol.md: {":                                 "a message",
	"docs/cauase.md: cauase csr send device.csr":          "waits for somebody; endtoend runs scripts that wait",
	"docs/verifiers.md: curl":                             "package verifiers asks curl, with a server of its own",
	"docs/verifiers.md: CN=Caucase CAS":                   "names",
}

// TestPageBlocks: every block of commands of every page is run by a test, which names it, or stands in the list above.
func TestPageBlocks(t *testing.T) {
	var tests []string
	err := filepath.WalkDir(filepath.Join(repository, "pkg"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") || entry.Name() == "blocks_test.go" {
			return err
		}
		content, err := os.ReadFile(path)
		tests = append(tests, entry.Name()+"\n"+string(content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	// A test names the page and the block. What the pages of servers have in common is run by one test for all of them.
	named := func(page, name string) bool {
		quoted := regexp.MustCompile(`"(sh |console )?` + regexp.QuoteMeta(name) + `"`)
		return slices.ContainsFunc(tests, func(test string) bool {
			ofServers := strings.HasPrefix(test, "site_test.go\n") && slices.Contains([]string{"nginx.md", "haproxy.md", "postgresql.md", "go.md", "browser.md"}, filepath.Base(page))
			return (ofServers || strings.Contains(test, filepath.Base(page)+`"`)) && quoted.MatchString(test)
		})
	}
	used := map[string]bool{}
	excused := func(f fence) bool {
		for key := range notRun {
			if page, beginning, _ := strings.Cut(key, ": "); page == f.page && strings.HasPrefix(f.text, beginning) {
				used[key] = true
				return true
			}
		}
		return false
	}
	run := 0
	for _, page := range pages(t) {
		for _, f := range fences(t, page) {
			language, name, _ := strings.Cut(f.info, " ")
			switch {
			case language != "" && language != "sh" && language != "console":
				continue // no commands
			case page == "README.md" && language == "sh":
				run++ // TestPageTour takes all of them
			case excused(f):
			case name != "" && named(page, name):
				run++
			default:
				t.Errorf("%s:%d: no test runs this block; give it a name behind the backticks, and run it", page, f.line)
			}
		}
	}
	if run < 50 {
		t.Errorf("%d blocks are run", run)
	}
	for key := range notRun {
		if !used[key] {
			t.Errorf("%s: there is no such block", key)
		}
	}
}
