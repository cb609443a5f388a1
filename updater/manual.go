package main

import (
	"cauase/pkg/cli"
	"cauase/pkg/config"
	"cauase/pkg/pki"
)

// manual is what help, manual page and completions say beside the options.
func manual() cli.Manual {
	var keyTypes []string
	for _, t := range pki.KeyTypes() {
		keyTypes = append(keyTypes, string(t))
	}
	return cli.Manual{
		Codes: []cli.ExitCode{
			{Code: cli.ExitOK, Text: "ended when it was told to; with --once, --refresh and --status: all is well"},
			{Code: cli.ExitError, Text: "an error, or it could not begin"},
			{Code: cli.ExitPending, Text: "with --once, --refresh and --status: nothing failed, but a request is pending"},
			{Code: cli.ExitHook, Text: "with --once, --refresh and --status: only the program of --on-renew failed"},
			{Code: cli.ExitRejected, Text: "with --once, --refresh and --status: an administrator has rejected the request; the file of --csr has to change before another is handed in"},
		},
		Values: map[string][]string{"mode": modes, "key-type": keyTypes, flagLog: logFormats},
		Environment: []cli.Fact{
			{Name: "CAUASE_CHANGED", Text: "tells the program of --on-renew what has changed: ca, crl, crt, key, root, separated by commas"},
			{Name: "NO_COLOR", Text: "no colours on a terminal, if it is not empty; TERM=dumb says the same"},
		},
		Files: []cli.Fact{
			{Name: "/etc/cauase/updater.toml", Text: "the jobs, as the unit cauase-updater.service names it to --config"},
			{Name: config.SystemFile, Text: "the CA's address, whom to trust and where that is kept, for jobs that say nothing of it; what users have in their folders is never read"},
		},
		Examples: []cli.Example{
			{Line: tool + " --ca-url http://ca.example.org --ca /etc/ssl/cas.crt.pem --crl /etc/ssl/cas.crl.pem --crt /etc/ssl/www.pem --on-renew /usr/local/bin/reload", Text: "keep the files of a web server up to date"},
			{Line: tool + " --config /etc/cauase/updater.toml --once", Text: "do what is due now, from cron or after a boot"},
			{Line: tool + " --config /etc/cauase/updater.toml --status --json", Text: "say how things are, for scripts"},
		},
		SeeAlso: []string{"cauase(1)", "cauase-probe(1)", "cauased(8)", "systemd.service(5)"},
	}
}

// What options with few values take.
var (
	modes      = []string{"service", "user"}
	logFormats = []string{"text", "json"}
)
