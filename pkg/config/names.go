package config

// Names are the settings that a configuration file of users may hold. Each tool takes those of them that it has an option
// for; the others are for the other tools.
var Names = []string{
	"ca-url", "store", "ca-crt", "user-ca-crt", "crl", "user-crl", "root-ca", "user-key", "mode", "authority",
	"threshold", "key-type", "on-renew", "ca-fingerprint", "catch-up", "caucase",
}

// Paths are those of them that are paths: relative ones are in the folder of the file.
var Paths = []string{"store", "ca-crt", "user-ca-crt", "crl", "user-crl", "root-ca", "user-key", "on-renew"}

// Exclusive are settings of which one may be given: where it is, a file's value of the other is ignored.
var Exclusive = map[string]string{"mode": "authority", "authority": "mode"}
