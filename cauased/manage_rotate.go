package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/ca"
	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/manage"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

const (
	nameRotate = "rotate"

	flagNow         = "now"
	flagWhenAdopted = "when-adopted"
	flagLatest      = "at-the-latest"
	flagCompromised = "compromised"
	flagActivate    = "activate"
	flagStatus      = "status"
	flagLimit       = "limit"
)

// rotateCommand starts a CA certificate of an authority out of turn.
func rotateCommand(clk clock.Clock, stdout, stderr io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:      nameRotate,
		Usage:     "start a new CA certificate of an authority out of turn, as after a theft of its key",
		ArgsUsage: "NAME",
		Description: "An authority gets its next CA certificate by itself. This makes one now, with a new key; daemons that run\n" +
			"take it over within a second. As usual it is passive first, for as long as certificates are valid, so that every\n" +
			"host meets it before it signs. --now has it sign at once: whoever has not fetched it yet does not trust what it\n" +
			"signs. --when-adopted has it sign as soon as the agents of all hosts with a valid certificate have confirmed that\n" +
			"they have it; of a host whose agent cannot tell, its next renewal counts. --status shows how far it has got and\n" +
			"lists those that are missing. That time at the latest, or when --activate is given, it signs without them.\n\n" +
			"--compromised says that somebody else may have the keys of the CA certificates before it. Once the new one signs, they\n" +
			"are withdrawn: their keys are erased, agents trust them no longer and have their own certificates exchanged, and the\n" +
			"authority accepts nothing that they have signed, but for certificates that are on record, to be exchanged.\n" +
			"The whole procedure, and what a thief can do meanwhile, is in docs/rotation.md.\n\n" +
			"Examples:\n" +
			"  cauased manage rotate cas --when-adopted --at-the-latest 7d\n" +
			"  cauased manage rotate cas --status\n" +
			"  cauased manage rotate cas --compromised --now",
		HideHelpCommand: true,
		Flags: []urfave.Flag{
			dbFlag(), netlocFlag(), yesFlag(),
			&urfave.BoolFlag{Name: flagNow, Usage: "have it sign at once"},
			&urfave.BoolFlag{Name: flagWhenAdopted, Usage: "have it sign as soon as all hosts have it"},
			&urfave.StringFlag{Name: flagLatest, Usage: "with --" + flagWhenAdopted + ": after `DURATION` at the latest, such as 36h or 7d (default: when it would sign as usual)"},
			&urfave.BoolFlag{Name: flagCompromised, Usage: "withdraw the CA certificates before it when it signs: somebody else may have their keys"},
			&urfave.BoolFlag{Name: flagActivate, Usage: "make none, but have the newest one, which is passive, sign from now on"},
			&urfave.BoolFlag{Name: flagStatus, Usage: "show who has the newest one, and who does not"},
			cli.Int(urfave.IntFlag{Name: flagLimit, Value: 100, Usage: "with --" + flagStatus + ": list at most `NUMBER` of those that do not"}),
		},
		Action: authorityAction(clk, stdout, stderr, rotate, authorityArgument),
	}
}

func rotate(call *authorityCall) error {
	c := call.c
	given := func(names ...string) (found []string) {
		for _, name := range names {
			if c.IsSet(name) {
				found = append(found, "--"+name)
			}
		}
		return found
	}
	if modes := given(flagNow, flagWhenAdopted, flagActivate, flagStatus); len(modes) > 1 {
		return rotateUsage("%s exclude each other", strings.Join(modes, " and "))
	}
	if c.Bool(flagStatus) && c.Bool(flagCompromised) {
		return rotateUsage("--%s shows, and changes nothing", flagStatus)
	}
	if c.IsSet(flagLatest) && !c.Bool(flagWhenAdopted) {
		return rotateUsage("--%s is for --%s", flagLatest, flagWhenAdopted)
	}
	if c.IsSet(flagLimit) && (!c.Bool(flagStatus) || c.Int(flagLimit) < 0) {
		return rotateUsage("--%s NUMBER is for --%s", flagLimit, flagStatus)
	}
	if c.Bool(flagCompromised) && !c.Bool(flagNow) && !c.Bool(flagWhenAdopted) && !c.Bool(flagActivate) {
		return rotateUsage("--%s needs to be told when: with --%s hosts that have not fetched the new CA certificate trust nothing until they do; "+
			"with --%s the key that may be stolen stays in use until all have it", flagCompromised, flagNow, flagWhenAdopted)
	}
	switch {
	case c.Bool(flagStatus):
		return call.withAuthorities(func(st store.Store) error { return showRotation(call, st, c.Int(flagLimit), "") })
	case c.Bool(flagActivate):
		return call.withAuthorities(func(st store.Store) error { return activate(call, st) })
	}
	how := ca.Rotation{Compromised: c.Bool(flagCompromised)}
	switch {
	case c.Bool(flagNow):
		how.Begin = store.AtOnce
	case c.Bool(flagWhenAdopted):
		how.Begin = store.WhenAdopted
	}
	if c.IsSet(flagLatest) {
		var err error
		if how.Latest, err = pki.ParseDuration(c.String(flagLatest)); err != nil || how.Latest <= 0 {
			return rotateUsage("--%s: %.80q is not a duration such as 36h or 7d", flagLatest, c.String(flagLatest))
		}
	}
	return call.withAuthorities(func(st store.Store) error { return start(call, st, how) })
}

func rotateUsage(format string, args ...any) error {
	return cli.WithHint(fmt.Errorf(format, args...), "see cauased manage %s --help", nameRotate)
}

