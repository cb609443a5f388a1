package main

import (
	"cauase/pkg/ca"
	"cauase/pkg/cli"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// manual is what help, manual page and completions say beside the commands.
func manual() cli.Manual {
	return cli.Manual{
		Codes: []cli.ExitCode{
			{Code: cli.ExitOK, Text: "done; of the daemon: it was told to end"},
			{Code: cli.ExitError, Text: "an error; of manage check also that it has found errors"},
			{Code: 2, Text: "the check is incomplete", Of: []string{"manage check"}},
			{Code: 2, Text: "the backup can be restored, but the check has found errors", Of: []string{"manage drill"}},
		},
		Values: map[string][]string{
			flagKeyType: keyTypeNames(), flagFork: forkPolicies,
			flagRevocation: revocations, flagLogFormat: logFormats, flagLogLevel: logLevels,
			flagRole: roles, flagReason: pki.ReasonNames(),
		},
		Environment: []cli.Fact{
			{Name: identityPassphrase, Text: "the passphrase for the CA of manage create-identity and import-identity"},
			{Name: "PGPASSFILE, PGSSLROOTCERT …", Text: "what libpq reads to connect to PostgreSQL"},
			{Name: "NOTIFY_SOCKET, WATCHDOG_USEC", Text: "by which systemd is told that the daemon serves"},
			{Name: "NO_COLOR", Text: "no colours on a terminal, if it is not empty; TERM=dumb says the same"},
		},
		Files: []cli.Fact{
			{Name: "cauase.sqlite", Text: "the database, unless --db says otherwise"},
			{Name: "server.key.pem", Text: "key and certificate of the daemon's HTTPS"},
			{Name: firstUserFile, Text: "the invitation for the first user, beside the database, until it was used"},
			{Name: "/etc/cauase/cauased.env", Text: "the environment of the unit, which the commands of manage read, too"},
		},
		Examples: []cli.Example{
			{Line: "cauased --netloc ca.example.org --db /var/lib/cauase/cauase.sqlite --server-key /var/lib/cauase/server.key.pem", Text: "serve a CA"},
			{Line: "cauased serve --config /etc/cauase/cauased.toml", Text: "serve as a file says"},
			{Line: "cauased manage approve 7 --authority cas", Text: "sign a pending request as the operator"},
			{Line: "cauased manage audit --since 30d", Text: "list what was done in the last thirty days"},
			{Line: "cauased manage lineage list --authority cas", Text: "list what is in use, each with its renewals"},
			{Line: "cauased manage lineage show 12", Text: "show a certificate with its renewals"},
			{Line: "cauased manage next-key-type --authority cas ed25519", Text: "have the next CA key be of another type"},
			{Line: "cauased manage own-subjects", Text: "have new CA certificates be told apart by their subjects"},
			{Line: "cauased manage authority list", Text: "list the authorities"},
			{Line: "cauased manage authority show lab", Text: "show one of them"},
			{Line: "cauased manage authority retire lab", Text: "have an authority issue nothing any more"},
		},
		SeeAlso: []string{"cauase(1)", "cauase-updater(8)", "cauase-probe(1)", "cauase-key-id(1)", "cauase-rerequest(1)", "systemd(1)", "psql(1)"},
	}
}

// What options with few values take.
var (
	forkPolicies = []string{string(ca.ForkFlag), string(ca.ForkRefuse), string(ca.ForkAllow)}
	revocations  = []string{revokeLineage, revokeCertificate}
	logFormats   = []string{"text", "json"}
	logLevels    = []string{"debug", "info", "warn", "error"}
	roles        = []string{string(store.RoleServices), string(store.RoleRoot)}
)
