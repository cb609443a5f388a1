package cli

import (
	"os"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

// What a command line is, and which options have their values from files, is kept with the app: errors about a value are
// found later than it is read, and have to name who gave it.
const (
	metaArgs  = "arguments"
	metaPlace = "place of " // and the name of an option
)

// keepArgs has errors of an app name what stands on its command line.
func keepArgs(app *urfave.App, args []string) {
	if app.Metadata == nil {
		app.Metadata = map[string]any{}
	}
	app.Metadata[metaArgs] = args
}

// GivenBy says what gives an option: its name with its dashes, the variable of the environment, the place in a file, "" if
// nothing does. A variable that is empty gives none.
func GivenBy(c *urfave.Context, name string) string {
	if place, ok := c.App.Metadata[metaPlace+name].(string); ok {
		return place
	}
	if !c.IsSet(name) {
		return ""
	}
	flag := OptionOf(c, name)
	if flag == nil {
		return dashed(name)
	}
	args, _ := c.App.Metadata[metaArgs].([]string)
	for _, token := range args {
		given, _, _ := strings.Cut(token, "=")
		for _, alias := range flag.Names() {
			if given == "-"+alias || given == "--"+alias {
				return dashed(alias)
			}
		}
	}
	if documented, ok := flag.(urfave.DocGenerationFlag); ok {
		for _, variable := range documented.GetEnvVars() {
			if value, there := os.LookupEnv(variable); value != "" {
				return variable
			} else if there {
				return "" // the library takes it for given
			}
		}
	}
	return dashed(name)
}

// NameOf is how an error names an option: as it stands where its value is from.
func NameOf(c *urfave.Context, name string) string {
	if given := GivenBy(c, name); given != "" {
		return given
	}
	return dashed(name)
}

// SetAt gives an option a value that stands at a place in a file.
func SetAt(c *urfave.Context, name, text, place string) error {
	if err := c.Set(name, text); err != nil {
		return err
	}
	if c.App.Metadata == nil {
		c.App.Metadata = map[string]any{}
	}
	c.App.Metadata[metaPlace+name] = place
	return nil
}

// OptionOf is an option of the command at work, or of one above it.
func OptionOf(c *urfave.Context, name string) urfave.Flag {
	for _, level := range c.Lineage() {
		if level.Command != nil {
			if flag := FlagOf(level.Command.Flags, name); flag != nil {
				return flag
			}
		}
	}
	return FlagOf(c.App.Flags, name)
}

// FlagOf is the flag of a name, nil for none.
func FlagOf(flags []urfave.Flag, name string) urfave.Flag { return find(flags, name) }
