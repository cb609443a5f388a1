package cli

import (
	"bytes"
	"io"
	"slices"

	urfave "github.com/urfave/cli/v2"
)

// jsonResults is where results go as JSON: what the library prints by itself, which is help and versions, is wrapped.
type jsonResults struct{ io.Writer }

// The library prints both by these variables, for all tools.
func init() {
	printHelp, printVersion := urfave.HelpPrinter, urfave.VersionPrinter
	urfave.HelpPrinter = func(w io.Writer, template string, data any) {
		to, asJSON := w.(jsonResults)
		if !asJSON {
			printHelp(w, template, data)
			return
		}
		var text bytes.Buffer
		printHelp(&text, template, data)
		_ = WriteJSON(to.Writer, helpView{helpName(data), text.String()}) // as the library does, which has nobody to tell
	}
	urfave.VersionPrinter = func(c *urfave.Context) {
		to, asJSON := c.App.Writer.(jsonResults)
		if !asJSON {
			printVersion(c)
			return
		}
		_ = WriteJSON(to.Writer, versionView{c.App.Name, c.App.Version})
	}
}

type helpView struct {
	Command string `json:"command"`
	Help    string `json:"help"`
}

type versionView struct {
	Tool    string `json:"tool"`
	Version string `json:"version"`
}

// helpName is the command that help is about.
func helpName(data any) string {
	switch about := data.(type) {
	case *urfave.App:
		return about.Name
	case *urfave.Command:
		return about.HelpName
	}
	return ""
}

// WantsJSON reports whether a command line, or the variable of its option, asks for JSON.
func WantsJSON(app *urfave.App, args []string) bool {
	variable := ""
	if flag, is := find(app.Flags, "json").(urfave.DocGenerationFlag); is {
		variable = append(flag.GetEnvVars(), "")[0]
	}
	return asksForJSON(args, variable)
}

// Verbs are the commands of a tool that do something, as they are typed behind its name: "csr send". A tool without commands
// is one itself, the empty one.
func Verbs(app *urfave.App) (verbs []string) {
	if len(app.Commands) == 0 {
		return []string{""}
	}
	eachCommand(app.Commands, "", func(path string, command *urfave.Command) {
		if path = path[1:]; len(command.Subcommands) == 0 || len(command.Flags) > 0 {
			verbs = append(verbs, path)
		}
	})
	slices.Sort(verbs)
	return verbs
}
