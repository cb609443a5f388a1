package main

import (
	"errors"
	"fmt"
	"log/slog"

	"cauase/pkg/config"
	"cauase/pkg/daemon"
	"cauase/pkg/hook"
	"cauase/pkg/policy"
	"cauase/pkg/profile"
	"cauase/pkg/server/signing"
	"cauase/pkg/store"
)

// fileTables are the tables of a configuration file, beside its settings. All but the profiles and authorities are read again while the daemon runs.
type fileTables struct {
	Profiles map[string]profile.Config `toml:"profile"`
	Policy   []policy.Config           `toml:"policy"`
	Hooks    hook.Config               `toml:"hooks"`
	Webhooks []hook.WebhookTable       `toml:"webhook"`
	Signing  *signingTable             `toml:"signing"`
	SSH      sshTable                  `toml:"ssh"`
	DNS      dnsTable                  `toml:"dns"`

	Authorities map[string]authorityTable `toml:"authority"`
}

// A signingTable has PUT /api/csr/{id} be answered.
type signingTable struct {
	Authority string `toml:"authority"`
	Profile   string `toml:"profile"`
}

// A parsedTables is what the tables of a file mean.
type parsedTables struct {
	daemon.Tables
	profiles *profile.Set
	profile  map[string]profile.Config // as they stand there
	told     []hook.Subscriber         // of certificates
	keys     placedKeys
}

// readTables reads the tables of a file, whole: with an error there are none.
func readTables(path string, content []byte) (p parsedTables, err error) {
	p, file, places, err := readAlone(path, content)
	if places == nil {
		return parsedTables{}, err
	}
	hooks, unfit := readHooks(file, places)
	hosts, unknown := file.SSH.read(path, places)
	if err := errors.Join(err, unfit, unknown); err != nil {
		return parsedTables{}, err
	}
	p.Hooks, p.Hosts = hooks, hosts
	return p, nil
}

// readAlone reads what the tables say that follows from the file alone, for commands: whoever runs them may neither read the other files
// that it names nor call the programs, and those may be the daemon's own. Without places the file makes no sense at all.
func readAlone(path string, content []byte) (p parsedTables, file fileTables, places *config.Places, err error) {
	if err := config.DecodeTables(content, &file); err != nil {
		return p, file, nil, err
	}
	places = config.PlacesIn(content)
	profiles, err := readProfiles(file.Profiles, places)
	rules, wrong := readRules(file.Policy, places)
	api, mistaken := readSigning(file.Signing, places)
	server, unclear := file.DNS.server(places)
	keys, misplaced := readPlaces(file.Authorities, places)
	if err := errors.Join(err, wrong, mistaken, unclear, misplaced); err != nil {
		return p, file, places, err
	}
	p = parsedTables{profiles: profiles, profile: file.Profiles, told: hook.Subscribers(file.Hooks, file.Webhooks), keys: keys}
	p.Policy, p.Signing, p.NameServer = rules, api, server
	p.PolicyAt = func(rule int, field string) string {
		return fmt.Sprintf("%s: %v", path, places.FindTable("policy", rule, field))
	}
	return p, file, places, nil
}

// readProfiles makes what the tables [profile.NAME] say.
func readProfiles(tables map[string]profile.Config, places *config.Places) (*profile.Set, error) {
	set, err := profile.NewSet(tables)
	var wrong *profile.ConfigError
	if errors.As(err, &wrong) {
		return nil, fmt.Errorf("%v: %w", places.Find("profile", wrong.Profile, wrong.Field), err)
	}
	return set, err
}

// readHooks makes what the tables [hooks] and [[webhook]] say. Each that is wrong is named with its place.
func readHooks(file fileTables, places *config.Places) (*hook.Set, error) {
	if at, single := places.Once("webhook"); single {
		return nil, fmt.Errorf("%v: web servers stand in double brackets, [[webhook]], as there may be several", at)
	}
	set, err := hook.Compile(file.Hooks, file.Webhooks, slog.New(slog.DiscardHandler)) // until the daemon has one
	if err == nil {
		return set, nil
	}
	var all error
	for _, err := range unjoin(err) {
		if wrong := (*hook.ConfigError)(nil); errors.As(err, &wrong) {
			at := places.Find("hooks", wrong.Field)
			if wrong.Webhook >= 0 {
				at = places.FindTable("webhook", wrong.Webhook, wrong.Field)
			}
			err = fmt.Errorf("%v: %w", at, err)
		}
		all = errors.Join(all, err)
	}
	return nil, all
}

// readSigning makes what the table [signing] says.
func readSigning(table *signingTable, places *config.Places) (*signing.Target, error) {
	if table == nil {
		return nil, nil
	}
	if name := store.AuthorityName(table.Authority); !name.Valid() {
		return nil, fmt.Errorf("%v: signing.authority: %q is no name of an authority", places.Find("signing", "authority"), table.Authority)
	}
	return &signing.Target{Authority: store.AuthorityName(table.Authority), Profile: table.Profile}, nil
}

// readRules makes what the tables [[policy]] say. Each rule that is wrong is named with its place.
func readRules(tables []policy.Config, places *config.Places) (*policy.Set, error) {
	if at, single := places.Once("policy"); single {
		return nil, fmt.Errorf("%v: rules stand in double brackets, [[policy]], as there may be several", at)
	}
	set, err := policy.Compile(tables)
	if err == nil {
		return set, nil
	}
	var all error
	for _, err := range unjoin(err) {
		if wrong := (*policy.ConfigError)(nil); errors.As(err, &wrong) {
			err = fmt.Errorf("%v: policy %w", places.FindTable("policy", wrong.Index, wrong.Field), err)
		}
		all = errors.Join(all, err)
	}
	return nil, all
}

// unjoin returns the errors that errors.Join has made one.
func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var list []error
		for _, one := range joined.Unwrap() {
			list = append(list, unjoin(one)...)
		}
		return list
	}
	return []error{err}
}
