package main

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cauase/pkg/testkit"
)

// layout3 copies the database of a released version, with content: see testdata/migration.
func layout3(t *testing.T) (path string) {
	t.Helper()
	f, err := os.Open("../testdata/migration/layout3.sqlite.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "db.sqlite")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func lineagesOf(t *testing.T, args ...string) (list []lineageJSON) {
	t.Helper()
	for line := range strings.Lines(manages(t, append([]string{"lineage", "list", "--json"}, args...)...)) {
		testkit.CheckJSON(t, jsonPage, "record of a lineage", line)
		var l lineageJSON
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		list = append(list, l)
	}
	return list
}

// An operator sees what the lineages are, and what became of their certificates, without being a user.
func TestManageLineages(t *testing.T) {
	db := layout3(t)
	all := lineagesOf(t, "--db", db, "--all")
	find := func(subject string) lineageJSON {
		t.Helper()
		i := slices.IndexFunc(all, func(l lineageJSON) bool { return l.Subject == subject && l.Authority == "cas" })
		if i < 0 {
			t.Fatalf("no lineage of %s: %+v", subject, all)
		}
		return all[i]
	}
	web, gone, retired := find("CN=web"), find("CN=gone"), find("CN=retired")
	if web.Forks != 1 || web.Renewals != 3 || web.State != "active" || gone.State != "ended" || retired.State != "ended" || retired.Renewals != 1 {
		t.Errorf("%+v\n%+v\n%+v", web, gone, retired)
	}
	if forked := lineagesOf(t, "--db", db, "--all", "--forked"); len(forked) != 1 || forked[0].ID != web.ID {
		t.Errorf("forked: %+v", forked)
	}
	users := lineagesOf(t, "--db", db, "--all", "--authority", "cau")
	if len(users) == 0 || slices.ContainsFunc(users, func(l lineageJSON) bool { return l.Authority != "cau" }) {
		t.Errorf("users: %+v", users)
	}
	if text := manages(t, "lineage", "list", "--db", db, "--all"); !strings.Contains(text, web.ID) || !strings.Contains(text, "forks: 1, the last from 127.0.0.1") {
		t.Error(text)
	}

	var shown lineageJSON
	show := func(args ...string) lineageJSON {
		t.Helper()
		shown = lineageJSON{}
		asJSON := manages(t, append([]string{"lineage", "show", "--db", db, "--json"}, args...)...)
		testkit.CheckJSON(t, jsonPage, "record of a lineage", asJSON)
		if err := json.Unmarshal([]byte(asJSON), &shown); err != nil {
			t.Fatal(err)
		}
		return shown
	}
	show(retired.ID)
	if shown.ID != retired.ID || len(shown.Certificates) != 2 || shown.Certificates[0].Renews != shown.Certificates[1].Hex {
		t.Errorf("%+v", shown)
	}
	for _, crt := range shown.Certificates {
		if crt.RevokedAt.IsZero() {
			t.Errorf("%s is not revoked", crt.Serial)
		}
	}
	if by := show("--serial", retired.Newest); by.ID != retired.ID {
		t.Errorf("by serial: %+v", by)
	}
	if text := manages(t, "lineage", "show", "--db", db, web.ID); strings.Count(text, "serial ") != 4 || !strings.Contains(text, "forks: 1") {
		t.Error(text)
	}

	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no lineage":         {[]string{"show", "--db", db, "12345"}, "no lineage 12345"},
		"not an id":          {[]string{"show", "--db", db, "web"}, `"web" is not the id of a lineage`},
		"none named":         {[]string{"show", "--db", db}, "which lineage"},
		"two":                {[]string{"show", "--db", db, web.ID, gone.ID}, "which lineage"},
		"both ways":          {[]string{"show", "--db", db, "--serial", "1", web.ID}, "which lineage"},
		"no certificate":     {[]string{"show", "--db", db, "--serial", "0x1234567890"}, "no certificate"},
		"not that authority": {[]string{"show", "--db", db, "--authority", "cau", web.ID}, "no lineage"},
		"no authority":       {[]string{"list", "--db", db, "--authority", "nobody"}, "nobody"},
		"an argument":        {[]string{"list", "--db", db, "web"}, "unexpected argument: web"},
	} {
		if out := managesNot(t, append([]string{"lineage"}, test.args...)...); !strings.Contains(out, test.want) {
			t.Errorf("%s: %s", name, out)
		}
	}
}

