package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/manage"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

func authorityListCommand(clk clock.Clock, stdout, stderr io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:  "list",
		Usage: "list the authorities",
		Description: "One line for each authority: name, role, parent, until when it can sign, and what it waits for.\n\n" +
			"Examples:\n" +
			"  cauased manage authority list\n" +
			"  cauased manage authority list --json | jq -r '.[] | select(.signoff_needed) | .authority'",
		HideHelpCommand: true,
		Flags:           []urfave.Flag{dbFlag()},
		Action:          authorityAction(clk, stdout, stderr, listAuthorities),
	}
}

func listAuthorities(call *authorityCall) error {
	return call.withAuthorities(func(st store.Store) error {
		views, err := manage.ViewAuthorities(call.c.Context, st, call.clk)
		if err != nil {
			return err
		}
		if call.c.Bool("json") {
			if views == nil {
				views = []manage.AuthorityView{}
			}
			return cli.WriteJSON(call.stdout, views)
		}
		p := newPrinter(call.c, call.stdout)
		if len(views) == 0 {
			p.line("there are no authorities yet: the daemon makes its own at its first start")
		}
		for _, v := range views {
			parent := "self-signed"
			if v.Parent != "" {
				parent = "below " + string(v.Parent)
			}
			p.line("%-16s  %-8s  %-20s  %s", v.Name, v.Role, parent, summary(v, call.clk.Now()))
		}
		return p.err
	})
}

// summary describes the state of an authority in a few words.
func summary(v manage.AuthorityView, now time.Time) string {
	var words []string
	switch {
	case v.SignsUntil == nil && len(v.Generations) == 0:
		words = append(words, "no CA certificate yet")
	case v.SignsUntil == nil:
		words = append(words, "no CA certificate is valid any more")
	case v.RetiredAt != nil:
		words = append(words, "retired, lists until "+v.SignsUntil.UTC().Format(time.DateOnly))
	default:
		words = append(words, "until "+v.SignsUntil.UTC().Format(time.DateOnly))
	}
	if v.External {
		words = append(words, "key elsewhere")
	}
	if waits, since := waiting(v, now); waits {
		words = append(words, fmt.Sprintf("waits for a sign-off by %s since %s", v.Parent, since.UTC().Format(time.DateOnly)))
	}
	if v.Problem != "" {
		words = append(words, v.Problem)
	}
	return strings.Join(words, ", ")
}

// waiting reports whether a sign-off was asked for that has not come, with none in stock, and since when.
func waiting(v manage.AuthorityView, now time.Time) (bool, time.Time) {
	if !v.MustSign {
		return false, time.Time{}
	}
	for _, s := range v.Signoffs {
		if s.InstalledAt == nil && now.Before(s.NotAfter) {
			return true, s.AskedAt
		}
	}
	return false, time.Time{}
}

func authorityShowCommand(clk clock.Clock, stdout, stderr io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:      "show",
		Usage:     "show an authority: its CA certificates, lists, children, sign-offs, and what is due next",
		ArgsUsage: "NAME",
		Description: "Examples:\n" +
			"  cauased manage authority show lab\n" +
			"  cauased manage authority show home-root --json | jq -r '.generations[].fingerprint'",
		HideHelpCommand: true,
		Flags:           []urfave.Flag{dbFlag()},
		Action:          authorityAction(clk, stdout, stderr, showAuthority, authorityArgument),
	}
}

func showAuthority(call *authorityCall) error {
	return call.withAuthorities(func(st store.Store) error {
		v, err := call.view(st, call.name)
		if err != nil {
			return err
		}
		if call.c.Bool("json") {
			return cli.WriteJSON(call.stdout, v)
		}
		p := newPrinter(call.c, call.stdout)
		printView(p, call.clk.Now(), v)
		return p.err
	})
}

