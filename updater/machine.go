package main

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"

	"cauase/pkg/cli"
	"cauase/pkg/client"
	"cauase/pkg/config"
)

// A machine is the configuration of all users of this host. The agent may be root: it never reads that of a user, and this
// one only if nobody but root, or the agent's own user, can write it.
type machine struct {
	path string
	read bool
	file *config.Contexts
}

// machineFile is where it is, but in tests.
var machineFile = config.SystemFile

// under returns r with what it does not say taken from the machine's configuration, and how errors name the settings. That
// is for jobs that do not say which CA they are about, or that name a context: what is trusted and preferred for one CA is
// not meant for another.
func (m *machine) under(r raw, name namer) (raw, namer, error) {
	if r.CAURL != nil && r.Context == nil {
		return r, name, nil
	}
	file, err := m.contexts()
	if err != nil {
		return r, name, err
	}
	context, err := m.choose(file, or(r.Context, ""), name)
	if err != nil || file == nil {
		return r, name, err
	}
	settings, places, err := fromContext(file, context, r)
	if err != nil {
		return r, name, err
	}
	return r.over(settings), func(setting string) string {
		given := name(setting)
		if place := places[setting]; place != "" && !r.gives(setting) {
			return place
		}
		return given
	}, nil
}

func (m *machine) contexts() (*config.Contexts, error) {
	if m.read {
		return m.file, nil
	}
	file, err := config.ReadContexts(m.path, config.Names)
	if err != nil && !config.Absent(err) {
		return nil, err
	}
	m.file, m.read = file, true
	return file, nil
}

func (m *machine) choose(file *config.Contexts, named string, name namer) (string, error) {
	if file == nil {
		if named != "" {
			return "", cli.WithHint(fmt.Errorf("%s %s: there is no %s that could be read", name(flagContext), named, m.path), "the agent takes contexts from there only, and never from the configuration of a user")
		}
		return "", nil
	}
	return config.Files{file}.Choose(named)
}

// fromContext are the settings of a context that mean something to the agent, and where they stand. The client's paths of
// CA certificates and revocation lists are the agent's: what is trusted there is not trusted anew, on first use.
func fromContext(file *config.Contexts, context string, job raw) (r raw, places map[string]string, wrong error) {
	places = map[string]string{}
	get := func(setting, own string) []string {
		s, found := file.Get(context, setting)
		if !found {
			return nil
		}
		places[own] = fmt.Sprintf("%s: %v: %s", file.Path, s.Position, setting)
		texts, err := cli.ValuesFor(cli.FlagOf(flags(), own), s.Value)
		if err != nil {
			wrong = errors.Join(wrong, fmt.Errorf("%s: %w", places[own], err))
		}
		return texts
	}
	text := func(setting, own string) *string {
		texts := get(setting, own)
		if len(texts) == 0 {
			return nil
		}
		return &texts[0]
	}
	path := func(setting, own string) *string {
		found := text(setting, own)
		if found != nil {
			*found = config.Locate(*found, filepath.Dir(file.Path))
		}
		return found
	}
	number := func(setting string) *quantity {
		if found := text(setting, setting); found != nil {
			return &quantity{*found}
		}
		return nil
	}
	r = raw{
		CAURL: text("ca-url", "ca-url"), CAFingerprint: get("ca-fingerprint", "ca-fingerprint"), CatchUp: number("catch-up"),
		Mode: text("mode", "mode"), Authority: text("authority", "authority"), Threshold: number("threshold"),
		KeyType: text("key-type", "key-type"), OnRenew: path("on-renew", "on-renew"), Store: path("store", "store"),
	}
	// Of the authority that the job is about by then.
	about := job.over(r)
	switch authority := or(about.Authority, ""); {
	case authority == string(client.CAU), authority == "" && cli.Same(or(about.Mode, ""), "user"):
		r.CA, r.CRL, r.CASCA = path("user-ca-crt", "ca"), path("user-crl", "crl"), path("ca-crt", "cas-ca")
	case authority == "", authority == string(client.CAS):
		r.CA, r.CRL = path("ca-crt", "ca"), path("crl", "crl")
	}
	return r, places, wrong
}

// gives reports whether r itself says what a setting is, for those that the machine's configuration may say.
func (r raw) gives(setting string) bool {
	given := map[string]bool{
		"ca-url": r.CAURL != nil, "ca-fingerprint": len(r.CAFingerprint) > 0, "catch-up": r.CatchUp != nil,
		"mode": r.Mode != nil, "authority": r.Authority != nil, "threshold": r.Threshold != nil, "key-type": r.KeyType != nil,
		"on-renew": r.OnRenew != nil, "store": r.Store != nil, "ca": r.CA != nil, "crl": r.CRL != nil, "cas-ca": r.CASCA != nil,
	}
	return given[setting]
}

// explainMissing says where settings may stand that a job lacks.
func (m *machine) explainMissing(err error) error {
	if !errors.Is(err, errNotGiven) {
		return err
	}
	return cli.WithHint(err, "%s", cmp.Or(m.hint(), "see "+tool+" --help"))
}

func (m *machine) hint() string {
	if m.read && m.file != nil {
		return fmt.Sprintf("%s is read, and does not say it either: ca-url and store belong there, or are given to the agent", m.path)
	}
	return fmt.Sprintf("give it, or have it in %s for all tools: ca-url, store, ca-fingerprint (jobs with an address of their own take nothing from there)", m.path)
}
