package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cauase/pkg/caucase/caucasetest"
	"cauase/pkg/pgtest"
)

func TestImportCaucaseCommand(t *testing.T) {
	dir := t.TempDir()
	source, db := caucasetest.Unpack(t, "0.9.17", dir), filepath.Join(dir, "db.sqlite")
	// Options may stand behind.
	stdout := manages(t, "import-caucase", source, "--db", db)
	for _, want := range []string{
		"cas: 1 CA certificate, the newest is CN=Caucase CAS at 127.0.0.1:18509, valid until 2027-11-28",
		"5 issued certificates, 1 pending request, 3 revocations",
		"the next revocation list has number 5",
		"automatic approval is locked at 1",
		"cauased --db " + db + " --netloc 127.0.0.1:18509\n",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%s\nis not in\n%s", want, stdout)
		}
	}
	_, stderr, code := manageCommand(t.Context(), "import-caucase", "--db", db, source)
	if code != 1 || !strings.Contains(stderr, "something is in "+db+" already") || !strings.Contains(stderr, "hint: give a database that is empty") {
		t.Errorf("%d %s", code, stderr)
	}
	var report importJSON
	other := filepath.Join(dir, "other.sqlite")
	if err := json.Unmarshal([]byte(printsJSON(t, "imported", "import-caucase", "--db", other, source)), &report); err != nil {
		t.Fatal(err)
	}
	if len(report.Authorities) != 3 || report.Authorities[1].Issued != 5 || report.LeftOut == nil || report.Notes == nil {
		t.Errorf("%+v", report)
	}
}

func TestImportCaucaseIntoPostgreSQL(t *testing.T) {
	t.Setenv("CAUASED_KEY_SECRET", filepath.Join(t.TempDir(), "secret"))
	dsn := pgtest.Start(t, pgtest.Options{}).NewDatabase(t)
	source := caucasetest.Unpack(t, "0.9.17", t.TempDir())
	if stdout := manages(t, "import-caucase", "--db", dsn, source); !strings.Contains(stdout, "5 issued certificates, 1 pending request, 3 revocations") {
		t.Error(stdout)
	}
	manages(t, "check", "--db", dsn)
	if _, stderr, code := manageCommand(t.Context(), "import-caucase", "--db", dsn, source); code != 1 || !strings.Contains(stderr, "already") {
		t.Errorf("%d %s", code, stderr)
	}
}

// An option that is the daemon's would be ignored: the command would go to the wrong database.
func TestOptionBeforeManage(t *testing.T) {
	source := caucasetest.Unpack(t, "0.9.17", t.TempDir())
	t.Chdir(t.TempDir())
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{tool, "--db", "mine.sqlite", "manage", "import-caucase", source}, &out, &errs)
	if code != 1 || !strings.Contains(errs.String(), "an option stands before manage") {
		t.Errorf("%d %s", code, errs.String())
	}
	if entries, err := os.ReadDir("."); err != nil || len(entries) > 0 {
		t.Errorf("%v %v", entries, err)
	}
}

