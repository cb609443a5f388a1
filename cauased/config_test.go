package main

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"cauase/pkg/ca"
	"cauase/pkg/pki"
	"cauase/pkg/server"
)

func TestConfigDefaults(t *testing.T) {
	for _, args := range [][]string{
		{"--netloc", "ca.example:8009"},
		{"serve", "--netloc", "ca.example:8009"},
		{"--netloc", "ca.example:8009", "serve"},
	} {
		c, err := parse(t, args...)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		if c.Database != "cauase.sqlite" || c.ServerKey != "server.key.pem" || c.CORSKeys != "cors.key" || c.Port != 8009 ||
			!slices.Equal(c.Bind, []string{"ca.example"}) || c.Threshold != 31*day || c.Backdate != time.Minute || c.Retention != 30*day || c.ChainRetention != 3650*day || c.Metrics != "" ||
			c.KeyType != pki.KeyECDSAP256 || c.Users.Validity != 93*day || c.Services.Validity != 93*day ||
			c.Users.MaxPending != 50 || c.Services.MaxPending != 50 || c.Users.AutoApprove != 0 || c.Services.AutoApprove != 0 ||
			c.Limits != (server.Limits{Connections: 512, WriteRate: 300, HandshakeRate: 600, Waiting: 1024}) || c.NoPush || c.PendingTTL != 7*day || c.PendingShare != 0 ||
			c.LockAutoApprove || len(c.CORSWhitelist) != 0 || c.logJSON || c.logLevel != 0 {
			t.Errorf("%v: %+v", args, c)
		}
	}
}

func TestConfigValues(t *testing.T) {
	c, err := parse(t, "--netloc", "[::1]", "--base-port", "8080", "--bind", "127.0.0.1", "--bind", "::1", "--key-len", "3072",
		"--service-crt-validity", "0.001", "--user-crt-validity", "1.5", "--threshold", "0.5", "--retention", "0",
		"--cors-whitelist", "http://a.example", "https://b.example:8443", "--log-format", "json", "--log-level", "warn", "--backdate", "0s",
		"--lock-auto-approve-count", "--key-type", "rsa-3072", "--max-connections", "4", "--max-connections-per-address", "3", "--write-rate", "0",
		"--handshake-rate", "0", "--crl-push=false", "--max-waiting", "1", "--pending-ttl", "0.5", "--pending-per-address", "9")
	if err != nil {
		t.Fatal(err)
	}
	if c.Netloc.Host != "::1" || c.Netloc.Port != 80 || c.Port != 8080 || !slices.Equal(c.Bind, []string{"127.0.0.1", "::1"}) || c.KeyType != pki.KeyRSA3072 ||
		c.Services.Validity != 86400*time.Millisecond || c.Users.Validity != 36*time.Hour || c.Threshold != 12*time.Hour || c.Retention != 0 ||
		!slices.Equal(c.CORSWhitelist, []string{"http://a.example", "https://b.example:8443"}) || !c.logJSON || c.logLevel.String() != "WARN" ||
		c.Limits != (server.Limits{Connections: 4, PerAddress: 3, Waiting: 1}) || !c.NoPush || c.PendingTTL != 12*time.Hour || c.PendingShare != 9 ||
		c.Backdate != 0 || !c.LockAutoApprove {
		t.Errorf("%+v", c)
	}
}

// TestConfigEnvironment sets every flag from its environment variable.
func TestConfigEnvironment(t *testing.T) {
	for name, value := range map[string]string{
		"DB": "/db", "SERVER_KEY": "/key", "CORS_KEY_STORE": "/cors", "CORS_WHITELIST": "http://a.example,http://b.example",
		"NETLOC": "ca.example", "BASE_PORT": "1000", "BIND": "127.0.0.1,::1", "THRESHOLD": "7", "KEY_LEN": "4096",
		"LOCK_AUTO_APPROVE_COUNT": "true", "SERVICE_CRT_VALIDITY": "1", "SERVICE_MAX_CSR": "2", "SERVICE_AUTO_APPROVE_COUNT": "3",
		"USER_CRT_VALIDITY": "4", "USER_MAX_CSR": "5", "USER_AUTO_APPROVE_COUNT": "6", "BACKDATE": "2m", "RETENTION": "8",
		"LOG_FORMAT": "json", "LOG_LEVEL": "debug", "CHAIN_RETENTION": "9", "METRICS_BIND": "127.0.0.1:9100",
		"MAX_CONNECTIONS": "10", "MAX_CONNECTIONS_PER_ADDRESS": "11", "WRITE_RATE": "12", "HANDSHAKE_RATE": "13", "CRL_PUSH": "false", "MAX_WAITING": "16", "PENDING_TTL": "14", "PENDING_PER_ADDRESS": "15",
	} {
		t.Setenv("CAUASED_"+name, value)
	}
	c, err := parse(t)
	if err != nil {
		t.Fatal(err)
	}
	if c.Database != "/db" || c.ServerKey != "/key" || c.CORSKeys != "/cors" || len(c.CORSWhitelist) != 2 || c.Netloc.String() != "ca.example" ||
		c.Port != 1000 || len(c.Bind) != 2 || c.Threshold != 7*day || c.KeyType != pki.KeyRSA4096 || !c.LockAutoApprove ||
		c.Services.Validity != day || c.Services.MaxPending != 2 || c.Services.AutoApprove != 3 || c.Users.Validity != 4*day ||
		c.Users.MaxPending != 5 || c.Users.AutoApprove != 6 || c.Backdate != 2*time.Minute || c.Retention != 8*day || !c.logJSON || c.logLevel != -4 ||
		c.Limits != (server.Limits{Connections: 10, PerAddress: 11, WriteRate: 12, HandshakeRate: 13, Waiting: 16}) || !c.NoPush || c.PendingTTL != 14*day || c.PendingShare != 15 {
		t.Errorf("%+v", c)
	}
	// A flag counts more than the environment.
	if c, err := parse(t, "--netloc", "other.example"); err != nil || c.Netloc.String() != "other.example" {
		t.Errorf("%v %v", c.Netloc, err)
	}
}

