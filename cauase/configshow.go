package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"cauase/pkg/config"
	"cauase/pkg/pki"
)

const cmdConfig = "config"

func (t *tool) configShow() *cli.Command {
	return &cli.Command{
		Name:  "show",
		Usage: "list the settings in force, and where each has its value from",
		Description: `The command line comes before the environment, that before the user's configuration, and
that before the machine's (/etc/cauase/cauase.toml). In a file the context's table comes before what
holds for all contexts. What is given nowhere has its default.`,
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return errUsage(c, "config show takes no arguments: --context chooses whose settings are shown")
			}
			return t.showConfig(c)
		},
	}
}

type configView struct {
	Context  string        `json:"context"`
	Contexts []string      `json:"contexts"`
	Files    []string      `json:"files"`
	Settings []settingView `json:"settings"`
}

type settingView struct {
	Name   string `json:"name"`
	Value  any    `json:"value"` // a text, number, boolean or list of texts; null if there is none
	Origin string `json:"origin"`
}

func (t *tool) showConfig(c *cli.Context) error {
	view := configView{Context: t.context, Contexts: []string{}, Files: []string{}}
	for _, file := range t.files {
		view.Files = append(view.Files, file.Path)
	}
	view.Contexts = append(view.Contexts, t.files.Names()...)
	for _, name := range config.Names {
		from, given := t.origins[name]
		if !given {
			from = originDefault
		}
		view.Settings = append(view.Settings, settingView{name, t.effective(c, name), string(from)})
	}
	return t.print(view, func(p *printer) {
		p.field("files", orNothing(strings.Join(view.Files, ", ")))
		p.field("contexts", orNothing(strings.Join(view.Contexts, ", ")))
		p.field("context", orNothing(view.Context))
		p.line("")
		w := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "SETTING\tVALUE\tFROM")
		for _, s := range view.Settings {
			value := "-"
			if list, isList := s.Value.([]string); isList && len(list) > 0 {
				value = strings.Join(list, " ")
			} else if !isList && s.Value != nil {
				value = fmt.Sprint(s.Value)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\n", s.Name, pki.EscapeText(value), pki.EscapeText(s.Origin))
		}
		_ = w.Flush() // into memory
	})
}

// effective is the value of a setting that is in force.
func (t *tool) effective(c *cli.Context, name string) any {
	switch name {
	case "store":
		return t.store
	case "ca-crt":
		return t.servicesStore.Path
	case "user-ca-crt":
		return t.usersStore.Path
	case "authority":
		return string(t.authority)
	case "threshold", "catch-up":
		return c.Float64(name)
	case "caucase":
		return c.Bool(name)
	case "ca-fingerprint":
		return append([]string{}, c.StringSlice(name)...)
	case "crl", "user-crl", "root-ca":
		if c.String(name) == "" {
			return t.in(map[string]string{"crl": "cas.crl.pem", "user-crl": "cau.crl.pem", "root-ca": string(t.authority) + ".root.pem"}[name])
		}
	}
	if text := c.String(name); text != "" {
		return text
	}
	return nil
}
