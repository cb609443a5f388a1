package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"cauase/pkg/cli"
	"cauase/pkg/client"
	"cauase/pkg/pki"
	"cauase/pkg/updater"
)

// errNotGiven is a setting that a job cannot do without.
var errNotGiven = errors.New("is not given")

// A namer is how errors name a setting: as it stands where its value is from.
type namer func(setting string) string

// job checks what is given and turns it into what the agent takes.
func (r raw) job(name namer) (updater.Job, error) {
	j := updater.Job{
		Name: r.Name, CAURL: or(r.CAURL, ""), Crt: or(r.Crt, ""), Key: or(r.Key, ""), CSR: or(r.CSR, ""),
		CA: or(r.CA, ""), CRL: or(r.CRL, ""), CASCA: or(r.CASCA, ""), State: or(r.State, ""), Root: or(r.Root, ""), Invite: or(r.Invite, ""), SSHHostKey: or(r.SSHHostKey, ""), Profile: or(r.Profile, ""), Chain: or(r.Chain, false),
		OnRenew: or(r.OnRenew, ""), Follow: or(r.FollowSymlinks, false),
		HookTimeout: updater.DefaultHookTimeout, NoPush: !or(r.CRLPush, true),
	}
	err := errors.Join(
		r.times(&j, name), r.chooseAuthority(&j, name), r.keyType(&j, name), r.pins(&j, name), r.ownership(&j, name),
	)
	if j.CAURL != "" {
		if wrong := client.CheckURL(j.CAURL); wrong != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", name("ca-url"), wrong))
		}
	}
	if err != nil {
		return j, err
	}
	r.inStore(&j)
	for _, need := range []struct{ name, value string }{{"ca-url", j.CAURL}, {"ca", j.CA}, {"crl", j.CRL}} {
		if need.value == "" {
			return j, fmt.Errorf("%s %w", name(need.name), errNotGiven)
		}
	}
	return j, j.Validate()
}

// inStore has CA certificates and lists where the client has them: what it has come to trust there need not be trusted
// anew, on first use.
func (r raw) inStore(j *updater.Job) {
	if r.Store == nil || *r.Store == "" {
		return
	}
	otherwise := func(path *string, authority client.AuthorityName, suffix string) {
		if *path == "" {
			*path = filepath.Join(*r.Store, string(authority)+suffix)
		}
	}
	otherwise(&j.CA, j.Authority, ".crt.pem")
	otherwise(&j.CRL, j.Authority, ".crl.pem")
	if j.Authority != client.CAS {
		otherwise(&j.CASCA, client.CAS, ".crt.pem")
	}
}

// times reads what is a duration, or a number of something.
func (r raw) times(j *updater.Job, name namer) (wrong error) {
	refuse := func(setting string, err error) {
		if err != nil {
			wrong = errors.Join(wrong, fmt.Errorf("%s: %w", name(setting), err))
		}
	}
	inDays := func(setting string, q *quantity, otherwise time.Duration) time.Duration {
		if q == nil {
			return otherwise
		}
		days, err := cli.ParseDays(q.text)
		if err == nil {
			otherwise, err = updater.Days(days)
		}
		refuse(setting, err)
		return otherwise
	}
	j.Threshold = inDays("threshold", r.Threshold, updater.DefaultThreshold)
	j.CRLThreshold = inDays("crl-threshold", r.CRLThreshold, updater.DefaultCRLThreshold)
	j.MaxSleep = inDays("max-sleep", r.MaxSleep, updater.DefaultMaxSleep)
	span := func(setting string, q *quantity, unit time.Duration, to *time.Duration) {
		if q == nil {
			return
		}
		d, err := cli.ParseSpan(q.text, unit)
		if err == nil && d <= 0 {
			err = fmt.Errorf("%q is not a duration such as 90s or 5m", q.text)
		}
		refuse(setting, err)
		*to = d
	}
	span("crl-refresh", r.CRLRefresh, 24*time.Hour, &j.CRLRefresh)
	span("hook-timeout", r.HookTimeout, time.Second, &j.HookTimeout)
	if r.CatchUp != nil {
		spans, err := cli.ParseFloat(r.CatchUp.text)
		if err == nil && !(spans >= 0) {
			err = fmt.Errorf("%s is not a number of spans", r.CatchUp.text)
		}
		refuse("catch-up", err)
		j.CatchUp = spans
	}
	return wrong
}

