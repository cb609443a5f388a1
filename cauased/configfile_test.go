package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cauase/pkg/pki"
)

// fileOf puts a configuration file into a new folder and returns its path.
func fileOf(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cauased.toml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestConfigFile: a flag counts more than the environment, and that more than the file.
func TestConfigFile(t *testing.T) {
	path := fileOf(t, `netloc = "file.example:8009"
db = "data/db.sqlite"
server-key = "/key"
bind = ["127.0.0.1", "::1"]
user-crt-validity = 4
service-crt-validity = 2.5
user-max-csr = 7
service-max-csr = 8
lock-auto-approve-count = true
key-len = 3072
retention = 9

[profile.web]
extended_key_usage = ["serverAuth"]
names = ["dns"]
`)
	t.Setenv("CAUASED_USER_MAX_CSR", "70")
	t.Setenv("CAUASED_SERVICE_MAX_CSR", "80")
	c, err := parse(t, "--config", path, "--service-max-csr", "800")
	if err != nil {
		t.Fatal(err)
	}
	if c.Netloc.String() != "file.example:8009" || c.Database != filepath.Join(filepath.Dir(path), "data/db.sqlite") || c.ServerKey != "/key" ||
		c.CORSKeys != "cors.key" || !slices.Equal(c.Bind, []string{"127.0.0.1", "::1"}) || c.Users.Validity != 4*day || c.Services.Validity != 5*day/2 ||
		c.Users.MaxPending != 70 || c.Services.MaxPending != 800 || !c.LockAutoApprove || c.KeyType != pki.KeyRSA3072 || c.Retention != 9*day ||
		!slices.Contains(c.Profiles.Names(), "web") {
		t.Errorf("%+v", c)
	}
	// One of two ways to say the same, on the command line, is the whole answer.
	if c, err := parse(t, "--config", path, "--key-type", "ed25519"); err != nil || c.KeyType != pki.KeyEd25519 {
		t.Errorf("%v %v", c.KeyType, err)
	}
	t.Setenv("CAUASED_CONFIG", path)
	if c, err := parse(t, "--netloc", "flag.example"); err != nil || c.Netloc.String() != "flag.example" || c.Users.Validity != 4*day {
		t.Errorf("environment: %+v %v", c, err)
	}
	if c, err := parse(t, "--db", "postgres://u@host/db"); err != nil || c.Database != "postgres://u@host/db" {
		t.Errorf("%v %v", c.Database, err)
	}
}

// TestConfigFileErrors: an error says where in the file it is, and what would be right.
func TestConfigFileErrors(t *testing.T) {
	const good = "netloc = \"ca.example\"\n"
	for content, want := range map[string]string{
		good + "colour = 1\n":                               "line 2, column 1: there is no setting \"colour\"",
		good + "config = \"other.toml\"\n":                  "line 2, column 1: there is no setting \"config\"",
		good + "help = true\n":                              "line 2, column 1: there is no setting \"help\"",
		good + "\n  retention = true\n":                     "line 3, column 3: retention: must be a number of days",
		good + "user-max-csr = 1.5\n":                       "line 2, column 1: user-max-csr: must be a whole number",
		good + "bind = \"::1\"\n":                           "line 2, column 1: bind: must be a list of texts",
		good + "bind = [1]\n":                               "line 2, column 1: bind: must be a list of texts",
		good + "lock-auto-approve-count = 1\n":              "line 2, column 1: lock-auto-approve-count: must be true or false",
		good + "db = 5\n":                                   "line 2, column 1: db: must be a text in quotes",
		good + "user-crt-validity = -1\n":                   "line 2, column 1: user-crt-validity: -1 is not a number of days",
		good + "user-crt-validity = nan\n":                  "line 2, column 1: user-crt-validity: ",
		good + "service-crt-validity = 0\n":                 "line 2, column 1: service-crt-validity: ",
		good + "retention = \n":                             "line 2, column ",
		good + "retention = 1\nretention = 2\n":             "line 3, column ",
		good + "[other]\nx = 1\n":                           "line 2, column ",
		good + "server-key = \"x\"\ncors-key-store = \"x\"": "line 3, column 1: cors-key-store: ",
		good + "[profile.web]\nnope = 1\n":                  "line 3, column 1: there is no setting \"nope\"",
		good + "[profile.web]\nextended_key_usage = [\"serverAuth\"]\nvalidity = \"soon\"\n": "line 4, column 1: profile.web.validity: ",
		good + "[profile.web]\nmin_names = \"5\"\n":                                          "line 3, column ",
		good + "[profile.Web]\nmin_names = 1\n":                                              "line 2, column 2: profile.Web: ",
		good + "profile = 5\n":                                                               "line 2, column ",
		"netloc = \"a:b\"\n":                                                                 "line 1, column 1: netloc: ",
		"":                                                                                   "--netloc: is required",
	} {
		path := fileOf(t, content)
		_, err := parse(t, "--config", path)
		if err == nil || !strings.Contains(err.Error(), want) || strings.HasPrefix(want, "line") && !strings.HasPrefix(err.Error(), path+": line") {
			t.Errorf("%q: %v, want %s", content, err, want)
		}
	}
	// What the environment gives is named by its variable.
	t.Setenv("CAUASED_NETLOC", "a:b")
	if _, err := parse(t); err == nil || !strings.HasPrefix(err.Error(), "CAUASED_NETLOC: ") {
		t.Errorf("a variable: %v", err)
	}
	if _, err := parse(t, "--netloc", "c:d"); err == nil || !strings.HasPrefix(err.Error(), "--netloc: ") {
		t.Errorf("an option before it: %v", err)
	}
	if _, err := parse(t, "--config", "/no/such/file"); err == nil || !strings.HasPrefix(err.Error(), "--config: ") {
		t.Errorf("a file that is not there: %v", err)
	}
}
