package verifiers

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"cauase/pkg/judges"
)

// A verifier judges holders by the files of a scene, or does not even start.
type verifier struct {
	name  string // in the table of the page
	judge func(*testing.T, *scene) (ask, error)
}

func verifiers(t *testing.T) []verifier {
	j := sync.OnceValue(func() *judges.Judges { return judges.New(t) })
	return []verifier{
		{"OpenSSL `verify`", askJudge(j, "OpenSSL")},
		{"GnuTLS `certtool`", askJudge(j, "GnuTLS")},
		{"NSS `certutil`", askJudge(j, "NSS")},
		{"Java PKIX", askJudge(j, "Java")},
		{"Go `crypto/x509`", askJudge(j, "Go")},
		{"curl", askCurl},
		{"Node `tls`", askNode},
		{"Python `ssl`", askPythonSSL},
		{"Python `cryptography`", askCryptography},
		{"strongSwan `pki --verify`", askStrongSwan},
		{"OpenVPN `ca`", askOpenVPN},
		{"OpenVPN `capath`", askOpenVPNFolder},
		{"nginx", askNginx},
		{"HAProxy", askHAProxy},
		{"PostgreSQL", askPostgreSQL},
		{"stunnel", askStunnel},
		{"mosquitto", askMosquitto},
	}
}

const page = "../../docs/verifiers.md"

// TestMatrix has every verifier judge a good and a revoked certificate of each of two generations, and compares what comes
// of it with the table of the page.
func TestMatrix(t *testing.T) {
	table := readTable(t)
	var scenes []*scene
	for _, named := range []subjects{own, shared} {
		s := newScene(t, named)
		scenes = append(scenes, s, s.reversed(t))
	}
	all := verifiers(t)
	if len(all) != len(table) {
		t.Errorf("the page has %d verifiers, and %d are tested", len(table), len(all))
	}
	for _, v := range all {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			var row []string
			for _, s := range scenes {
				row = append(row, outcome(t, v, s))
			}
			if got, want := strings.Join(row, " | "), strings.Join(table[v.name], " | "); got != want {
				t.Errorf("it is so:      | %s | %s |\nthe page says: | %s | %s |", v.name, got, v.name, want)
			}
		})
	}
}

// outcome is what a verifier makes of a scene, in the words of the page.
func outcome(t *testing.T, v verifier, s *scene) string {
	t.Helper()
	in := *s // with files of its own beside those of the scene
	in.dir = t.TempDir()
	openTo(t, in.dir)
	accepts, err := v.judge(t, &in)
	if err != nil {
		t.Logf("%s: %.2000v", v.name, err)
		return "does not start"
	}
	var faults []string
	for i := range s.good {
		if err := accepts(s.good[i]); err != nil {
			t.Logf("%s refuses %s: %.2000v", v.name, s.good[i].name, err)
			faults = append(faults, fmt.Sprintf("refuses generation %d", i+1))
		}
	}
	for i := range s.revoked {
		if err := accepts(s.revoked[i]); err == nil {
			faults = append(faults, fmt.Sprintf("accepts revoked ones of generation %d", i+1))
		}
	}
	if faults == nil {
		return "works"
	}
	return strings.Join(faults, ", ")
}

// readTable reads the rows of the page's table, by verifier.
func readTable(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][]string{}
	_, rest, found := strings.Cut(string(text), "\n| verifier |")
	if !found {
		t.Fatalf("%s has no table of verifiers", page)
	}
	for line := range strings.Lines(rest) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|-") || len(cells) != 5 {
			if len(rows) > 0 {
				break
			}
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows[cells[0]] = cells[1:]
	}
	return rows
}
