package main

import (
	"cauase/pkg/cli"
	"cauase/pkg/client"
	"cauase/pkg/config"
)

// manual is what help, manual page and completions say beside the options.
func manual() cli.Manual {
	return cli.Manual{
		Codes: []cli.ExitCode{
			{Code: 0, Text: "OK: all is well"},
			{Code: 1, Text: "WARNING"},
			{Code: 2, Text: "CRITICAL"},
			{Code: 3, Text: "UNKNOWN: the command line is wrong, and nothing was checked"},
		},
		Values: map[string][]string{flagAuthority: {string(client.CAS), string(client.CAU)}},
		Environment: []cli.Fact{
			{Name: envURL, Text: "the address, if there is none on the command line"},
		},
		Files: []cli.Fact{
			{Name: "~/.config/cauase/cauase.toml", Text: "the address and whom to trust, if there is no address on the command line or in the environment; in $XDG_CONFIG_HOME if that is set"},
			{Name: config.SystemFile, Text: "likewise, of all users of the machine"},
		},
		Examples: []cli.Example{
			{Line: tool + " http://ca.example.org", Text: "check a CA"},
			{Line: tool + " -w 20 -c 5 -t 10 http://ca.example.org", Text: "be called by a monitoring system"},
			{Line: tool + " --context lab", Text: "check the CA of a context that cauase init has made, and that it is the one trusted there"},
			{Line: tool + " --json http://ca.example.org", Text: "list every finding, for scripts"},
		},
		SeeAlso: []string{"cauase(1)", "cauased(8)"},
	}
}
