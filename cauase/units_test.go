package main

import (
	"regexp"
	"testing"

	"github.com/urfave/cli/v2"

	manners "cauase/pkg/cli"
)

// Every option of a time takes a number and what has a unit.
func TestUnitsEverywhere(t *testing.T) {
	s := newShell(t)
	s.admin()
	s.ok("request --cn web --sign")
	// What reads each option.
	lines := map[string]string{
		"threshold": "crt renew web.pem --threshold=", "ttl": "invite --dns x.example --ttl=", "wait": "request --cn web --wait=",
		"validity": "sign nothing.csr --validity=", "days": "self-signed --cn x --out x --force --days=",
	}
	timed := regexp.MustCompile("`(DURATION|DAYS)`")
	named := map[string]bool{}
	note := func(flags []cli.Flag) {
		for _, flag := range flags {
			_, optional := flag.(*manners.OptionalDurationFlag)
			if documented, is := flag.(cli.DocGenerationFlag); optional || is && timed.MatchString(documented.GetUsage()) {
				named[flag.Names()[0]] = true
			}
		}
	}
	app := newApp(environment{})
	note(app.Flags)
	for _, command := range app.Commands {
		note(command.Flags)
		for _, below := range command.Subcommands {
			note(below.Flags)
		}
	}
	notATime := regexp.MustCompile(`not a (duration|time|number)|neither a number`)
	for name := range named {
		line := lines[name]
		if line == "" {
			t.Errorf("--%s is not tried", name)
			continue
		}
		for value, good := range map[string]bool{"31": true, "31d": true, "12h": true, "soon": false, "5parsecs": false} {
			s.run(line + value)
			if said := s.out + s.err; notATime.MatchString(said) == good {
				t.Errorf("%s%s: %s", line, value, said)
			}
		}
	}
}
