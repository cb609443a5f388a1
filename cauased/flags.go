package main

import (
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/ca"
	"cauase/pkg/cli"
	"cauase/pkg/pki"
	"cauase/pkg/server"
	"cauase/pkg/store"
)

// Names of flags, those of the reference first. Environment variables derive from them.
const (
	flagDB                 = "db"
	flagServerKey          = "server-key"
	flagCORSKeys           = "cors-key-store"
	flagCORSWhitelist      = "cors-whitelist"
	flagNetloc             = "netloc"
	flagBasePort           = "base-port"
	flagBind               = "bind"
	flagSocketMode         = "socket-mode"
	flagThreshold          = "threshold"
	flagKeyLen             = "key-len"
	flagLockAutoApprove    = "lock-auto-approve-count"
	flagServiceValidity    = "service-crt-validity"
	flagServiceMaxCSR      = "service-max-csr"
	flagServiceAutoApprove = "service-auto-approve-count"
	flagUserValidity       = "user-crt-validity"
	flagUserMaxCSR         = "user-max-csr"
	flagUserAutoApprove    = "user-auto-approve-count"

	flagKeyType   = "key-type"
	flagBackdate  = "backdate"
	flagRetention = "retention"
	flagLogFormat = "log-format"
	flagChain     = "chain-retention"
	flagAuditKeep = "audit-keep"
	flagMetrics   = "metrics-bind"
	flagLogLevel  = "log-level"
	flagFirstUser = "first-user-invite"

	flagFork       = "fork"
	flagRevocation = "revocation"
	flagRenewals   = "renewals-per-day"
	flagUserMax    = "user-max"

	flagConnections = "max-connections"
	flagPerAddress  = "max-connections-per-address"
	flagWriteRate   = "write-rate"
	flagHandshakes  = "handshake-rate"
	flagPush        = "crl-push"
	flagWaiting     = "max-waiting"
	flagPendingTTL  = "pending-ttl"
	flagShare       = "pending-per-address"
)

// defaultAuthority is the authority that commands work on unless another is named.
const defaultAuthority = string(store.Services)

// Categories of flags in the help.
const (
	groupAddress  = "Addresses"
	groupFiles    = "Files"
	groupServices = "Service certificates, which give no privilege here"
	groupUsers    = "User certificates, which may sign others and decrypt backups"
	groupKeys     = "Keys and lifetimes"
	groupLineages = "Lineages: a certificate and its renewals"
	groupBackups  = "Backups"
	groupCORS     = "Web pages from elsewhere"
	groupLimits   = "Limits for those who show no user's certificate; an address is an IPv4 address or an IPv6 /64"
	groupLog      = "Log"
)

// What a revocation withdraws.
const (
	revokeLineage     = "lineage"
	revokeCertificate = "certificate"
)

