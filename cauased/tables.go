package main

import (
	"errors"
	"fmt"

	"cauase/pkg/config"
	"cauase/pkg/daemon"
	"cauase/pkg/policy"
	"cauase/pkg/profile"
)

// fileTables are the tables of a configuration file, beside its settings. All but the profiles are read again while the daemon runs.
type fileTables struct {
	Profiles map[string]profile.Config `toml:"profile"`
	Policy   []policy.Config           `toml:"policy"`
}

// A parsedTables is what the tables of a file mean.
type parsedTables struct {
	daemon.Tables
	profiles *profile.Set
	profile  map[string]profile.Config // as they stand there
}

// readTables reads the tables of a file, whole: with an error there are none.
func readTables(path string, content []byte) (p parsedTables, err error) {
	var file fileTables
	if err := config.DecodeTables(content, &file); err != nil {
		return p, err
	}
	places := config.PlacesIn(content)
	profiles, err := readProfiles(file.Profiles, places)
	rules, wrong := readRules(file.Policy, places)
	if err := errors.Join(err, wrong); err != nil {
		return p, err
	}
	p = parsedTables{profiles: profiles, profile: file.Profiles}
	p.Policy = rules
	p.PolicyAt = func(rule int, field string) string {
		return fmt.Sprintf("%s: %v", path, places.FindTable("policy", rule, field))
	}
	return p, nil
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
