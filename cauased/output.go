package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
	"cauase/pkg/durable"
	"cauase/pkg/pki"
)

const (
	flagOut   = "out"
	flagForce = "force"
)

func outFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: flagOut, Usage: "`FILE` to write (required)"},
		&urfave.BoolFlag{Name: flagForce, Usage: "replace a FILE that is there"},
	}
}

// An outFile is a file that a command writes. It gets its name once it is complete.
type outFile struct {
	path string
	file *durable.File // nil: what is there is replaced
}

// createOut creates the file that flag names, before anything is done of which it is the result.
func createOut(c *urfave.Context, flag string) (*outFile, error) {
	path := c.String(flag)
	if path == "" {
		return nil, cli.WithHint(fmt.Errorf("--%s is required", flag), "%s", authorityHint(c))
	}
	out := &outFile{path: path}
	if c.Bool(flagForce) {
		return out, nil
	}
	var err error
	out.file, err = durable.Create(path, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil, cli.WithHint(fmt.Errorf("--%s: %w", flag, err), "give a FILE that is not there yet, or --%s", flagForce)
	} else if err != nil {
		return nil, fmt.Errorf("--%s: %w", flag, err)
	}
	return out, nil
}

func (o *outFile) write(content []byte) error {
	if o.file != nil {
		if err := o.file.Set(content); err != nil {
			return err
		}
		return o.file.Publish()
	}
	temp := durable.TempName(o.path)
	if err := durable.WriteNew(temp, content, durable.Options{}); err != nil {
		return err
	}
	return durable.Rename(temp, o.path)
}

// discard must be called in any case; after write it does nothing.
func (o *outFile) discard() {
	if o.file != nil {
		o.file.Discard()
	}
}

func jsonFlag() urfave.Flag { return &urfave.BoolFlag{Name: "json", Usage: "print JSON"} }

// withNotations gives commands the options that say how results are printed, the same ones to all of them.
func withNotations(commands []*urfave.Command) []*urfave.Command {
	for _, command := range commands {
		withNotations(command.Subcommands)
		if len(command.Subcommands) > 0 && flagNamed(command.Flags, "json") == nil { // else it does something by itself, too
			continue
		}
		if flagNamed(command.Flags, "json") == nil {
			command.Flags = append(command.Flags, jsonFlag())
		}
		command.Flags = append(command.Flags, cli.Decimal())
	}
	return commands
}

// A printer writes lines for people until it fails.
type printer struct {
	w       io.Writer
	decimal bool // serial numbers
	err     error
}

func newPrinter(c *urfave.Context, w io.Writer) *printer {
	return &printer{w: w, decimal: c.Bool(cli.FlagDecimal)}
}

func (p *printer) line(format string, args ...any) {
	if p.err != nil {
		return
	}
	text := fmt.Sprintf(format, args...)
	if p.decimal {
		text = serialsIn(text, true)
	}
	if !cli.Say(p.w, cli.Message{Tool: tool, Level: "note", Text: text}) {
		_, p.err = fmt.Fprintln(p.w, pki.EscapeText(text))
	}
}

// writeLine prints v as JSON on a line of its own: one of as many as there are.
func writeLine(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}

// spoken is a serial number in prose. Entries of the audit log that earlier versions have written, and what is quoted of them, have
// it in decimal digits.
var spoken = regexp.MustCompile(`\b(renews serial=|serial[= ]|certificate |renews )(0x[0-9a-f]+|[0-9]+)\b`)

// ofSerial is from how many decimal digits on a number is taken for a serial number wherever it stands: others may have written what
// is around it.
const ofSerial = 18

// serialsIn brings the serial numbers of a text into one notation.
func serialsIn(text string, decimal bool) string {
	return spoken.ReplaceAllStringFunc(text, func(found string) string {
		parts := spoken.FindStringSubmatch(found)
		serial, err := pki.ParseSerial(parts[2])
		if err != nil || parts[1] != "renews serial=" && parts[2][:min(2, len(parts[2]))] != "0x" && len(parts[2]) < ofSerial {
			return found
		}
		return parts[1] + cli.SerialOf(serial).Text(decimal)
	})
}

// remark says something beside the result of a command that goes on: a note or a warning.
func remark(w io.Writer, level, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !cli.Say(w, cli.Message{Tool: tool, Level: level, Text: text}) {
		fmt.Fprintln(w, tool+": "+cli.Label(w, level)+" "+pki.EscapeText(text))
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// show prints the result of a command: as JSON if that is asked for, else by text.
func show(c *urfave.Context, w io.Writer, view any, text func(p *printer)) error {
	if c.Bool("json") {
		return cli.WriteJSON(w, view)
	}
	p := newPrinter(c, w)
	text(p)
	return p.err
}
