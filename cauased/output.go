package main

import (
	"errors"
	"fmt"
	"io/fs"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
	"cauase/pkg/durable"
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
