package main

import (
	"path/filepath"
	"slices"

	"cauase/pkg/config"
	"cauase/pkg/pki"
	"cauase/pkg/profile"

	manners "cauase/pkg/cli"
)

// usageNames are what --eku is completed to. It takes the long names and OIDs, too.
var usageNames = []string{"server", "client", "code", "email", "time"}

// profileNames are those that a daemon has without a configuration of its own, and may offer.
var profileNames = []string{profile.NameAsRequested, profile.NameServer, profile.NameClient, profile.NameServerClient, profile.NameEmail, profile.NameCodeSigning}

// manual is what help, manual page and completions say beside the commands.
func manual() manners.Manual {
	return manners.Manual{
		Codes: []manners.ExitCode{
			{Code: manners.ExitOK, Text: "done"},
			{Code: manners.ExitError, Text: "an error, also if other things were done"},
			{Code: manners.ExitPending, Text: "nothing failed, but the request is pending", Of: []string{"request", "sign", "csr send", "crt get"}},
			{Code: manners.ExitHook, Text: "done, but the program of --on-renew failed", Of: []string{"request", "sign", "crt get", "crt renew", "ca update", "ca root", "crl update"}},
			{Code: manners.ExitRejected, Text: "a user has rejected the request", Of: []string{"request", "sign", "csr send", "crt get"}},
			{Code: manners.ExitForked, Text: "the CA's log is not what this host has seen of it: nothing was taken from the daemon, and no file was changed", Of: []string{"request", "crt get", "crt renew", "crt proof", "ca update", "ca root", "crl update", "log check"}},
		},
		Foreign: map[string]string{
			"netloc":           "--netloc is the daemon's; the CA's address is --ca-url http://HOST[:PORT]",
			"send-csr":         "here that is cauase csr send FILE",
			"get-csr":          "here that is cauase csr get ID FILE",
			"list-csr":         "here that is cauase csr list",
			"sign-csr":         "here that is cauase csr sign ID",
			"sign-csr-with":    "here that is cauase csr sign ID --csr FILE",
			"reject-csr":       "here that is cauase csr reject ID",
			"get-crt":          "here that is cauase crt get ID FILE",
			"renew-crt":        "here that is cauase crt renew CRT KEY",
			"revoke-crt":       "here that is cauase crt revoke CRT --key KEY",
			"revoke-other-crt": "here that is cauase crt revoke --other CRT",
			"revoke-serial":    "here that is cauase crt revoke --serial NUMBER",
			"update-user":      "here that is cauase --mode user ca update, and crl update",
			"key-len":          "here that is --key-type rsa-2048, rsa-3072 or rsa-4096",
			"cas-ca":           "--cas-ca is the agent's; here it is --ca-crt",
		},
		Globals: globalsOf(),
		Values: map[string][]string{
			"mode": modes, "key-type": keyTypeNames(), "reason": pki.ReasonNames(), "eku": usageNames, "profile": profileNames,
			"type": keyTypeNames(), "into": storeKinds(),
		},
		Lookup: map[string]func() []string{"context": contextNames},
		Environment: []manners.Fact{
			{Name: envInvite, Text: "an invitation, or the name of its file, for what --invite takes"},
			{Name: "XDG_CONFIG_HOME", Text: "folder of the folder cauase, which has the user's configuration (default: ~/.config)"},
			{Name: "CAUASE_CHANGED", Text: "tells the program of --on-renew what has changed: ca, crl, crt, key, root, separated by commas; log if there is news of the CA's log"},
			{Name: "CAUASE_LOG", Text: "tells that program what: forked if it is not what it was, so that nothing was taken from the CA, or restored if the CA says that it was restored from a backup"},
			{Name: "NO_COLOR", Text: "no colours on a terminal, if it is not empty; TERM=dumb says the same"},
		},
		Files: []manners.Fact{
			{Name: "~/.config/cauase/cauase.toml", Text: "settings of the user, as cauase init makes it"},
			{Name: config.SystemFile, Text: "settings of the machine, for those who have not given their own"},
			{Name: "~/.config/cauase/CONTEXT/", Text: "CA certificates and revocation lists of a context: cas.crt.pem, cas.crl.pem, cau.crt.pem, cau.crl.pem"},
			{Name: ".NAME.p12.key", Text: "key of a request with --p12, until that file has it"},
			{Name: "NAME.pem, NAME.csr.pem", Text: "key with certificate, and the request that is pending, as cauase request keeps them in the current folder"},
		},
		Examples: []manners.Example{
			{Line: "cauase init --ca-url http://ca.example.org --ca-fingerprint sha256:…", Text: "begin to use a CA whose fingerprint is known"},
			{Line: "cauase request --cn www.example.org --dns www.example.org --crt www.pem --wait", Text: "get a certificate for a web server, once a user has signed the request"},
			{Line: "cauase sign device.csr --user-key alice.pem --eku client --validity 7d", Text: "as a user, sign a request that somebody else has made"},
			{Line: "cauase request --sign --user-key alice.pem --cn bob --eku client --p12 bob.p12", Text: "as a user, make what a colleague imports into a browser"},
			{Line: "cauase p12 --crt www.pem --ca cas.crt.pem --out www.p12", Text: "put what there is into a file for Java or Windows"},
			{Line: "cauase self-signed --cn device.example.org --type ecdsa-p384 --days 365 --out device", Text: "make a certificate without any CA"},
			{Line: "cauase invite --user-key alice.pem --dns '*.web.example.org' --uses 50 --out web.invite", Text: "invite fifty hosts of a domain"},
			{Line: "cauase invite list --user-key alice.pem", Text: "list the invitations that were used"},
			{Line: "cauase invite show web.invite", Text: "describe an invitation"},
			{Line: "cauase invite void --user-key alice.pem web.invite", Text: "withdraw an invitation"},
			{Line: "cauase csr send device.csr", Text: "submit a request, whose key is elsewhere"},
			{Line: "cauase csr list --user-key alice.pem", Text: "as a user, list the requests that are pending"},
			{Line: "cauase csr show 7 --user-key alice.pem", Text: "as a user, see what would be signed, and who asks for it"},
			{Line: "cauase csr get 7 device.csr", Text: "fetch a pending request"},
			{Line: "cauase csr sign 7 --user-key alice.pem --csr device.csr", Text: "as a user, sign the pending request that is in a file"},
			{Line: "cauase csr reject 7 --user-key alice.pem --reason 'ask for device-7.example.org instead'", Text: "as a user, reject a request, and say why"},
			{Line: "cauase crt get 7 device.pem --wait=2h", Text: "fetch the certificate of a request, as soon as it is there"},
			{Line: "cauase crt renew www.pem --on-renew /usr/local/bin/reload", Text: "renew a certificate that ends within --threshold days"},
			{Line: "cauase crt revoke www.pem --reason keyCompromise", Text: "revoke a certificate whose key is at hand"},
			{Line: "cauase crt show www.pem", Text: "describe a certificate"},
			{Line: "cauase crt proof www.pem --out www.proof", Text: "prove that the log of the CA has the issuance of a certificate"},
			{Line: "cauase log check", Text: "compare the log of the CA with what this host has seen of it"},
			{Line: "cauase log accept", Text: "take the log as it is now for the right one, after a fork that was explained"},
			{Line: "cauase lineage list --user-key alice.pem", Text: "list what is in use, each with its renewals"},
			{Line: "cauase lineage show www.pem --user-key alice.pem", Text: "show a certificate with its renewals"},
			{Line: "cauase lineage revoke www.pem --user-key alice.pem --reason superseded", Text: "revoke a certificate with all its renewals"},
			{Line: "cauase cors list --user-key alice.pem", Text: "list the web pages that may act in the user's name"},
			{Line: "cauase cors withdraw https://pages.example.org --user-key alice.pem", Text: "forbid that to a web page"},
			{Line: "cauase ca update", Text: "follow the CA to its newest certificates"},
			{Line: "cauase ca root --root-ca root.pem", Text: "store the roots that verify everything"},
			{Line: "cauase ca show --offline", Text: "show which CA certificates are trusted, and until when"},
			{Line: "cauase ca card --out card.png", Text: "print by what others know the CA, and the command with which they begin"},
			{Line: "cauase ca install --dry-run", Text: "say what it takes for programs of this machine to trust the CA"},
			{Line: "cauase ca remove --into nss", Text: "have the browsers of this user trust it no more"},
			{Line: "cauase crl update --crl /etc/nginx/cas.crl.pem --on-renew /usr/local/bin/reload", Text: "bring a revocation list up to date"},
			{Line: "cauase crl show", Text: "describe the revocation lists that are stored"},
			{Line: "cauase config show --context lab", Text: "show each setting, and where it is from"},
			{Line: "cauase completion bash", Text: "print what completes command lines in bash"},
		},
		SeeAlso: []string{"cauase-updater(8)", "cauase-key-id(1)", "cauase-rerequest(1)", "cauase-probe(1)", "cauased(8)", "openssl(1)"},
	}
}

