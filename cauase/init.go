package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"

	"cauase/pkg/client"
	"cauase/pkg/config"
	"cauase/pkg/invite"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"

	manners "cauase/pkg/cli"
)

const cmdInit = "init"

func (t *tool) initCommand() *cli.Command {
	return &cli.Command{
		Name:  cmdInit,
		Usage: "make the configuration: which CA this user works with, and which CA certificates to trust",
		Description: `Contacts the CA, verifies its certificates by --ca-fingerprint or --invite, and stores them
beside the user's configuration, which from then on says where the CA is, what to trust, and, with
--user-key, whom to act as. Other options that are given are written there, too.

The same command again changes nothing. Another CA needs a context of its own, by --context: one
that is there never gets to be about another CA. The invitation is not used up: cauase request takes it.`,
		Flags:  []cli.Flag{inviteFlag()},
		Action: t.action(t.init),
	}
}

type initView struct {
	Context   string      `json:"context"`
	Config    string      `json:"config"`
	Changed   bool        `json:"changed"`
	CAURL     string      `json:"ca_url"`
	Store     string      `json:"store"`
	Trusted   []trustView `json:"trusted"`
	Unpinned  []string    `json:"unpinned"` // authorities that neither a fingerprint nor an invitation is about
	FirstUsed bool        `json:"first_use"`
}

type trustView struct {
	Authority   string `json:"authority"`
	Subject     string `json:"subject"`
	Fingerprint string `json:"fingerprint"`
	File        string `json:"file"`
}

func (t *tool) init(c *cli.Context) error {
	if c.NArg() > 0 {
		return errUsage(c, fmt.Sprintf("%q: the CA's address is given with --ca-url", c.Args().First()))
	}
	path := config.UserFile(c.String("config"))
	if path == "" {
		return manners.WithHint(errors.New("where the configuration should be is not known: neither XDG_CONFIG_HOME nor HOME is set"), "name a file with --config")
	}
	if t.caURL == "" {
		return manners.WithHint(errors.New("which CA? its address is not given"), "give --ca-url http://HOST[:PORT], and --ca-fingerprint sha256:… or --invite FILE to know it by")
	}
	file, err := t.fileToChange(path)
	if err != nil {
		return err
	}
	settings, err := t.settingsToWrite(c, file)
	if err != nil {
		return err
	}
	invitation, err := t.invitation(c)
	if err != nil {
		return err
	}
	view := initView{Context: t.context, Config: path, CAURL: t.caURL, Store: t.store, Trusted: []trustView{}, Unpinned: []string{}}
	if err := t.establish(c.Context, invitation, &view); err != nil {
		return err
	}
	if view.Changed, err = writeContext(file, t.context, settings); err != nil {
		return err
	}
	return t.print(view, func(p *printer) { t.printInit(p, view) })
}

// fileToChange is the configuration at path as it is, or a new one.
func (t *tool) fileToChange(path string) (*config.Contexts, error) {
	i := slices.IndexFunc(t.files, func(f *config.Contexts) bool { return f.Path == path })
	if i < 0 {
		return config.NewContexts(path, t.context), nil
	}
	file := t.files[i]
	if old, ok := file.Get(t.context, "ca-url"); ok && file.Has(t.context) && old.Value != t.caURL {
		same := false
		if text, isText := old.Value.(string); isText {
			same = hostFolder(text) == hostFolder(t.caURL)
		}
		if !same {
			return nil, manners.WithHint(fmt.Errorf("the context %s is about the CA at %v (%s, line %d), not %s", t.context, old.Value, path, old.Line, t.caURL),
				"--context NAME makes another beside it")
		}
	}
	return file, nil
}

// settingsToWrite are those of the context that the command line gives.
func (t *tool) settingsToWrite(c *cli.Context, file *config.Contexts) (map[string]any, error) {
	settings := map[string]any{"ca-url": t.caURL}
	folder, err := filepath.Abs(filepath.Dir(file.Path))
	if err != nil {
		return nil, err
	}
	absolute := func(path string) (string, error) {
		path, err := filepath.Abs(path)
		if err == nil && filepath.Dir(path) == folder {
			path = filepath.Base(path) // relative paths are in the folder of the file
		}
		return path, err
	}
	for name, from := range t.origins {
		if from != origin("--"+name) || name == "ca-url" || name == "ca-fingerprint" {
			continue
		}
		text := c.String(name)
		switch {
		case slices.Contains(config.Paths, name):
			if text, err = absolute(text); err != nil {
				return nil, err
			}
			settings[name] = text
		case name == "caucase":
			settings[name] = c.Bool(name)
		case name == "threshold" || name == "catch-up":
			settings[name] = number(c.Float64(name))
		default:
			settings[name] = text
		}
	}
	if _, given := settings["store"]; !given {
		if t.context == "" || t.store == "" {
			return nil, errors.New("there is no folder for CA certificates: give --store")
		}
		if settings["store"], err = absolute(t.store); err != nil {
			return nil, err
		}
	}
	if t.userKey != "" {
		if _, err := os.Stat(t.userKey); err != nil {
			return nil, fmt.Errorf("--user-key: %w", err)
		}
	}
	return settings, nil
}