// env is the environment variable of a flag.
func env(name string) []string {
	return []string{"CAUASED_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))}
}

func serveFlags() []urfave.Flag {
	return append(backupFlags(), []urfave.Flag{
		text(groupAddress, flagNetloc, "", "`HOST[:PORT]` at which verifiers reach this service; becomes part of certificates (required)"),
		cli.Int(urfave.IntFlag{Category: groupAddress, Name: flagBasePort, EnvVars: env(flagBasePort), DefaultText: "that of --netloc, or 80",
			Usage: "`PORT` of HTTP here; HTTPS has the next one, or 443 for 80"}),
		texts(groupAddress, flagBind, "`ADDRESS` to listen on, or unix:PATH for a socket that answers HTTP, repeatable (default: whatever the host of --netloc resolves to)"),
		text(groupAddress, flagSocketMode, "0660", "`MODE` of the sockets of --bind unix:PATH: who may write may connect"),
		text(groupAddress, flagMetrics, "", "`ADDRESS:PORT` at which to serve metrics to Prometheus, without authentication (default: none)"),

		text(groupFiles, flagConfig, "", "`FILE` (TOML) of options that are given neither here nor in the environment; paths in it are relative to its folder"),
		dbFlag(),
		text(groupFiles, flagServerKey, "server.key.pem", "`FILE` of our own HTTPS key and certificate"),
		keySecretFlag(), keyPassphraseFlag(), controlFlag(),
		text(groupFiles, flagCORSKeys, "cors.key", "`FILE` of the keys that sign users' consent to web pages; on PostgreSQL they are in the database"),

		float(groupServices, flagServiceValidity, 93, "`DAYS` an issued certificate is valid"),
		number(groupServices, flagServiceMaxCSR, 50, "`COUNT` of pending requests above which further ones are refused"),
		number(groupServices, flagServiceAutoApprove, 0, "`COUNT` of first requests that are signed without asking"),

		float(groupUsers, flagUserValidity, 93, "`DAYS` an issued certificate is valid"),
		number(groupUsers, flagUserMaxCSR, 50, "`COUNT` of pending requests above which further ones are refused"),
		number(groupUsers, flagUserAutoApprove, 0, "`COUNT` of first requests that are signed without asking, whoever sends them; more than 0 and no invitation is made for the first user"),
		&urfave.StringFlag{Category: groupUsers, Name: flagFirstUser, EnvVars: env(flagFirstUser), DefaultText: firstUserFile + " beside the database, or beside --server-key",
			Usage: "`FILE` in which an invitation for the first user is kept until it was used"},
		number(groupUsers, flagUserMax, ca.DefaultMaxUsers, fmt.Sprintf("`COUNT` of users above which no more are certified; at most %d, as backups are encrypted to each", ca.MaxUsers)),
		&urfave.BoolFlag{Category: groupUsers, Name: flagLockAutoApprove, EnvVars: env(flagLockAutoApprove),
			Usage: "store both auto-approve counts in the database, at the first use of this; later values are ignored"},

		text(groupKeys, flagKeyType, string(pki.DefaultKeyType), "`TYPE` of new keys: "+keyTypes()),
		cli.Int(urfave.IntFlag{Category: groupKeys, Name: flagKeyLen, EnvVars: env(flagKeyLen), DefaultText: "none",
			Usage: "`BITS` of new keys, which makes them RSA; the same as --key-type rsa-BITS"}),
		tokenFlag(),
		float(groupKeys, flagThreshold, 31, "`DAYS` before its expiry at which our own HTTPS certificate is renewed"),
		text(groupKeys, flagBackdate, "1m", "`DURATION` by which certificates are backdated, for peers whose clock is late; at most 1/100 of their validity"),
		float(groupKeys, flagRetention, 30, "`DAYS` an expired certificate stays on record"),

		float(groupKeys, flagChain, 3650, "`DAYS` for which an expired CA's word for its successor is still served, to hosts that were away; 0 means always"),

		float(groupKeys, flagAuditKeep, 0, "`DAYS` for which entries of the audit log are kept; 0 means for ever. Their hashes stay, so that the rest can be verified"),

		text(groupLineages, flagFork, string(ca.ForkFlag), "`POLICY` for a certificate that is renewed again, by a restored host or with a copied key: flag (serve it, and say so), refuse or allow"),
		text(groupLineages, flagRevocation, revokeLineage, "what a revocation withdraws: the `lineage` of the certificate, or that certificate only"),
		cli.Int(urfave.IntFlag{Category: groupLineages, Name: flagRenewals, EnvVars: env(flagRenewals), DefaultText: "by the validity of certificates",
			Usage: "`COUNT` of renewals that one lineage may have in a day; then 429 with Retry-After"}),

		texts(groupCORS, flagCORSWhitelist, "`ORIGIN` to trust without asking users, repeatable (default: none)"),

		number(groupLimits, flagConnections, server.DefaultConnections, "`COUNT` of connections at a time, users' included; those that wait longest give way to new ones; fewer where the process may not open as many files"),
		cli.Int(urfave.IntFlag{Category: groupLimits, Name: flagPerAddress, EnvVars: env(flagPerAddress), DefaultText: "a quarter of --max-connections",
			Usage: "`COUNT` of connections that one address may have at a time"}),
		number(groupLimits, flagWriteRate, 300, "`COUNT` of requests a minute by which one address may submit, renew and revoke, all at once or not; then 429 with Retry-After; 0 means any number"),
		number(groupLimits, flagHandshakes, 600, "`COUNT` of TLS handshakes a minute that one address may have, all at once or not; those above wait for two seconds at most, or are refused; all addresses together may have 20 times as many; 0 means any number"),

		&urfave.BoolFlag{Category: groupLimits, Name: flagPush, Value: true, EnvVars: env(flagPush),
			Usage: "have agents wait for newer revocation lists, so that they learn of a revocation at once; without it they are answered at once, and look once in a while"},
		number(groupLimits, flagWaiting, server.DefaultWaiting, "`COUNT` of agents that may wait at a time, beside --max-connections, a quarter of them at one address; the others look once in a while"),

		float(groupLimits, flagPendingTTL, 7, "`DAYS` for which a request waits for a user before it is removed; 0 means always"),
		cli.Int(urfave.IntFlag{Category: groupLimits, Name: flagShare, EnvVars: env(flagShare), DefaultText: "a quarter of all that may be pending, at least 5",
			Usage: "`COUNT` of pending requests of an authority that may be of one address"}),

		text(groupLog, flagLogFormat, "text", "`FORMAT` of the log on stderr: text or json"),
		text(groupLog, flagLogLevel, "info", "`LEVEL` from which on is logged: debug, info, warn or error"),
	}...)
}

// firstUserFile is the usual name of the file with the invitation for the first user.
const firstUserFile = "first-user.invite"

func dbFlag() urfave.Flag {
	return text(groupFiles, flagDB, defaultDatabase, "`FILE` of the SQLite database, or URL of a PostgreSQL one, postgres://USER@HOST/DATABASE?sslmode=verify-full; leave its password to PGPASSFILE, or give all of it in CAUASED_DB: others can read command lines")
}

func text(category, name, value, usage string) urfave.Flag {
	return &urfave.StringFlag{Category: category, Name: name, Value: value, Usage: usage, EnvVars: env(name)}
}

func texts(category, name, usage string) urfave.Flag {
	return &urfave.StringSliceFlag{Category: category, Name: name, Usage: usage, EnvVars: env(name)}
}

func number(category, name string, value int, usage string) urfave.Flag {
	return cli.Int(urfave.IntFlag{Category: category, Name: name, Value: value, Usage: usage, EnvVars: env(name)})
}

func float(category, name string, value float64, usage string) urfave.Flag {
	return cli.Days(urfave.Float64Flag{Category: category, Name: name, Value: value, Usage: usage, EnvVars: env(name)})
}

func keyTypes() string { return strings.Join(keyTypeNames(), ", ") }

func keyTypeNames() (names []string) {
	for _, t := range pki.KeyTypes() {
		names = append(names, string(t))
	}
	return names
}