// warnOfRotation says what becomes of hosts at once, for somebody to agree to.
func warnOfRotation(name store.AuthorityName, now, compromised bool) string {
	text := ""
	if now {
		text = fmt.Sprintf("%s will sign with a CA certificate that not all hosts have: whoever has not fetched it yet trusts nothing that it signs. "+
			"Agents that wait for revocation lists fetch it at once, others when they look next.", name)
	}
	if compromised {
		text = strings.TrimSpace(text + " Nothing that the CA certificates before it have signed will be trusted any more where agents are at work; " +
			"they exchange their certificates by themselves, and all others have to be exchanged by hand. This cannot be undone.")
	}
	return text
}

func start(call *authorityCall, st store.Store, how ca.Rotation) error {
	v, err := call.view(st, call.name)
	if err != nil {
		return err
	}
	if question := warnOfRotation(call.name, how.Begin == store.AtOnce && v.Role != store.RoleDaemon, how.Compromised); question != "" {
		if err := call.confirm(question); err != nil {
			return err
		}
	}
	keyID, err := manage.Rotate(call.c.Context, st, call.clk, call.name, how, call.netloc)
	if err != nil {
		return rotateHint(err, v)
	}
	return showRotation(call, st, 0, hex.EncodeToString(keyID))
}

// rotateHint says what to do about an authority that is not rotated.
func rotateHint(err error, v manage.AuthorityView) error {
	switch {
	case errors.Is(err, ca.ErrSignoff):
		return cli.WithHint(err, "a key and a request are ready: cauased manage authority request %s --out FILE, have %s sign it, install the answer, and rotate again", v.Name, v.Parent)
	case errors.Is(err, ca.ErrRetired):
		return cli.WithHint(err, "it gets no more CA certificates; cauased manage authority revoke withdraws those of an authority below a root")
	case v.External:
		return cli.WithHint(err, "cauased manage authority install brings it here")
	case errors.Is(err, ca.ErrConflict):
		return cli.WithHint(err, "cauased manage %s %s --%s shows what it waits for, --%s ends that", nameRotate, v.Name, flagStatus, flagActivate)
	case errors.Is(err, ca.ErrInvalid) && v.Role == store.RoleRoot:
		return cli.WithHint(err, "docs/rotation.md has the steps")
	}
	return err
}

func activate(call *authorityCall, st store.Store) error {
	v, err := call.view(st, call.name)
	if err != nil {
		return err
	}
	compromised := call.c.Bool(flagCompromised)
	for _, g := range v.Generations {
		compromised = compromised || g.Withdraws
	}
	if err := call.confirm(warnOfRotation(call.name, true, compromised)); err != nil {
		return err
	}
	keyID, err := manage.Activate(call.c.Context, st, call.clk, call.name, call.c.Bool(flagCompromised), call.netloc)
	switch {
	case errors.Is(err, ca.ErrConflict):
		return cli.WithHint(err, "cauased manage %s %s makes one", nameRotate, call.name)
	case err != nil:
		return rotateHint(err, v)
	}
	return showRotation(call, st, 0, hex.EncodeToString(keyID))
}

// rotatedJSON is what became of a CA certificate.
type rotatedJSON struct {
	Authority string `json:"authority"`
	KeyID     string `json:"key_id"`
	// Rotation is null where nobody confirms that they have it.
	Rotation *manage.RotationStatus `json:"rotation"`
}

// showRotation shows how far the newest CA certificate has got: the one with keyID, of one that was just made or activated.
func showRotation(call *authorityCall, st store.Store, stragglers int, keyID string) error {
	status, err := manage.ReadRotation(call.c.Context, st, call.clk, call.name, stragglers)
	if err != nil && keyID == "" {
		return err
	}
	view := rotatedJSON{Authority: string(call.name), KeyID: keyID, Rotation: status}
	if keyID == "" {
		view.KeyID = status.KeyID
	}
	now := call.clk.Now()
	return call.show(view, func(p *printer) {
		p.line("%s: the newest CA certificate has the key id %s", call.name, view.KeyID)
		if status == nil {
			return
		}
		printRotation(p, now, *status)
		for _, s := range status.Stragglers {
			why := "cannot tell, and has not been renewed since"
			if s.HeldAt != nil {
				why = "has confirmed " + s.Held + " at " + stamp(*s.HeldAt)
			}
			from := ""
			if s.Address != "" {
				from = " from " + s.Address
			}
			p.line("  lineage %s, %s: last asked for at %s%s, valid until %s; %s", s.Lineage, s.Subject, stamp(s.AskedAt), from, stamp(s.NotAfter), why)
		}
		if more := status.Hosts.Missing() - len(status.Stragglers); stragglers > 0 && more > 0 {
			p.line("  and %d more: --%s", more, flagLimit)
		}
	})
}

// printRotation prints how far the newest CA certificate has got.
func printRotation(p *printer, now time.Time, r manage.RotationStatus) {
	h := r.Hosts
	p.line("  %d of %s confirmed that they have it, %d more were renewed since it was made; %d have not, %d cannot tell",
		h.Confirmed, plural(h.Seen, "host"), h.Renewed, h.Behind, h.Silent)
	switch {
	case r.Phase == rollover.Active:
		p.line("  it signs")
	case r.Latest != nil && r.Activation == store.WhenAdopted:
		p.line("  it signs when all have it, at the latest at %s (%s)%s", stamp(*r.Latest), due(now, *r.Latest), withdrawing(r))
	case r.Latest != nil:
		p.line("  it signs from %s on (%s)", stamp(*r.Latest), due(now, *r.Latest))
	}
}

func withdrawing(r manage.RotationStatus) string {
	if r.Withdraws {
		return "; those before it are withdrawn then"
	}
	return ""
}
