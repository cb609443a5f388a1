package pkg

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// parsers are what reads what others have written, and the fuzz target that it has. make fuzz runs them all.
var parsers = map[string]struct{ folder, target string }{
	"PEM":                                 {"pki", "FuzzPEM"},
	"requests":                            {"pki", "FuzzParseRequest"},
	"requests, DER":                       {"pki", "FuzzRequestDER"},
	"requests in other forms":             {"pki", "FuzzReadLocalRequest"},
	"certificates, leniently":             {"pki", "FuzzParseIssued"},
	"certificates, strictly":              {"pki", "FuzzDER"},
	"revocation lists":                    {"pki", "FuzzCRL"},
	"private keys with a passphrase":      {"pki", "FuzzDecryptPrivateKey"},
	"names on command lines":              {"pki", "FuzzParseSubject"},
	"envelopes":                           {"envelope", "FuzzParse"},
	"payloads":                            {"envelope", "FuzzDecodePayloads"},
	"invitations":                         {"invite", "FuzzParse"},
	"rules":                               {"policy", "FuzzRules"},
	"profiles":                            {"profile", "FuzzCompile"},
	"permitted names":                     {"profile", "FuzzParsePermitted"},
	"answers of hooks":                    {"hook", "FuzzAnswers"},
	"leaves of the log":                   {"merkle", "FuzzLeaf"},
	"checkpoints, which are notes":        {"merkle", "FuzzCheckpoint"},
	"tiles of the log":                    {"merkle", "FuzzTiles"},
	"proofs of the log":                   {"merkle", "FuzzProof"},
	"headers of backups":                  {"backup", "FuzzReadHeader"},
	"backups":                             {"backup", "FuzzOpen"},
	"rows in backups":                     {"dump", "FuzzRead"},
	"dumps of caucase":                    {"caucase", "FuzzReadDump"},
	"TOML":                                {"config", "FuzzSettings"},
	"configurations of the agent":         {"../updater", "FuzzParseConfig"},
	"URIs of PKCS #11":                    {"token", "FuzzParse"},
	"cookies":                             {"server/caucase", "FuzzCookie"},
	"keys of cookies":                     {"server/caucase", "FuzzCORSKeys"},
	"paths":                               {"server/caucase", "FuzzTarget"},
	"addresses of daemons":                {"server", "FuzzParseNetloc"},
	"answers of daemons":                  {"client", "FuzzAnswer"},
	"chains":                              {"client", "FuzzChain"},
	"signatures of SSH":                   {"proof", "FuzzParseSSH"},
	"known hosts":                         {"proof", "FuzzKnownHosts"},
	"sign-offs":                           {"signoff", "FuzzParse"},
	"files of hosts":                      {"pemfile", "FuzzFile"},
	"fingerprints in words":               {"trustcard", "FuzzParseWords"},
	"schedules of backups":                {"archive", "FuzzParseSchedule"},
	"actors and objects of the audit log": {"audit", "FuzzTexts"},
}

// TestParsersAreFuzzed fails if a parser has no target.
func TestParsersAreFuzzed(t *testing.T) {
	declared := regexp.MustCompile(`(?m)^func (Fuzz\w+)\(f \*testing\.F\)`)
	for what, p := range parsers {
		files, err := filepath.Glob(filepath.Join(p.folder, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range declared.FindAllStringSubmatch(string(text), -1) {
				found = append(found, m[1])
			}
		}
		if !slices.Contains(found, p.target) {
			t.Errorf("%s: pkg/%s has no target %s, but %v", what, p.folder, p.target, found)
		}
	}
}