// establish verifies the CAs that this user will have to do with, and stores them.
func (t *tool) establish(ctx context.Context, s *invite.Signed, view *initView) error {
	c, err := t.connect()
	if err != nil {
		return err
	}
	type verified struct {
		authority client.AuthorityName
		store     pemfile.Store
		trust     client.Trust
		new       bool
	}
	var all []verified
	for _, one := range []verified{
		{authority: t.authority, store: t.caStore},
		{authority: client.CAS, store: t.servicesStore},
		{authority: client.CAU, store: t.usersStore},
	} {
		if slices.ContainsFunc(all, func(v verified) bool { return v.authority == one.authority }) {
			continue
		}
		of, err := c.For(one.authority)
		if err != nil {
			return err
		}
		local, err := one.store.ReadCertificates()
		if err != nil {
			return err
		}
		one.new = len(local) == 0
		atWork := one.authority == t.authority && (s == nil || len(client.PinsOf(s, one.authority)) > 0)
		one.trust, err = t.verify(ctx, of, one.authority, local, s)
		switch {
		case err != nil && !atWork && (errors.Is(err, client.ErrPin) || errors.Is(err, errUnpinned)):
			view.Unpinned = append(view.Unpinned, string(one.authority))
			continue
		case errors.Is(err, client.ErrUnknownAnchor), errors.Is(err, client.ErrChain), errors.Is(err, client.ErrInvitedElsewhere), errors.Is(err, client.ErrPin) && !one.new:
			return manners.WithHint(fmt.Errorf("%s: %w", one.store.Path, err), "what is trusted there is not replaced: --context NAME makes a place for another CA; if it is meant to be the same, somebody may be answering in its place")
		case err != nil:
			return err
		}
		all = append(all, one)
	}
	if len(all) == 0 {
		return manners.WithHint(errUnpinned, "ask for the fingerprints of the CA's certificates, or for an invitation")
	}
	for _, one := range all {
		changed, err := t.storeCAs(one.store, one.trust.CAs)
		if err != nil {
			return err
		}
		view.Changed = view.Changed || changed
		view.FirstUsed = view.FirstUsed || one.trust.FirstUse
		if one.trust.FirstUse {
			t.noteFirstContact("", one.store.Path, one.trust.CAs)
		}
		for _, ca := range one.trust.CAs {
			view.Trusted = append(view.Trusted, trustView{string(one.authority), pki.SubjectString(ca.RawSubject), client.PinOf(ca).String(), one.store.Path})
		}
	}
	return nil
}

// errUnpinned says that something was given to know CAs by, and nothing for one of them.
var errUnpinned = errors.New("neither a fingerprint nor the invitation is about the CA")

// verify brings trust in an authority up to date, by an invitation or by fingerprints if there are some. Those have to
// be right for what is trusted already, too.
func (t *tool) verify(ctx context.Context, c *client.Client, authority client.AuthorityName, local []*x509.Certificate, s *invite.Signed) (client.Trust, error) {
	if s != nil {
		if len(client.PinsOf(s, authority)) == 0 {
			return client.Trust{}, errUnpinned
		}
		trust, err := c.TrustInvited(ctx, local, s)
		return trust.Trust, err
	}
	trust, err := c.UpdateTrust(ctx, local, t.pins)
	if err != nil || len(local) == 0 || len(t.pins) == 0 {
		return trust, err
	}
	pinned, err := c.UpdateTrust(ctx, nil, t.pins)
	if err != nil {
		return client.Trust{}, err
	}
	if !slices.ContainsFunc(pinned.CAs, func(ca *x509.Certificate) bool { return slices.ContainsFunc(trust.CAs, ca.Equal) }) {
		return client.Trust{}, client.ErrPin
	}
	return trust, nil
}

// writeContext writes settings of a context into the file, for its owner only, if it does not say so already.
func writeContext(file *config.Contexts, name string, settings map[string]any) (changed bool, err error) {
	if file.Has(name) {
		for key, value := range settings {
			if old, ok := file.Get(name, key); ok && (fmt.Sprint(old.Value) == fmt.Sprint(value) || slices.Contains(config.Paths, key) && samePath(file, old.Value, value)) {
				delete(settings, key)
			}
		}
		if len(settings) == 0 {
			return false, nil
		}
	}
	content := file.With(name, settings)
	// What is there may be written in ways that we do not know how to change.
	again, err := config.ParseContexts(file.Path, content, config.Names)
	for key, value := range settings {
		if err != nil {
			break
		}
		if got, ok := again.Get(name, key); !ok || fmt.Sprint(got.Value) != fmt.Sprint(value) {
			err = fmt.Errorf("%s would not be %v", key, value)
		}
	}
	if err != nil {
		return false, manners.WithHint(fmt.Errorf("%s: the context %s cannot be written: %w", file.Path, name, err), "write it by hand: [context.%s], and below it ca-url and the rest", name)
	}
	if err := os.MkdirAll(filepath.Dir(file.Path), 0o700); err != nil {
		return false, err
	}
	mode := pemfile.Attributes{Mode: 0o600}
	if file.Path == config.SystemFile {
		mode.Mode = 0o644 // it is for all users
	}
	return pemfile.Write(pemfile.File{Path: file.Path, Content: content, Attributes: mode})
}

func samePath(file *config.Contexts, old, value any) bool {
	a, isText := old.(string)
	b, alsoText := value.(string)
	folder := filepath.Dir(file.Path)
	return isText && alsoText && config.Locate(a, folder) == config.Locate(b, folder)
}

// A number is written without quotes.
type number float64

func (n number) String() string { return fmt.Sprint(float64(n)) }

func (t *tool) printInit(p *printer, v initView) {
	state := "unchanged"
	if v.Changed {
		state = "written"
	}
	p.line("%s: %s, context %s for the CA at %s", v.Config, state, v.Context, v.CAURL)
	for _, trusted := range v.Trusted {
		p.line("%s: trusting %s, %s", trusted.File, safe(trusted.Subject), trusted.Fingerprint)
	}
	for _, name := range v.Unpinned {
		p.line("%s: nothing was given to know this authority's CA by, so nothing is trusted yet", name)
	}
}
