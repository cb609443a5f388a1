package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"cauase/pkg/config"
	"cauase/pkg/pemfile"
	"cauase/pkg/updater"
)

// A document is a configuration file: what holds for all jobs, and the jobs.
type document struct {
	raw
	Jobs []raw `toml:"job"`
}

// readConfig reads and checks all of a configuration file. Paths in it are relative to its
// folder.
func readConfig(path string) ([]updater.Job, error) {
	// Whoever can write it could have any program run as the agent's user.
	content, err := pemfile.Attributes{Guard: true, Follow: true}.Read(path)
	if err == nil {
		err = content.Info.Exposed(path)
	}
	if err != nil {
		return nil, err
	}
	jobs, err := parseConfig(content.Data, filepath.Dir(path), &machine{path: machineFile})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return jobs, nil
}

func parseConfig(content []byte, folder string, common *machine) ([]updater.Job, error) {
	if len(content) > config.MaxSize {
		return nil, fmt.Errorf("longer than %d bytes", config.MaxSize)
	}
	var doc document
	if err := config.Decode(content, &doc); err != nil {
		return nil, err
	}
	if len(doc.Jobs) == 0 {
		return nil, errors.New("there is no [[job]] in it")
	}
	if doc.Name != "" {
		return nil, errors.New("a name outside of [[job]]")
	}
	var jobs []updater.Job
	var wrong error
	places := config.PlacesIn(content)
	for i, r := range doc.Jobs {
		if r.Name == "" {
			wrong = errors.Join(wrong, fmt.Errorf("job %d has no name", i+1))
			continue
		}
		j, err := jobOf(r.over(doc.raw), places, i, common)
		if err != nil {
			wrong = errors.Join(wrong, fmt.Errorf("job %q: %w", r.Name, err))
			continue
		}
		locate(&j, folder)
		jobs = append(jobs, j)
	}
	if wrong != nil {
		return nil, wrong
	}
	return jobs, updater.CheckJobs(jobs)
}

// jobOf is the job of a table, counted from 0, of a configuration file whose keys are at places.
func jobOf(r raw, places *config.Places, index int, common *machine) (updater.Job, error) {
	name := func(setting string) string {
		for _, at := range []config.Position{places.FindIn("job", index, setting), places.Find(setting)} {
			if at != (config.Position{}) {
				return fmt.Sprintf("%v: %s", at, setting)
			}
		}
		return setting
	}
	r, name, err := common.under(r, name)
	if err != nil {
		return updater.Job{}, err
	}
	j, err := r.job(name)
	return j, common.explainMissing(err)
}

// over returns r, with what it does not say taken from defaults.
func (r raw) over(defaults raw) raw {
	set(&r.CAURL, defaults.CAURL)
	set(&r.CASCA, defaults.CASCA)
	set(&r.Threshold, defaults.Threshold)
	set(&r.CRLThreshold, defaults.CRLThreshold)
	set(&r.CRLRefresh, defaults.CRLRefresh)
	set(&r.CRLPush, defaults.CRLPush)
	if r.KeyType == nil && r.KeyLen == nil {
		r.KeyType, r.KeyLen = defaults.KeyType, defaults.KeyLen
	}
	set(&r.OnRenew, defaults.OnRenew)
	set(&r.HookTimeout, defaults.HookTimeout)
	set(&r.MaxSleep, defaults.MaxSleep)
	if r.Mode == nil && r.Authority == nil {
		r.Mode, r.Authority = defaults.Mode, defaults.Authority
	}
	set(&r.Profile, defaults.Profile)
	set(&r.Chain, defaults.Chain)
	set(&r.Root, defaults.Root)
	set(&r.CSR, defaults.CSR)
	set(&r.Invite, defaults.Invite)
	set(&r.SSHHostKey, defaults.SSHHostKey)
	set(&r.Key, defaults.Key)
	set(&r.Crt, defaults.Crt)
	set(&r.CA, defaults.CA)
	set(&r.CRL, defaults.CRL)
	set(&r.Store, defaults.Store)
	set(&r.Context, defaults.Context)
	if len(r.CAFingerprint) == 0 {
		r.CAFingerprint = defaults.CAFingerprint
	}
	set(&r.CatchUp, defaults.CatchUp)
	set(&r.Owner, defaults.Owner)
	set(&r.Group, defaults.Group)
	set(&r.FileMode, defaults.FileMode)
	set(&r.FollowSymlinks, defaults.FollowSymlinks)
	set(&r.State, defaults.State)
	return r
}

func set[T any](value **T, otherwise *T) {
	if *value == nil {
		*value = otherwise
	}
}

func locate(j *updater.Job, folder string) {
	for _, path := range []*string{&j.Crt, &j.Key, &j.CSR, &j.CA, &j.CRL, &j.CASCA, &j.Root, &j.Invite, &j.SSHHostKey, &j.State, &j.OnRenew} {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(folder, *path)
		}
	}
	if j.OnRenew != "" && filepath.Base(j.OnRenew) == j.OnRenew {
		j.OnRenew = "." + string(filepath.Separator) + j.OnRenew // of the folder where the file is, and none of PATH
	}
}