func printView(p *printer, now time.Time, v manage.AuthorityView) {
	p.line("%s: %s, role %s", v.Name, v.Title, v.Role)
	if v.Problem != "" {
		p.line("  problem: %s", v.Problem)
	}
	if v.Parent != "" {
		p.line("  parent: %s", v.Parent)
	}
	if len(v.Children) > 0 {
		p.line("  below it: %s", joinWords(v.Children))
	}
	if len(v.Permitted) > 0 {
		p.line("  permitted names: %s", strings.Join(v.Permitted, ", "))
	}
	if v.Span > 0 {
		span := time.Duration(v.Span) * time.Second
		p.line("  certifies for %s, CA certificates last %s", pki.FormatDuration(span), pki.FormatDuration(time.Duration(v.Life)*span))
	}
	if v.Role == store.RoleServices || v.Role == store.RoleUsers {
		profiles := append([]string{orDefault(v.Profile)}, v.Profiles...)
		p.line("  profiles: %s", strings.Join(profiles, ", "))
		p.line("  at most %s pending, the first %d signed without asking", plural(v.MaxPending, "request"), v.AutoApprove)
	}
	for _, g := range v.Generations {
		by := "self-signed"
		if g.Issuer != "" {
			by = "signed by " + string(g.Issuer)
		}
		p.line("  CA %d: %s, %s, %s", g.ID, g.Phase, stateText(g.State), by)
		p.line("    %s", g.Fingerprint)
		p.line("    key id %s, %s, serial %s", g.KeyID, g.KeyType, g.Serial)
		p.line("    valid from %s until %s, %s", stamp(g.NotBefore), stamp(g.NotAfter), g.Subject)
	}
	for _, l := range v.Lists {
		note := ahead(now, l.NextUpdate)
		if !now.Before(l.NextUpdate) {
			note = "out of date"
		}
		p.line("  revocation list %d of %s: until %s (%s)", l.Number, l.KeyID, stamp(l.NextUpdate), note)
	}
	for _, s := range v.Signoffs {
		what := "waits since " + stamp(s.AskedAt)
		if s.InstalledAt != nil {
			what = "in stock since " + stamp(*s.InstalledAt)
		}
		p.line("  sign-off %s: from %s until %s, %s", s.KeyID, stamp(s.NotBefore), stamp(s.NotAfter), what)
	}
	printNext(p, now, v)
}

// printNext prints what is due next.
func printNext(p *printer, now time.Time, v manage.AuthorityView) {
	switch {
	case v.RetiredAt != nil && v.SignsUntil != nil:
		p.line("  retired since %s; revocation lists are signed until %s", stamp(*v.RetiredAt), stamp(*v.SignsUntil))
	case v.RetiredAt != nil:
		p.line("  retired since %s", stamp(*v.RetiredAt))
	case v.External:
		p.line("  its key is elsewhere: cauased manage authority install brings new CA certificates and lists of it")
	case v.NextCA != nil:
		p.line("  next CA certificate: due at %s (%s)", stamp(*v.NextCA), due(now, *v.NextCA))
	case len(v.Generations) == 0 && !v.MustSign:
		p.line("  the first CA certificate is made when the daemon runs")
	}
	printSignoffNeeded(p, v)
}

// printSignoffNeeded prints what an operator has to do for the next CA certificate, if anything.
func printSignoffNeeded(p *printer, v manage.AuthorityView) {
	if !v.MustSign {
		return
	}
	p.line("  %s has to sign it off, whose key is elsewhere: cauased manage authority request %s --out FILE", v.Parent, v.Name)
	if v.SignsUntil != nil {
		p.line("  without that, the present one goes on until %s", stamp(*v.SignsUntil))
	}
}

// due describes how long it is until a time, or since.
func due(now, t time.Time) string {
	if now.Before(t) {
		return ahead(now, t)
	}
	return ago(now, t) + ", made when the daemon runs"
}

func stateText(s store.CAState) string {
	switch s {
	case store.CAErased:
		return "key erased"
	case store.CADisowned:
		return "made while the clock was ahead"
	case store.CAExternal:
		return "key elsewhere"
	case store.CACompromised:
		return "withdrawn, as somebody else may have its key, and the key erased"
	case store.CARevoked:
		return "revoked by the parent, key erased"
	}
	return string(s)
}

func orDefault(profile string) string {
	if profile == "" {
		return "as-requested"
	}
	return profile
}

func joinWords(names []store.AuthorityName) string {
	texts := make([]string, len(names))
	for i, n := range names {
		texts[i] = string(n)
	}
	return strings.Join(texts, ", ")
}
