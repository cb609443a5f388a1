package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/manage"
	"cauase/pkg/pki"
	"cauase/pkg/policy"
	"cauase/pkg/profile"
	"cauase/pkg/store"
)

const (
	flagFrom  = "from"
	flagAs    = "as"
	flagSince = "since"

	// exitDifferent is the exit code of a replay that has found differences.
	exitDifferent = 2
)

// policyCommand tries rules.
func policyCommand(clk clock.Clock, stdout, stderr io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:  "policy",
		Usage: "check rules about requests, and try them before they count",
		Description: "Rules are the tables [[policy]] of the daemon's configuration file; docs/policy.md says what they can say.\n" +
			"Each command reads those of --config, and nothing that it does changes anything.",
		HideHelpCommand: true,
		Action:          cli.NeedsCommand,
		Subcommands: []*urfave.Command{
			policyCheckCommand(stdout),
			policyTestCommand(clk, stdout),
			policyReplayCommand(clk, stdout, stderr),
		},
	}
}

func policyCheckCommand(stdout io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:      "check",
		Usage:     "say what is wrong or strange about the rules of a configuration file",
		ArgsUsage: "[FILE]",
		Description: "Reads the tables of FILE, or of --config, as the daemon does. What is wrong is an error with line and column. A\n" +
			"rule that can never match, or gives away more than it seems to, is a warning. Authorities are those of\n" +
			"--db if that is given; otherwise it is not looked whether there are those that rules name.\n\n" +
			"Exit code 0: the daemon would take the file. 1: it would not.\n\n" +
			"Example:\n" +
			"  cauased manage policy check /etc/cauase/cauased.toml && systemctl reload cauased",
		HideHelpCommand: true,
		Flags:           []urfave.Flag{dbFlag(), &urfave.BoolFlag{Name: "json", Usage: "print a JSON object"}},
		Action: func(c *urfave.Context) error {
			if c.NArg() > 1 {
				return cli.WithHint(errors.New("one FILE at a time"), "see cauased manage policy check --help")
			}
			return policyCheck(c, stdout)
		},
	}
}

// warningJSON is a warning about a rule.
type warningJSON struct {
	Rule    string `json:"rule"`
	Field   string `json:"field,omitempty"`
	At      string `json:"at"` // file, line and column
	Warning string `json:"warning"`
}

type policyCheckJSON struct {
	File     string        `json:"file"`
	Rules    int           `json:"rules"`
	Digest   string        `json:"digest,omitempty"` // of all of them, hex
	Warnings []warningJSON `json:"warnings"`
}

func policyCheck(c *urfave.Context, stdout io.Writer) error {
	file, err := rulesOf(c, c.Args().First())
	if err != nil {
		return err
	}
	in := policy.Surroundings{Profiles: file.profiles.Names()}
	if c.IsSet(flagDB) {
		db, err := openToInspect(c)
		if err != nil {
			return err
		}
		rows, own, err := surroundings(c, db)
		if err = errors.Join(err, db.Close()); err != nil {
			return err
		}
		in.Daemon = own
		for _, row := range rows {
			in.Authorities = append(in.Authorities, string(row.Name))
			if row.Role == store.RoleUsers {
				in.Users = append(in.Users, string(row.Name))
			}
		}
	}
	view := policyCheckJSON{File: file.path, Rules: file.Policy.Len(), Digest: hex.EncodeToString(file.Policy.Digest()), Warnings: []warningJSON{}}
	for _, w := range file.Policy.Warnings(in) {
		view.Warnings = append(view.Warnings, warningJSON{w.Rule, w.Field, file.PolicyAt(w.Index, w.Field), w.Text})
	}
	return show(c, stdout, view, func(p *printer) {
		for _, w := range view.Warnings {
			p.line("warning: %s: %s: %s", w.At, w.Rule, w.Warning)
		}
		p.line("%s: %d rules, %d warnings", view.File, view.Rules, len(view.Warnings))
	})
}

// rulesOf reads the configuration file at a path, or that of --config.
func rulesOf(c *urfave.Context, path string) (settingsFile, error) {
	if path != "" {
		if err := c.Set(flagConfig, path); err != nil {
			return settingsFile{}, err
		}
	}
	if c.String(flagConfig) == "" {
		return settingsFile{}, cli.WithHint(fmt.Errorf("--%s is required: the file with the rules", flagConfig), "see cauased manage policy %s --help", c.Command.Name)
	}
	return readProfilesOnly(c)
}

// surroundings returns the authorities of a database, and the names of its daemons.
func surroundings(c *urfave.Context, db store.Store) (rows []store.Authority, own []string, err error) {
	err = db.View(c.Context, func(r store.Reader) error {
		if rows, err = r.Authorities(c.Context); err != nil {
			return err
		}
		own, err = manage.OwnNames(c.Context, r)
		return err
	})
	return rows, own, err
}

