package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"cauase/pkg/client"
	"cauase/pkg/config"
	"cauase/pkg/pemfile"

	manners "cauase/pkg/cli"
)

// An origin is where a setting has its value from, in words.
type origin string

const originDefault origin = "default"

// configure gives flags that are given neither on the command line nor in the environment the values that the
// configuration has for the context at work.
func (t *tool) configure(c *cli.Context, s *settings) error {
	for _, name := range config.Names {
		if from := manners.GivenBy(c, name); from != "" {
			s.origins[name] = origin(from)
		}
	}
	making := c.Args().First() == cmdInit
	files, err := config.ReadFiles(c.String("config"), making)
	if err != nil {
		return err
	}
	s.files = files
	if s.context, err = chooseContext(c, files, making); err != nil {
		return err
	}
	given := map[string]bool{}
	for name := range s.origins {
		given[name], given[config.Exclusive[name]] = true, true
	}
	var wrong error
	for _, name := range config.Names {
		file, setting, found := files.Get(s.context, name)
		if !found || given[name] {
			continue
		}
		given[name] = true
		wrong = errors.Join(wrong, file.Apply(c, name, setting))
		s.origins[name] = origin(fmt.Sprintf("%s, line %d", file.Path, setting.Line))
		s.fromFile = append(s.fromFile, name)
	}
	return wrong
}

// chooseContext returns which settings of the configuration are used, "" if there are none.
func chooseContext(c *cli.Context, files config.Files, making bool) (string, error) {
	named := c.String("context")
	if making {
		if named != "" {
			if err := config.CheckContextName(named); err != nil {
				return "", fmt.Errorf("--context %w", err)
			}
		}
		return cmp.Or(named, files.Current(), config.DefaultContext), nil
	}
	name, err := files.Choose(named)
	if errors.Is(err, config.ErrWhich) && c.Args().First() == cmdConfig {
		return config.DefaultContext, nil
	}
	return name, err
}

// places are where trust is kept.
type places struct {
	store    string   // folder of what has no path of its own, "." for the current one
	private  bool     // it is ours to make, and nobody else's to read
	fromFile []string // settings that a configuration file gives
}

// findStore decides where trust is kept that has no path of its own: where it is told to, else in the context's
// folder. Without any configuration there is a folder for each CA that is talked to. Versions before had it all in
// the current folder; where there is something of it, it goes on to be used, unless others can write there.
func (s *settings) findStore(c *cli.Context, note func(string, ...any)) error {
	folder := config.Folder()
	legacy := s.inCurrentFolder(c)
	switch {
	case c.String("store") != "":
		s.store = filepath.Clean(c.String("store"))
		s.private = folder != "" && strings.HasPrefix(s.store, folder+string(filepath.Separator))
	case s.context != "" && folder != "":
		s.store, s.private = filepath.Join(folder, s.context), true
	case legacy != "":
		s.store = "."
		if err := unwritable(legacy); err != nil {
			return err
		}
		note("using %s in the current folder, as versions before did: say so with --store ., or have one place with %s init", legacy, toolName)
		return nil
	case s.caURL == "":
		s.store = "." // and nothing is there
	case folder == "":
		s.store = "."
		note("what is trusted is kept in the current folder, as neither XDG_CONFIG_HOME nor HOME says where else: --store names a folder")
	default:
		s.store, s.private = filepath.Join(folder, "hosts", hostFolder(s.caURL)), true
	}
	if asked := s.origins["store"] != "" && !slices.Contains(s.fromFile, "store"); legacy != "" && !asked {
		note("%s in the current folder is not used: the context %s has its trust in %s (--store . takes what is here)", legacy, s.context, s.store)
	}
	return nil
}

