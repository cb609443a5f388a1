package cli

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/pki"
)

// ParseInt reads a whole number in decimal digits, with - in front if it is negative. What means another number to other
// programs, or to people, is refused: 0x10, 1_000, 1e3. Leading zeros count for nothing.
func ParseInt(text string) (int, error) {
	digits := strings.TrimPrefix(text, "-")
	n, err := strconv.Atoi(text)
	if err != nil || strings.Trim(digits, "0123456789") != "" {
		return 0, fmt.Errorf("%.40q is not a whole number in decimal digits", text)
	}
	return n, nil
}

// ParseFloat reads a number in decimal digits, such as 31, 0.5 or 1e3. It has a value: neither infinity nor NaN is one.
func ParseFloat(text string) (float64, error) {
	x, err := strconv.ParseFloat(text, 64)
	if err != nil || strings.Trim(text, "0123456789.eE+-") != "" {
		return 0, fmt.Errorf("%.40q is not a number in decimal digits, such as 31 or 0.5", text)
	}
	return x, nil
}

// The flags of numbers that all tools use. They are those of urfave/cli but for what they take: that library reads
// whole numbers and floating-point ones as Go's source is read, also in hexadecimal and octal digits.

// An IntFlag is a flag of a whole number, see [ParseInt].
type IntFlag struct{ urfave.IntFlag }

// A Float64Flag is a flag of a number, see [ParseFloat].
type Float64Flag struct{ urfave.Float64Flag }

// A DurationFlag is a flag of a duration, see [ParseSeconds].
type DurationFlag struct{ urfave.DurationFlag }

// A DaysFlag is a Float64Flag of days that takes a duration with its unit, too: 31, 31d or 12h.
type DaysFlag struct{ urfave.Float64Flag }

// Days returns f as a DaysFlag.
func Days(f urfave.Float64Flag) urfave.Flag { return &DaysFlag{f} }

// ParseDays reads a number of days, or a duration as [pki.ParseDuration] does, as days.
func ParseDays(text string) (float64, error) {
	days, err := ParseFloat(text)
	if err == nil {
		return days, nil
	}
	d, err := pki.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%.40q is not a time such as 31 (days), 31d or 12h", text)
	}
	return d.Hours() / 24, nil
}

// ParseSpan reads a duration as [pki.ParseDuration] does, or a number of units.
func ParseSpan(text string, unit time.Duration) (time.Duration, error) {
	if number, err := ParseFloat(text); err == nil {
		if span := number * float64(unit); span >= 0 && span <= float64(pki.MaxDuration) {
			return time.Duration(span), nil
		}
		return 0, fmt.Errorf("%.40q is out of range", text)
	}
	d, err := pki.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%.40q is neither a number nor a duration such as 90s, 12h or 31d", text)
	}
	return d, nil
}

// ParseSeconds reads a duration, or a number of seconds, which is how long programs wait.
func ParseSeconds(text string) (time.Duration, error) { return ParseSpan(text, time.Second) }

// Int returns f as an IntFlag.
func Int(f urfave.IntFlag) urfave.Flag { return &IntFlag{f} }

// Float64 returns f as a Float64Flag.
func Float64(f urfave.Float64Flag) urfave.Flag { return &Float64Flag{f} }

// Duration returns f as a DurationFlag.
func Duration(f urfave.DurationFlag) urfave.Flag { return &DurationFlag{f} }

// Apply implements urfave.Flag.
func (f *IntFlag) Apply(set *flag.FlagSet) error {
	return apply(&f.IntFlag, set, &f.EnvVars, &f.HasBeenSet, &number[int]{f.Value, ParseInt, strconv.Itoa})
}

// Apply implements urfave.Flag.
func (f *Float64Flag) Apply(set *flag.FlagSet) error {
	show := func(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
	return apply(&f.Float64Flag, set, &f.EnvVars, &f.HasBeenSet, &number[float64]{f.Value, ParseFloat, show})
}

// Apply implements urfave.Flag.
func (f *DaysFlag) Apply(set *flag.FlagSet) error {
	show := func(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
	return apply(&f.Float64Flag, set, &f.EnvVars, &f.HasBeenSet, &number[float64]{f.Value, ParseDays, show})
}

// Apply implements urfave.Flag.
func (f *DurationFlag) Apply(set *flag.FlagSet) error {
	return apply(&f.DurationFlag, set, &f.EnvVars, &f.HasBeenSet, &number[time.Duration]{f.Value, ParseSeconds, time.Duration.String})
}

// apply adds a flag to set, of which value reads the texts, after it has taken one from the environment.
func apply(f urfave.Flag, set *flag.FlagSet, variables *[]string, given *bool, value flag.Value) error {
	// What the library's flag does is wanted for the default that the help shows, and for nothing else.
	names := *variables
	*variables = nil
	err := f.Apply(flag.NewFlagSet("", flag.ContinueOnError))
	*variables = names
	if err != nil {
		return err
	}
	for _, name := range names {
		text, found := os.LookupEnv(name)
		if !found {
			continue
		}
		if text == "" {
			break
		}
		if err := value.Set(text); err != nil {
			return fmt.Errorf("environment variable %s: %w", name, err)
		}
		*given = true
		break
	}
	for _, name := range f.Names() {
		set.Var(value, name, "")
	}
	return nil
}

// A number is the value of a flag while a command line is read.
type number[T any] struct {
	value T
	parse func(string) (T, error)
	show  func(T) string
}

// Set implements flag.Value.
func (n *number[T]) Set(text string) error {
	v, err := n.parse(text)
	if err != nil {
		return err
	}
	n.value = v
	return nil
}

// String implements flag.Value. The library reads it again to look the value up.
func (n *number[T]) String() string {
	if n.show == nil {
		return "" // package flag asks a zero value
	}
	return n.show(n.value)
}