func policyTestCommand(clk clock.Clock, stdout io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:      "test",
		Usage:     "say which rule decides about a request, and why",
		ArgsUsage: "REQUEST",
		Description: "REQUEST is a file with a certificate signing request in PEM, or the ID of one on record: pending, or with a\n" +
			"certificate. What is on record of who has asked is what rules go by, unless --" + flagFrom + " or --" + flagAs + " say something else.\n" +
			"Rates are not looked at.\n\n" +
			"--" + flagAs + " says what the asker has shown. It can be repeated, also for more names of the same:\n" +
			"  ssh:HOST                       an SSH host key of this host\n" +
			"  certificate:AUTHORITY[=NAME]   a certificate with this name, such as DNS:a.example\n" +
			"  ptr:HOST                       the address resolves to HOST and back\n" +
			"  front-end:NAME, client:ID      how it asks, and what it is known by there\n" +
			"  invitation                     an invitation\n\n" +
			"Examples:\n" +
			"  cauased manage policy test --config new.toml --from 10.1.2.3 web.csr.pem\n" +
			"  cauased manage policy test --config new.toml --as certificate:factory=DNS:dev7.example dev7.csr.pem\n" +
			"  cauased manage policy test --db cauase.sqlite 4611686018427387904 --json | jq .decision",
		HideHelpCommand: true,
		Flags: []urfave.Flag{
			dbFlag(), netlocFlag(),
			&urfave.StringFlag{Name: flagAuthority, Usage: "submitted to the authority `NAME` (default: whichever has the request, or " + usualAuthority(clk) + ")"},
			&urfave.StringFlag{Name: flagProfile, Usage: "for a certificate of this `PROFILE` (default: what the request on record asks for, or the authority's)"},
			&urfave.StringFlag{Name: flagFrom, Usage: "from this `ADDRESS`"},
			&urfave.StringSliceFlag{Name: flagAs, Usage: "by somebody who has shown `WHAT`, see above; can be repeated"},
			&urfave.BoolFlag{Name: "json", Usage: "print a JSON object"},
		},
		Action: func(c *urfave.Context) error {
			if c.NArg() != 1 {
				return cli.WithHint(errors.New("one REQUEST is needed: a file, or an ID"), "see cauased manage policy test --help")
			}
			return policyTest(c, clk, stdout)
		},
	}
}

// policyTestJSON is what becomes of a request.
type policyTestJSON struct {
	Authority   string        `json:"authority"`
	Profile     string        `json:"profile"`
	Names       []string      `json:"names"`
	Key         string        `json:"key"`
	Asker       policy.Asker  `json:"asker"`
	Decision    string        `json:"decision"`
	Rule        string        `json:"rule,omitempty"`
	RuleDigest  string        `json:"rule_digest,omitempty"` // hex
	Reason      string        `json:"reason,omitempty"`
	Approvals   int           `json:"approvals,omitempty"`
	MaxValidity int64         `json:"max_validity_seconds,omitempty"`
	Rules       []policy.Step `json:"rules"` // up to the one that decides
}

func policyTest(c *urfave.Context, clk clock.Clock, stdout io.Writer) error {
	file, err := rulesOf(c, "")
	if err != nil {
		return err
	}
	on, own, err := askedFor(c, clk)
	if err != nil {
		return err
	}
	if on.Asker, err = givenAsker(c, on.Asker); err != nil {
		return err
	}
	trial := manage.Trial{Rules: file.Policy, Profiles: file.profiles, Daemon: own}
	if c.IsSet(flagProfile) {
		on.Profile = c.String(flagProfile)
	}
	tried, err := trial.Case(on.Row, on.Request, on.Profile, on.Asker, clk.Now())
	if errors.Is(err, profile.ErrUnknown) {
		return fmt.Errorf("--%s: %w", flagProfile, err)
	} else if err != nil {
		return err
	}
	v, steps := trial.Explain(tried)
	view := policyTestJSON{
		Authority: tried.Authority, Profile: tried.Profile, Names: []string{}, Key: tried.Key, Asker: tried.Asker, Decision: string(v.Decision), Rule: v.Rule,
		RuleDigest: hex.EncodeToString(v.Digest), Reason: v.Reason, MaxValidity: int64(v.MaxValidity / time.Second), Rules: append([]policy.Step{}, steps...),
	}
	if v.Decision == policy.Hold {
		view.Approvals = v.Needed()
	}
	for _, n := range tried.Names {
		view.Names = append(view.Names, n.String())
	}
	return show(c, stdout, view, func(p *printer) { printTest(p, view, v) })
}

func printTest(p *printer, view policyTestJSON, v policy.Verdict) {
	p.line("request to %s, profile %s, key %s, for %s", view.Authority, view.Profile, view.Key, strings.Join(view.Names, ", "))
	for _, step := range view.Rules {
		if step.Matched {
			p.line("  %s: decides", step.Rule)
		} else {
			p.line("  %s: does not match: %s", step.Rule, step.Why)
		}
	}
	text := view.Decision
	switch {
	case view.Rule == "":
		text += ", as no rule matches"
	default:
		text += " by rule " + view.Rule
	}
	if v.Needed() > 1 {
		text += fmt.Sprintf(", %d users have to approve", v.Needed())
	}
	if v.MaxValidity > 0 {
		text += ", valid for " + pki.FormatDuration(v.MaxValidity) + " at most"
	}
	if v.Reason != "" {
		text += ": " + v.Reason
	}
	p.line("%s", text)
}
