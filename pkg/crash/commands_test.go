package crash

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cauase/pkg/testkit"
	"cauase/pkg/testkit/faults"
)

// A command is one of cauased manage, disturbed.
type command struct {
	name     string
	prepare  [][]string // commands before it
	args     []string
	database string // a file in place of the daemon's database, which the command makes or changes
	again    string // what it may say when it is run again and has been done to the end before (a regular expression)
	done     func(r *run)
	files    bool
}

func (c command) story() story {
	again := regexp.MustCompile(c.again)
	database := func(r *run) string {
		if c.database != "" {
			return filepath.Join(r.dir, c.database)
		}
		return r.database
	}
	return story{
		name: c.name, files: c.files || c.database != "",
		prepare: func(t testing.TB, dir, database string) {
			if c.database != "" {
				database = filepath.Join(dir, c.database)
			}
			for _, args := range c.prepare {
				must(t, dir, database, filled(args, nil)...)
			}
		},
		happen: func(r *run) []faults.Step {
			r.before = testkit.Files(r, r.dir)
			cmd, err := faults.Command(r.options(true), cauased, append([]string{"manage"}, filled(c.args, r)...)...)
			check(r, err)
			var log testkit.Buffer
			cmd.Dir, cmd.Stdout, cmd.Stderr = r.dir, &log, &log
			cmd.Env = append(environment(r.dir, database(r)), cmd.Env[len(cmd.Env)-1])
			p, err := faults.Start(cmd)
			check(r, err)
			err = p.Wait()
			r.acked = err == nil
			text := log.String()
			r.values["said"] = text
			steps := r.traced(p)
			if err != nil && !p.Killed() {
				if !strings.Contains(text, "error: ") && !strings.Contains(text, "warning: ") || strings.Contains(text, "goroutine ") {
					r.Errorf("it fails, %v, and does not say why:\n%s", err, text)
				}
				c.tidy(r)
			}
			return steps
		},
		settle: func(r *run) {
			if r.acked {
				c.done(r)
			}
			if _, err := os.Stat(database(r)); err == nil || c.database == "" {
				c.sound(r, database(r))
			}
			if !r.acked {
				code, said := manage(r, r.dir, database(r), filled(c.args, r)...)
				if code != 0 && (c.again == "" || !again.MatchString(said)) {
					r.Errorf("run again: exit code %d\n%s\nbefore it had said:\n%s", code, said, r.values["said"])
				}
				c.done(r)
			}
			consistent(r, r.dir, database(r))
		},
	}
}

// sound checks what is left. A database that was being made may have nothing in it.
func (c command) sound(r *run, database string) {
	r.Helper()
	if code, said := manage(r, r.dir, database, "check"); code != 0 && (c.database == "" || !strings.Contains(said, "no database of cauase")) {
		r.Errorf("cauased manage check: exit code %d\n%s", code, said)
	}
}

// tidy checks that a command which has failed leaves no files but those that were there, or that belong to a database.
// What could not be removed may be there.
func (c command) tidy(r *run) {
	r.Helper()
	if r.hit == nil || r.hit.Kind == faults.Remove || r.fault.On && r.fault.Errno.Error() == "read-only file system" {
		return
	}
	if said := r.values["said"].(string); strings.Contains(said, "is complete and verified, but") || strings.Contains(said, "everything on record, but") {
		return // and says so
	}
	for _, name := range testkit.Files(r, r.dir) {
		if !slices.Contains(r.before, name) && !strings.Contains(name, ".sqlite") {
			r.Errorf("the command has failed and leaves %s behind:\n%s", name, r.values["said"])
		}
	}
}

// filled puts what is known of the world into arguments.
func filled(args []string, r *run) []string {
	filled := slices.Clone(args)
	for i := range filled {
		if r != nil {
			filled[i] = strings.ReplaceAll(filled[i], "WAITING", fmt.Sprint(r.world.waiting[0]))
		}
	}
	return filled
}

// says checks that a command says something, at the end.
func says(pattern string, args ...string) func(*run) {
	expected := regexp.MustCompile(pattern)
	return func(r *run) {
		r.Helper()
		if said := must(r, r.dir, r.database, args...); !expected.MatchString(said) {
			r.Errorf("cauased manage %s does not say %s:\n%s", strings.Join(args, " "), pattern, said)
		}
	}
}

func has(files ...string) func(*run) {
	return func(r *run) {
		r.Helper()
		for _, name := range files {
			if info, err := os.Stat(filepath.Join(r.dir, name)); err != nil || info.Size() == 0 {
				r.Errorf("%s: %v", name, err)
			}
		}
	}
}

