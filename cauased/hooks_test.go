package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cauase/pkg/testkit"
)

// TestHookErrorsHavePlaces: of hooks that are wrong each is named, with the place.
func TestHookErrorsHavePlaces(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	hook, exposed, secret := filepath.Join(dir, "hook"), filepath.Join(dir, "exposed"), filepath.Join(dir, "secret")
	for path, mode := range map[string]os.FileMode{hook: 0o700, exposed: 0o777, secret: 0o600} {
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	const begin = "netloc = \"ca.example\"\n"
	for content, want := range map[string]string{
		"[hooks]\nauthorise = [\"/x\"]\n":                                                     "line 3, column 1: there is no setting \"authorise\"",
		"[hooks]\nauthorize = \"" + hook + "\"\n":                                             "line 3, column ",
		"[hooks]\nauthorize = [\"hook\"]\n":                                                   "line 3, column 1: hooks.authorize: \"hook\" is not an absolute path",
		"[hooks]\nboot = []\n presign = [\"" + hook + "x\"]\n":                                "line 4, column 2: hooks.presign: ",
		"[hooks]\npostsign = [\"" + exposed + "\"]\n":                                         "line 3, column 1: hooks.postsign: " + exposed + " can be written by everybody",
		"[hooks]\nauthorize = [\"" + hook + "\", \"" + hook + "\"]\n":                         "line 3, column 1: hooks.authorize: ",
		"[hooks]\ntimeout = \"an hour\"\n":                                                    "line 3, column 1: hooks.timeout: ",
		"[hooks]\ntimeout = \"2h\"\n":                                                         "line 3, column 1: hooks.timeout: 2h is not between",
		"[webhook]\nname = \"x\"\n":                                                           "line 2, column ",
		"[[webhook]]\nname = \"X\"\nurl = \"https://h/\"\nsecret_file = \"" + secret + "\"\n": "line 3, column 1: webhook.name: ",
		"[[webhook]]\nname = \"x\"\nurl = \"ftp://h/\"\nsecret_file = \"" + secret + "\"\n":   "line 4, column 1: webhook.url: ",
		"[[webhook]]\nname = \"x\"\nurl = \"https://h/\"\n":                                   "line 2, column 3: webhook.secret_file: is missing",
		"[[webhook]]\nname = \"x\"\nurl = \"https://h/\"\nsecret_file = \"" + secret + "\"\n": "line 5, column 1: webhook.secret_file: ",
		"[[webhook]]\nname = \"x\"\nurl = \"https://h/\"\nsecret = \"whsec_x\"\n":             "line 5, column 1: there is no setting \"secret\"",
		"[signing]\nauthority = \"CAS\"\n":                                                    "line 3, column 1: signing.authority: ",
		"[signing]\nprofile = \"server\"\n":                                                   "line 2, column 2: signing.authority: ",
		"[hooks]\ntimeout = \"x\"\n[[webhook]]\nname = \"x\"\n[[policy]]\ndecision = \"x\"\n": "line 7, column 1: policy ",
	} {
		path := fileOf(t, begin+content)
		_, err := parse(t, "--netloc", "ca.example", "--config", path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), path+": ") {
			t.Errorf("%q: %v, want %s", content, err, want)
		}
	}
}

// TestHooksAreReloaded: with SIGHUP, whole; a file with an error in it changes nothing.
func TestHooksAreReloaded(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	hook := filepath.Join(dir, "hook")
	if err := os.WriteFile(hook, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	path := fileOf(t, "retention = 9\n[hooks]\nauthorize = [\""+hook+"\"]\n")
	cfg := testConfig(t, t.TempDir(), "--config", path)
	var log testkit.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	d := launchLogged(t, cfg, testTime(), logger).Daemon
	for content, hooks := range map[string]int{
		"retention = 9\n[hooks]\nauthorize = [\"" + hook + "x\"]\n": 1,
		"retention = 9\n": 0,
		"retention = 9\n[hooks]\nauthorize = [\"" + hook + "\"]\npresign = [\"" + hook + "\"]\n": 1,
	} {
		if hooks == 1 && strings.Contains(content, "hookx") {
			// what was read before still counts
			if err := os.WriteFile(path, []byte("retention = 9\n[hooks]\nauthorize = [\""+hook+"\"]\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			cfg.file.reload(t.Context(), d, logger, func(string) bool { return true })
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg.file.reload(t.Context(), d, logger, func(string) bool { return true })
		if got := len(d.Hooks().Authorize); got != hooks {
			t.Errorf("%q: %d hooks\n%s", content, got, log.String())
		}
	}
}

func TestSocketOptions(t *testing.T) {
	for args, want := range map[string]string{
		"--bind unix:api.sock":                            "an absolute path is needed",
		"--bind unix:/" + strings.Repeat("x", 120):        "at most",
		"--bind unix:/run/x --socket-mode 0":              "is not a mode",
		"--bind unix:/run/x --socket-mode 8":              "is not a mode",
		"--bind unix:/run/x --socket-mode 4777":           "is not a mode",
		"--bind unix:/run/cauase/api.sock":                "",
		"--bind unix:/run/x --bind ::1 --socket-mode 666": "",
	} {
		cfg, err := parse(t, append([]string{"--netloc", "ca.example"}, strings.Fields(args)...)...)
		if want == "" && (err != nil || !strings.HasPrefix(cfg.Bind[0], "unix:/run/")) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", args, err)
		}
	}
}