func (r raw) chooseAuthority(j *updater.Job, name namer) error {
	mode, err := cli.Choice(name("mode"), or(r.Mode, modes[0]), modes)
	if err != nil {
		return err
	}
	j.Authority = client.CAS
	if mode == "user" {
		j.Authority = client.CAU
	}
	if r.Authority == nil {
		return nil
	}
	if r.Mode != nil {
		return fmt.Errorf("%s and %s say the same: give one", name("authority"), name("mode"))
	}
	if j.Authority, err = client.ParseAuthority(*r.Authority); err != nil {
		return fmt.Errorf("%s: %w", name("authority"), err)
	}
	return nil
}

func (r raw) keyType(j *updater.Job, name namer) error {
	switch {
	case r.KeyType != nil && r.KeyLen != nil:
		return fmt.Errorf("%s and %s say the same: give one", name("key-type"), name("key-len"))
	case r.KeyLen != nil:
		keyType, err := pki.ParseKeyType("rsa-" + strconv.Itoa(*r.KeyLen))
		if err != nil {
			return fmt.Errorf("%s: %d is none of 2048, 3072, 4096", name("key-len"), *r.KeyLen)
		}
		j.KeyType = keyType
	case r.KeyType != nil:
		keyType, err := cli.ChooseKeyType(name("key-type"), *r.KeyType)
		if err != nil {
			return err
		}
		j.KeyType = keyType
	}
	return nil
}

func (r raw) pins(j *updater.Job, name namer) error {
	for _, text := range fingerprints(r.CAFingerprint) {
		pin, err := client.ParsePin(text)
		if err != nil {
			return fmt.Errorf("%s: %w", name("ca-fingerprint"), err)
		}
		j.Pins = append(j.Pins, pin)
	}
	return nil
}

// fingerprints are those of a list, each of which may hold several as in the variable that all tools share. An empty text
// stays, and is refused: it must not mean that anybody will do.
func fingerprints(list []string) (all []string) {
	for _, one := range list {
		several := strings.FieldsFunc(one, func(r rune) bool { return r == ',' || r == ' ' })
		if len(several) == 0 {
			several = []string{one}
		}
		all = append(all, several...)
	}
	return all
}

func (r raw) ownership(j *updater.Job, name namer) error {
	if r.FileMode != nil {
		mode, err := strconv.ParseUint(strings.TrimPrefix(*r.FileMode, "0o"), 8, 32)
		if err != nil || mode == 0 || mode > 0o777 || mode&0o400 == 0 {
			return fmt.Errorf("%s: %q is no mode such as 0640 that lets the owner read", name("file-mode"), *r.FileMode)
		}
		j.FileMode = fs.FileMode(mode)
	}
	var err error
	if r.Owner != nil {
		j.Owner, err = id(*r.Owner, func(name string) (string, error) {
			u, err := user.Lookup(name)
			if err != nil {
				return "", err
			}
			return u.Uid, nil
		})
		if err != nil {
			return fmt.Errorf("%s: %w", name("owner"), err)
		}
	}
	if r.Group != nil {
		j.Group, err = id(*r.Group, func(name string) (string, error) {
			g, err := user.LookupGroup(name)
			if err != nil {
				return "", err
			}
			return g.Gid, nil
		})
		if err != nil {
			return fmt.Errorf("%s: %w", name("group"), err)
		}
	}
	return nil
}

// id reads a number, or the name that look knows.
func id(text string, look func(string) (string, error)) (*int, error) {
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		v := int(n)
		return &v, nil
	}
	found, err := look(text)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(found)
	return &n, err
}