// The log is found by what people know: a name, a lineage, a serial. What is misspelt is no empty list.
func TestManageAuditByLineage(t *testing.T) {
	db := layout3(t)
	entries := func(args ...string) (list []entryJSON) {
		t.Helper()
		var last int64
		for line := range strings.Lines(manages(t, append([]string{"audit", "--db", db, "--json"}, args...)...)) {
			var e entryJSON
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatal(err)
			}
			if e.Seq <= last && !slices.Contains(args, "--newest") {
				t.Errorf("%v: entry %d after %d", args, e.Seq, last)
			}
			list, last = append(list, e), e.Seq
		}
		return list
	}
	actions := func(list []entryJSON) (names []string) {
		for _, e := range list {
			names = append(names, e.Action)
		}
		slices.Sort(names)
		return slices.Compact(names)
	}
	web := lineagesOf(t, "--db", db, "--all", "--forked")[0]
	of := entries("--lineage", web.ID)
	if got := actions(of); !slices.Equal(got, []string{"crt.renew", "crt.sign", "csr.submit", "lineage.fork"}) {
		t.Errorf("of the lineage: %q", got)
	}
	for _, e := range of {
		if e.Action == "crt.renew" && (e.ActorSubject != "CN=web" || e.ObjectSubject != "CN=web") {
			t.Errorf("subjects %q, %q", e.ActorSubject, e.ObjectSubject)
		}
		if e.Action == "crt.sign" && e.ActorSubject != "CN=admin" {
			t.Errorf("signed by %q", e.ActorSubject)
		}
	}
	if found := entries("--subject", "WEB.example.org"); !slices.Equal(found, of) {
		t.Errorf("by name: %v, want %v", found, of)
	}
	if found := entries("--subject", "web", "--action", "CRT-renew", "--newest", "--limit", "2"); len(found) != 2 || found[0].Seq < found[1].Seq {
		t.Errorf("the last two renewals: %v", found)
	}
	if found := entries("--serial", web.Newest); len(found) == 0 || len(found) >= len(of) {
		t.Errorf("of a certificate: %v", found)
	}
	// Several at once, each entry once.
	several := entries("--subject", "example.org")
	if len(several) <= len(of) || !slices.Contains(actions(several), "lineage.end") {
		t.Errorf("of several: %v", several)
	}
	if text := manages(t, "audit", "--db", db, "--lineage", web.ID); !strings.Contains(text, "by web, holder serial=0x") {
		t.Error(text)
	}
	if len(entries("--since", "30000d")) != len(entries()) || len(entries("--since", "1s")) != 0 {
		t.Error("since")
	}

	for name, test := range map[string]struct {
		args []string
		want []string
	}{
		"unknown action":      {[]string{"--action", "crt.revok"}, []string{`--action: "crt.revok" is not one of`, "did you mean crt.revoke?"}},
		"unknown actor":       {[]string{"--actor-kind", "usr"}, []string{"--actor-kind", "did you mean user?"}},
		"unknown object":      {[]string{"--object-kind", "lineages"}, []string{"--object-kind", "did you mean lineage?"}},
		"unknown subject":     {[]string{"--subject", "nobody.example"}, []string{"--subject", "in none of"}},
		"not a lineage":       {[]string{"--lineage", "web"}, []string{"--lineage", "not the id"}},
		"not a serial":        {[]string{"--serial", "web"}, []string{"--serial"}},
		"lineage and subject": {[]string{"--lineage", "1", "--subject", "web"}, []string{"one of them at a time"}},
		"not a time":          {[]string{"--since", "30 moons"}, []string{"--since"}},
	} {
		out := managesNot(t, append([]string{"audit", "--db", db}, test.args...)...)
		for _, want := range test.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: %s lacks %q", name, out, want)
			}
		}
	}
}