var (
	makeRoot = []string{"authority", "add", "home-root", "--db", "root.sqlite", "--role", "root", "--validity", "20y", "--subject", "C=FR,O=Example,CN=Home Root"}
	ceremony = [][]string{
		makeRoot,
		{"authority", "export", "home-root", "--db", "root.sqlite", "--out", "root.pem", "--crl", "root.crl.pem"},
		{"authority", "add", "home-root", "--role", "root", "--external", "root.pem", "--crl", "root.crl.pem"},
		{"authority", "add", "lab", "--parent", "home-root"},
		{"authority", "request", "lab", "--out", "lab.request", "--ahead", "3"},
		{"authority", "sign", "--db", "root.sqlite", "lab.request", "--out", "lab.signed", "--yes"},
		{"authority", "install", "lab.signed"},
	}
	restored = "is in .*new.sqlite already|next.crt: file already exists"
)

// commands are those that change something.
var commands = []command{
	{name: "backup", args: []string{"backup", "mine.caucased"}, again: "exists already|already exists|there already", done: func(r *run) {
		must(r, r.dir, r.database, "restore", "--dry-run", "mine.caucased", "alice.key")
	}},
	{name: "restore", args: []string{"restore", "--db", "new.sqlite", "BACKUP", "alice.key", "next.csr", "next.crt"}, database: "new.sqlite", again: restored,
		done: func(r *run) {
			says("backup.restore", "audit", "--db", "new.sqlite", "--action", "backup.restore")(r)
		}},
	{name: "rotate", args: []string{"rotate", "cas", "--now", "--yes"}, again: "error: ", done: says(`"active"`, "rotate", "cas", "--status", "--json")},
	{name: "withdraw", args: []string{"rotate", "cas", "--compromised", "--now", "--yes"}, again: "error: ", done: says("ca.withdraw", "audit", "--action", "ca.withdraw")},
	{name: "add an authority", args: []string{"authority", "add", "lab", "--title", "Laboratory"}, again: "already", done: says("lab", "authority", "show", "lab")},
	{name: "make a root", args: makeRoot, database: "root.sqlite", again: "already", done: says("home-root", "authority", "show", "home-root", "--db", "root.sqlite")},
	{name: "ask for a sign-off", prepare: ceremony[:4], args: ceremony[4], again: "that is not there yet|exists", done: has("lab.request"), files: true},
	{name: "sign off", prepare: ceremony[:5], args: ceremony[5], again: "exists|not there yet", done: has("lab.signed"), files: true},
	{name: "install a sign-off", prepare: ceremony[:6], args: ceremony[6], done: says("3 CA certificates had been installed before", "authority", "install", "lab.signed")},
	{name: "set a parent", prepare: ceremony[:3], args: []string{"authority", "set-parent", "cas", "home-root"}, again: "already", done: says("home-root", "authority", "show", "cas")},
	{name: "retire", prepare: [][]string{{"authority", "add", "lab"}}, args: []string{"authority", "retire", "lab", "--yes"}, again: "retired", done: says("retire", "authority", "show", "lab")},
	{name: "approve", args: []string{"approve", "WAITING"}, again: "no pending|not pending|no request|signed", done: says("crt.sign", "audit", "--action", "crt.sign")},
	{name: "invite", args: []string{"invite", "--cn", "web", "--out", "web.invite"}, again: "exists|not there yet", done: has("web.invite")},
	{name: "choose a type of key", args: []string{"next-key-type", "--authority", "cas", "ecdsa-p384"}, done: says("p384", "status", "--json")},
	{name: "copy", args: []string{"copy", "--to", "copy.sqlite"}, again: "not empty|already", files: true, done: func(r *run) {
		consistent(r, r.dir, filepath.Join(r.dir, "copy.sqlite"))
	}},
	{name: "export CAs", args: []string{"export-ca", "--passphrase-file", "passphrase", "cas.pem"}, again: "exists", done: has("cas.pem")},
	{name: "make an identity", args: []string{"create-identity", "--passphrase-file", "passphrase", "identity", "-f", "CN=Example Services"}, again: "exists|empty", done: has("identity/ca.cert.pem", "identity/ca.private_key.pem"), files: true},
	{name: "import an identity", prepare: [][]string{{"create-identity", "--passphrase-file", "passphrase", "identity", "-f", "CN=Example Services"}}, database: "imported.sqlite",
		args: []string{"import-identity", "--passphrase-file", "passphrase", "--db", "imported.sqlite", "identity"}, again: "already", done: says("ca.import", "audit", "--db", "imported.sqlite")},
	{name: "make the layout", args: []string{"migrate", "--db", "fresh.sqlite"}, database: "fresh.sqlite", done: has("fresh.sqlite")},
}

var stories = func() (all []story) {
	all = slices.Concat(deeds, []story{ending})
	for _, s := range starts {
		all = append(all, s.story())
	}
	for _, c := range commands {
		all = append(all, c.story())
	}
	return all
}()
