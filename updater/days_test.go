package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"cauase/pkg/cli"
)

// A configuration file takes times as the command line does, and few words in any case.
func TestUnitsAndCaseInAFile(t *testing.T) {
	const job = "[[job]]\nname = \"a\"\nca-url = \"http://ca.example\"\nca = \"ca.pem\"\ncrl = \"crl.pem\"\n"
	for text, want := range map[string]time.Duration{
		`31`: 31 * 24 * time.Hour, `"31"`: 31 * 24 * time.Hour, `"31d"`: 31 * 24 * time.Hour, `"12h"`: 12 * time.Hour, `0.5`: 12 * time.Hour, `1_0`: 240 * time.Hour,
	} {
		jobs, err := parseConfig(fmt.Appendf(nil, "%sthreshold = %s\ncrl-threshold = %s\nmax-sleep = %s\n", job, text, text, text), "/etc", noMachine)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if j := jobs[0]; j.Threshold != want || j.CRLThreshold != want || j.MaxSleep != want {
			t.Errorf("%s is taken for %v, %v, %v", text, j.Threshold, j.CRLThreshold, j.MaxSleep)
		}
	}
	for _, text := range []string{`"soon"`, `true`, `[1]`, `"31x"`, `nan`, `0x1f`, `-1`} {
		_, err := parseConfig([]byte(job+"threshold = "+text+"\n"), "/etc", noMachine)
		if err == nil {
			t.Errorf("%s is taken", text)
			continue
		}
		for _, word := range []string{"strconv", "float64", "unmarshal", "main."} {
			if strings.Contains(cli.Plain(err.Error()), word) {
				t.Errorf("%s: %v", text, err)
			}
		}
	}
	jobs, err := parseConfig([]byte(job+"mode = \"User\"\nkey-type = \"ED25519\"\ncas-ca = \"cas.pem\"\n"), "/etc", noMachine)
	if err != nil || jobs[0].KeyType != "ed25519" || !strings.Contains(fmt.Sprint(jobs[0].Authority), "cau") {
		t.Errorf("%v: %+v", err, jobs)
	}
	if _, err := parseConfig([]byte(job+"mode = \"usr\"\n"), "/etc", noMachine); err == nil || !strings.Contains(err.Error(), `line 6, column 1: mode: "usr" is not one of service, user`) {
		t.Error(err)
	}
}
