package cli

import (
	"flag"
	"fmt"
	"math"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"
)

// Unlimited is the value of an [OptionalDurationFlag] that is given without one.
const Unlimited = time.Duration(math.MaxInt64)

// An OptionalDurationFlag is a flag of a duration that may be left out: --wait, or --wait=5m.
type OptionalDurationFlag struct{ urfave.DurationFlag }

// OptionalDuration returns f as an OptionalDurationFlag.
func OptionalDuration(f urfave.DurationFlag) urfave.Flag { return &OptionalDurationFlag{f} }

// TakesValue implements urfave.DocGenerationFlag: what follows the flag is not its value.
func (f *OptionalDurationFlag) TakesValue() bool { return false }

// String implements urfave.Flag.
func (f *OptionalDurationFlag) String() string {
	return withOptional("DURATION", f.Name, f.Usage)
}

// withOptional is how a flag is shown of which the value may be left out.
func withOptional(value, name, usage string) string {
	bare := urfave.FlagStringer(&urfave.BoolFlag{Name: name, Usage: strings.ReplaceAll(usage, "`", "")})
	names, usage, _ := strings.Cut(bare, "\t")
	return names + "[=" + value + "]\t" + usage
}

// Apply implements urfave.Flag.
func (f *OptionalDurationFlag) Apply(set *flag.FlagSet) error {
	for _, name := range f.Names() {
		set.Var(&optionalDuration{}, name, "")
	}
	return nil
}

// An optionalDuration is the value of such a flag.
type optionalDuration struct{ value time.Duration }

// Set implements flag.Value. Package flag sets what is given without a value to true.
func (o *optionalDuration) Set(text string) error {
	switch text {
	case "true":
		o.value = Unlimited
		return nil
	case "false":
		o.value = 0
		return nil
	}
	d, err := ParseSeconds(text)
	if err != nil {
		return fmt.Errorf("%.40q is not a duration such as 90s, 15m or 2h, nor a number of seconds", text)
	}
	o.value = d
	return nil
}

func (o *optionalDuration) String() string { return o.value.String() }

// IsBoolFlag has package flag take the flag without a value.
func (o *optionalDuration) IsBoolFlag() bool { return true }

// An OptionalPathFlag is a flag of a file that may be left out: --ssh-host-key, or --ssh-host-key=FILE.
type OptionalPathFlag struct{ urfave.StringFlag }

// OptionalPath returns f as an OptionalPathFlag. Given without a value it is set, and empty.
func OptionalPath(f urfave.StringFlag) urfave.Flag {
	f.TakesFile = true
	return &OptionalPathFlag{f}
}

// TakesValue implements urfave.DocGenerationFlag: what follows the flag is not its value.
func (f *OptionalPathFlag) TakesValue() bool { return false }

// String implements urfave.Flag.
func (f *OptionalPathFlag) String() string {
	return withOptional("FILE", f.Name, f.Usage)
}

// Apply implements urfave.Flag.
func (f *OptionalPathFlag) Apply(set *flag.FlagSet) error {
	for _, name := range f.Names() {
		set.Var(new(optionalPath), name, "")
	}
	return nil
}

// An optionalPath is the value of such a flag.
type optionalPath string

// Set implements flag.Value. Package flag sets what is given without a value to true; a file of that name is ./true.
func (o *optionalPath) Set(text string) error {
	if text == "true" {
		text = ""
	}
	*o = optionalPath(text)
	return nil
}

func (o *optionalPath) String() string { return string(*o) }

// IsBoolFlag has package flag take the flag without a value.
func (o *optionalPath) IsBoolFlag() bool { return true }