// TestConfigErrors makes sure that a bad value names its flag.
func TestConfigErrors(t *testing.T) {
	for flag, values := range map[string][]string{
		"netloc":                     {"", "http://ca.example", "a:b", "::1", "a:65535", "bücher.example", "a b"},
		"db":                         {""},
		"server-key":                 {""},
		"cors-key-store":             {""},
		"base-port":                  {"0", "-1", "65535", "99999", "x"},
		"threshold":                  {"-1", "NaN", "Inf", "x", "1e300"},
		"retention":                  {"-1", "NaN"},
		"service-crt-validity":       {"0", "-1", "NaN", "1e-9", "36525", "x"},
		"user-crt-validity":          {"0", "0.00001"},
		"service-max-csr":            {"-1", "x", "9999999999"},
		"user-max-csr":               {"-1"},
		"service-auto-approve-count": {"-1"},
		"user-auto-approve-count":    {"-1"},
		"key-type":                   {"", "dsa", "rsa-1024", "rsa"},
		"key-len":                    {"1024", "0", "-2048", "x"},
		"backdate":                   {"", "-1m", "1", "x"},
		"log-format":                 {"xml", ""},
		"log-level":                  {"loud", "inf", ""},
		"cors-whitelist":             {"*", "null", "ca.example", "http://ca.example/", "HTTP://ca.example"},
		"no-such-flag":               {"1"},

		"max-connections":             {"0", "3", "-1", "", "x", "1.5", "1k", "512 ", "0x200", "2147483648", "99999999999999999999"},
		"max-connections-per-address": {"-1", "", "x", "25%", "2147483648"},
		"write-rate":                  {"-1", "", "x", "5/s", "300/min", "0.5"},
		"handshake-rate":              {"-1", "", "x", "10/s", "0.5"},
		"max-waiting":                 {"0", "-1", "", "x", "1k", "2147483648"},
		"crl-push":                    {"maybe", "2"},
		"pending-per-address":         {"-1", "", "x", "0.25"},
		"pending-ttl":                 {"-1", "", "NaN", "Inf", "36526", "x", "1e300"},
	} {
		for _, value := range values {
			args := []string{"--" + flag + "=" + value}
			if flag != "netloc" {
				args = append(args, "--netloc", "ca.example")
			}
			if _, err := parse(t, args...); err == nil || !strings.Contains(err.Error(), "-"+flag) {
				t.Errorf("%s: %v", args[0], err)
			}
		}
	}
	if _, err := parse(t); err == nil || !strings.Contains(err.Error(), "--netloc") {
		t.Errorf("without netloc: %v", err)
	}
	if _, err := parse(t, "--netloc", "ca.example", "--key-type", "ed25519", "--key-len", "2048"); err == nil || !strings.Contains(err.Error(), "--key-type ed25519") {
		t.Errorf("contradiction: %v", err)
	}
	if _, err := parse(t, "--netloc", "ca.example", "surplus"); err == nil {
		t.Error("surplus argument accepted")
	}
}

// What has few values is taken in any case, and with dashes or without them.
func TestChoicesInAnyCase(t *testing.T) {
	c, err := parse(t, "--netloc", "ca.example", "--key-type", "RSA-2048", "--log-level", "WARN", "--log-format", "JSON", "--fork", "Refuse", "--revocation", "Certificate")
	if err != nil {
		t.Fatal(err)
	}
	if c.KeyType != pki.KeyRSA2048 || c.logLevel != slog.LevelWarn || !c.logJSON || c.Lineages.Fork != ca.ForkRefuse || !c.Lineages.RevokeOne {
		t.Errorf("%+v", c)
	}
}