// globalsOf are the global options that matter for each command.
func globalsOf() map[string][]string {
	settings := []string{"config", "context", "store"}
	daemon := append(slices.Clone(settings), "ca-url", "mode", "authority", "ca-crt", "user-ca-crt", "ca-fingerprint", "catch-up", "caucase")
	user := append(slices.Clone(daemon), "user-key", "passphrase-file")
	printing := []string{"json", "quiet"}
	with := func(base []string, more ...string) []string {
		return append(append(slices.Clone(base), printing...), more...)
	}
	return map[string][]string{
		"init":        with(user),
		"request":     with(user, "key-type", "threshold", "on-renew", "root-ca"),
		"sign":        with(user, "on-renew", "root-ca"),
		cmdSelfSigned: {"json", "quiet", "key-type", manners.FlagPassphraseFile},
		"p12":         {"json", "quiet", manners.FlagPassphraseFile},
		"invite":      with(user, manners.FlagDecimal),
		"csr":         with(user, manners.FlagDecimal),
		"crt get":     with(daemon, "passphrase-file", "on-renew", "root-ca"),
		"crt renew":   with(daemon, "passphrase-file", "key-type", "threshold", "on-renew", "root-ca"),
		"crt revoke":  with(user, manners.FlagDecimal),
		"crt proof":   with(daemon),
		"log check":   with(daemon),
		"log accept":  with(daemon),
		"crt show":    with(settings, "mode", "authority", "ca-crt", "user-ca-crt", manners.FlagDecimal),
		"lineage":     with(user, manners.FlagDecimal),
		"cors":        with(user),
		"ca update":   with(daemon, "on-renew"),
		"ca root":     with(daemon, "on-renew", "root-ca"),
		"ca show":     with(daemon, "crl", "user-crl", manners.FlagDecimal),
		"ca card":     with(settings, "ca-url", "mode", "authority", "ca-crt", "user-ca-crt"),
		"ca install":  with(settings, "ca-url", "mode", "authority", "ca-crt", "user-ca-crt", "root-ca"),
		"ca remove":   with(settings, "ca-url", "mode", "authority"),
		"crl update":  with(daemon, "crl", "user-crl", "on-renew"),
		"crl show":    with(settings, "mode", "authority", "crl", "user-crl", "ca-crt", "user-ca-crt", manners.FlagDecimal),
		"config":      with(user, "crl", "user-crl", "root-ca", "threshold", "key-type", "on-renew"),
	}
}

// modes are what --mode takes.
var modes = []string{"service", "user"}

func keyTypeNames() (names []string) {
	for _, t := range pki.KeyTypes() {
		names = append(names, string(t))
	}
	return names
}

// contextNames are those of the configuration, none if it cannot be read: whoever completes a command line is told when
// the command runs.
func contextNames() (names []string) {
	paths := []string{config.SystemFile}
	if folder := config.Folder(); folder != "" {
		paths = append(paths, filepath.Join(folder, config.FileName))
	}
	for _, path := range paths {
		if file, err := config.ReadContexts(path, config.Names); err == nil {
			names = append(names, file.Names()...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