// inCurrentFolder returns which of the files at work is in the current folder, where it would be without --store, "" for
// none. What a flag names does not count.
func (s *settings) inCurrentFolder(c *cli.Context) string {
	flags := map[string][]string{".crt.pem": {"ca-crt"}, ".crl.pem": {"crl"}, ".root.pem": {"root-ca"}}
	if s.authority == client.CAU {
		flags[".crt.pem"], flags[".crl.pem"] = []string{"user-ca-crt"}, []string{"user-crl"}
	}
	for _, suffix := range []string{".crt.pem", ".crl.pem", ".root.pem"} {
		name := string(s.authority) + suffix
		if _, err := os.Lstat(name); err == nil && !c.IsSet(flags[suffix][0]) {
			return name
		}
	}
	return ""
}

// unwritable refuses a file in the current folder that somebody else may have put there, for a user to trust.
func unwritable(name string) error {
	content, err := pemfile.Attributes{Guard: true, Follow: true}.Read(name)
	if err == nil {
		err = content.Info.Exposed(name)
	}
	if errors.Is(err, pemfile.ErrExposed) {
		return manners.WithHint(fmt.Errorf("%w; it is not trusted unless it is asked for", err), "--store . takes what is in the current folder; %s init makes a place of your own", toolName)
	}
	if errors.Is(err, pemfile.ErrNotRegular) || errors.Is(err, fs.ErrPermission) {
		return nil // whoever reads it says so
	}
	return err
}

// hostFolder is the name of the folder of the CA at an address.
func hostFolder(address string) string {
	host := address
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		host = strings.ToLower(u.Host)
		if u.Port() == "" {
			host += ":80"
		}
	}
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789.:-", r) {
			return r
		}
		return '_'
	}, host)
}

// in returns the path of a file in the store.
func (p places) in(name string) string {
	if p.store == "." || p.store == "" {
		return name
	}
	return filepath.Join(p.store, name)
}

// locate finds out where the files of the authority at work are.
func (s *settings) locate(c *cli.Context) {
	ca, crl := "ca-crt", "crl"
	if s.authority == client.CAU {
		ca, crl = "user-ca-crt", "user-crl"
	}
	builtIn := s.authority == client.CAS || s.authority == client.CAU
	path := func(flag, suffix string) string {
		// What a file says of the paths of cas and cau is not about another authority that a command line names.
		other := !builtIn && slices.Contains(s.fromFile, flag) && !slices.Contains(s.fromFile, "authority")
		if c.String(flag) != "" && !other {
			return c.String(flag)
		}
		return s.in(string(s.authority) + suffix)
	}
	or := func(flag string, name client.AuthorityName) string {
		if given := c.String(flag); given != "" && (builtIn || flag != "ca-crt") {
			return given
		}
		return s.in(string(name) + ".crt.pem")
	}
	s.usersStore = s.ours(pemfile.CAStore(or("user-ca-crt", client.CAU)))
	s.servicesStore = s.ours(pemfile.CAStore(or("ca-crt", client.CAS)))
	s.caStore, s.crlStore = s.ours(pemfile.CAStore(path(ca, ".crt.pem"))), s.ours(pemfile.CRLStore(path(crl, ".crl.pem")))
	s.rootStore, s.keepRoots = s.ours(pemfile.CAStore(path("root-ca", ".root.pem"))), c.IsSet("root-ca")
	s.builtIn = []string{or("ca-crt", client.CAS), or("user-ca-crt", client.CAU)}
}

// ours has the files of a store in the user's own folder be for nobody else.
func (p places) ours(store pemfile.Store) pemfile.Store {
	if p.holds(store.Path) {
		store.Attributes.Mode = 0o600
	}
	return store
}

// holds reports whether a path is in the folder that is ours to make.
func (p places) holds(path string) bool {
	return p.private && filepath.Dir(path) == filepath.Clean(p.store)
}

// makeFor makes the folder of a path, if it is ours to make.
func (p places) makeFor(path string) error {
	if !p.holds(path) {
		return nil
	}
	if err := os.MkdirAll(p.store, 0o700); err != nil {
		return manners.WithHint(fmt.Errorf("the folder of CA certificates cannot be made: %w", err), "--store names another")
	}
	return nil
}
