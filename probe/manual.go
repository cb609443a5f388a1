package main

import (
	"cauase/pkg/cli"
	"cauase/pkg/client"
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
		Examples: []cli.Example{
			{Line: tool + " http://ca.example.org", Text: "check a CA"},
			{Line: tool + " -w 20 -c 5 -t 10 http://ca.example.org", Text: "be called by a monitoring system"},
			{Line: tool + " --json http://ca.example.org", Text: "list every finding, for scripts"},
		},
		SeeAlso: []string{"cauase(1)", "cauased(8)"},
	}
}