func TestImportCommandsRefuse(t *testing.T) {
	dir := t.TempDir()
	source, db := caucasetest.Unpack(t, "0.9.17", dir), filepath.Join(dir, "db.sqlite")
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	junk := write("junk", "hello\n")
	blank := write("blank", "\n")
	there := write("there", "precious")
	made := filepath.Join(dir, "made.sqlite")
	manages(t, "import-caucase", "--db", made, source)
	exported := filepath.Join(dir, "exported.pem")
	passphrase, wrong := write("passphrase", "correct horse\r\nsecond line\n"), write("wrong", "x\n")
	manages(t, "export-ca", "--db", made, "--passphrase-file", passphrase, exported)
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"no path":             {[]string{"import-caucase"}, "the PATH of caucase's database is needed"},
		"two paths":           {[]string{"import-caucase", source, source}, "PATH"},
		"missing":             {[]string{"import-caucase", filepath.Join(dir, "missing")}, "no such file"},
		"not a database":      {[]string{"import-caucase", junk}, "it is not a SQLite database"},
		"ours":                {[]string{"import-caucase", made}, "caucase has no"},
		"itself":              {[]string{"import-caucase", db}, "is the database to import from"},
		"no CA file":          {[]string{"import-ca"}, "one or more files are needed"},
		"junk for a CA":       {[]string{"import-ca", junk}, "neither a key nor a certificate"},
		"wrong passphrase":    {[]string{"import-ca", "--passphrase-file", wrong, exported}, exported + ", block 2: wrong passphrase"},
		"blank passphrase":    {[]string{"import-ca", "--passphrase-file", blank, exported}, "the first line of " + blank + " is empty"},
		"https":               {[]string{"import-ca", "--authority", "https", "--passphrase-file", passphrase, exported}, "makes its CA itself"},
		"other authority":     {[]string{"import-ca", "--authority", "x", exported}, "is not one of"},
		"empty identity":      {[]string{"import-identity", dir}, "ca.cert.pem"},
		"no identity":         {[]string{"import-identity"}, "a directory is needed"},
		"no list":             {[]string{"import-crl"}, "one or more files are needed"},
		"list without a CA":   {[]string{"import-crl", junk}, "give the database of the daemon"},
		"export to nothing":   {[]string{"export-ca"}, "one file is needed"},
		"export without a CA": {[]string{"export-ca", filepath.Join(dir, "x.pem")}, "give the database of the daemon"},
		"export over":         {[]string{"export-ca", there}, "file already exists"},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, code := manageCommand(t.Context(), append(tc.args, "--db", db)...)
			if code != 1 || !strings.Contains(stderr, tc.want) || !strings.HasPrefix(stderr, "cauased: error: ") || stdout != "" {
				t.Errorf("%d\n%s%s", code, stdout, stderr)
			}
			for _, ending := range []string{"", "-wal", "-shm", "-journal"} {
				if _, err := os.Stat(db + ending); err == nil {
					t.Errorf("%s was left", db+ending)
				}
			}
		})
	}
	if data, err := os.ReadFile(there); err != nil || string(data) != "precious" {
		t.Errorf("%q %v", data, err)
	}
}

func TestCACommands(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	manages(t, "import-caucase", "--db", at("made.sqlite"), caucasetest.Unpack(t, "0.9.17", dir))
	if err := os.WriteFile(at("passphrase"), []byte("correct horse"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cau", "cas", "https"} {
		stdout := manages(t, "export-ca", "--db", at("made.sqlite"), "--authority", name, at(name+".pem"), "--passphrase-file", at("passphrase"))
		if !strings.HasPrefix(stdout, name+": exported CN=Cauc") {
			t.Error(stdout)
		}
	}
	stdout := manages(t, "import-ca", at("cas.pem"), "--db", at("new.sqlite"), "--passphrase-file", at("passphrase"))
	if want := "cas: imported CN=Caucase CAS at 127.0.0.1:18509, valid from 2026-11-21 until 2027-11-28\n"; stdout != want {
		t.Errorf("%s, want %s", stdout, want)
	}
	manages(t, "import-ca", at("cau.pem"), "--authority", "cau", "--db", at("new.sqlite"), "--passphrase-file", at("passphrase"))
	_, stderr, code := manageCommand(t.Context(), "import-ca", at("cas.pem"), "--db", at("new.sqlite"), "--passphrase-file", at("passphrase"))
	if code != 1 || !strings.Contains(stderr, "authority cas has a CA certificate") {
		t.Errorf("%d %s", code, stderr)
	}
	list := filepath.Join("..", "testdata", "caucase", "0.9.17", "cas.crl.pem")
	if stdout := manages(t, "import-crl", list, "--db", at("new.sqlite")); stdout != "cas: 1 list with 3 revocations, 0 of them known already; the next list has number 5 or more\n" {
		t.Error(stdout)
	}
	_, stderr, code = manageCommand(t.Context(), "import-crl", "--authority", "cau", list, "--db", at("new.sqlite"))
	if code != 1 || !strings.Contains(stderr, "none of the authority's CAs has signed it") {
		t.Errorf("%d %s", code, stderr)
	}

	// A folder holds certificate and key under names that are agreed.
	whole, err := os.ReadFile(at("cas.pem"))
	if err != nil {
		t.Fatal(err)
	}
	crt, key, _ := strings.Cut(string(whole), "-----END CERTIFICATE-----\n")
	for name, content := range map[string]string{"ca.cert.pem": crt + "-----END CERTIFICATE-----\n", "ca.private_key.pem": key} {
		if err := os.WriteFile(at(name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if stdout := manages(t, "import-identity", dir, "--db", at("identity.sqlite"), "--passphrase-file", at("passphrase")); !strings.Contains(stdout, "cas: imported") {
		t.Error(stdout)
	}
}
