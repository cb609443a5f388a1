package main

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cauase/pkg/pgtest"
	"cauase/pkg/testkit"
)

// postgres is asked for where there has to be one.
var postgres = pgtest.Shared(pgtest.Options{})

// small is a command line by which everything is measured once, with next to nothing to do.
func small(t *testing.T, dir string, more ...string) []string {
	t.Helper()
	if err := testkit.Build(dir, map[string]string{"cauased": "cauased", "cauase-updater": "updater"}); err != nil {
		t.Fatal(err)
	}
	return append([]string{
		"-dir", dir, "-cauased", filepath.Join(dir, "cauased"), "-updater", filepath.Join(dir, "cauase-updater"), "-caucase", "",
		"-clients", "3", "-requests", "6", "-rsa-requests", "3", "-fetches", "20", "-repeats", "2", "-probe", "1ms",
		"-revocations", "30", "-issuances", "12", "-stored", "20", "-start-certificates", "10", "-start-revoked", "3", "-agent-jobs", "3", "-idle", "100ms",
		"-growth", "100,400", "-svg", filepath.Join(dir, "growth.svg"), "-profile", filepath.Join(dir, "profiles"),
	}, more...)
}

// measured runs the program and reads what it prints as JSON: what was measured of each work and subject, and the ratios.
func measured(t *testing.T, args []string) (rows map[string]map[string]float64, ratios map[string]float64) {
	t.Helper()
	var out, progress bytes.Buffer
	if code := run(t.Context(), append(args, "-json"), &out, &progress); code != 0 {
		t.Fatalf("exit code %d\n%s", code, &progress)
	}
	var printed struct {
		Rows   []row
		Ratios []verdict
	}
	if err := json.Unmarshal(out.Bytes(), &printed); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	rows, ratios = map[string]map[string]float64{}, map[string]float64{}
	for _, at := range printed.Rows {
		values := map[string]float64{}
		for _, v := range at.Values {
			values[v.Quantity] = v.Median
		}
		rows[at.Work+" by "+at.Subject] = values
	}
	for _, v := range printed.Ratios {
		ratios[v.Name] = v.Value
	}
	return rows, ratios
}

// TestEverythingIsMeasured keeps the program from rotting: it does all that a real run does.
func TestEverythingIsMeasured(t *testing.T) {
	postgres(t)
	dir := t.TempDir()
	rows, ratios := measured(t, small(t, dir, "-step-ca", ""))
	loads := []string{perSecond, p50, p99, cpuEach}
	for _, engine := range []string{sqliteEngine, postgresEngine} {
		for _, work := range []string{workEnrol, workRenewNew, workRenewKept} {
			expect(t, rows, work, ours(engine), loads...)
		}
		expect(t, rows, limitCommits, engine, perSecond)
		expect(t, rows, workAfterLoad, ours(engine), residentMiB, sharedMiB, peakMiB)
	}
	for _, work := range []string{workEnrol, workRenewNew, workRenewKept} {
		expect(t, rows, work+rsaSuffix, ours(sqliteEngine), loads...)
	}
	for _, work := range []string{workSmallList, workNotModified} {
		expect(t, rows, work, ours(sqliteEngine), loads...)
	}
	expect(t, rows, workListAfter+"30", ours(sqliteEngine), milliseconds, longestWait, cpuEach, bareWork)
	expect(t, rows, workListRestart+"30", ours(sqliteEngine), milliseconds)
	expect(t, rows, workReady, ours(sqliteEngine)+", 10 certificates, 3 revoked", milliseconds, residentMiB)
	expect(t, rows, workMemoryRest, ours(sqliteEngine), residentMiB)
	expect(t, rows, workMemoryAfter+"12", ours(sqliteEngine), residentMiB)
	for _, jobs := range []string{"1", "3"} {
		expect(t, rows, workAgent+jobs, agentSubject, residentMiB, untilCalm)
	}
	for _, engine := range []string{sqliteEngine, postgresEngine} {
		expect(t, rows, workStored, ours(engine)+", full", loads...)
		expect(t, rows, workStored, ours(engine)+", empty", loads...)
	}
	for _, size := range []string{"100", "400"} {
		expect(t, rows, workGrowth+size, ours(sqliteEngine), perSecond, startMs, listMs, residentMiB, sizeMB)
	}
	checkDrawing(t, filepath.Join(dir, "growth.svg"))
	for _, work := range []string{workEnrol, workRenewNew} {
		expect(t, rows, work, profiledSubject(sqliteEngine), allocations, allocatedKB)
	}
	for _, name := range []string{cpuProfile, allocProfile, "enrolment-" + cpuProfile, "enrolment-" + allocProfile} {
		if info, err := os.Stat(filepath.Join(dir, "profiles", name)); err != nil || info.Size() < 100 {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, limit := range []string{limitVerify, limitSign, limitRSA, limitCreate, limitHash, limitAllRSA, limitFlush} {
		expect(t, rows, limit, machineSubject, perSecond)
	}
	if !slices.ContainsFunc(slices.Collect(maps.Keys(ratios)), func(name string) bool { return strings.HasPrefix(name, "CPU of a renewal, new connection, sqlite") }) {
		t.Errorf("no fraction of the limit: %v", ratios)
	}
}

// checkDrawing reads the curves as XML: six of them, with both points each.
func checkDrawing(t *testing.T, path string) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	elements := map[string]int{}
	for d := xml.NewDecoder(file); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok {
			elements[e.Name.Local]++
		}
	}
	if elements["polyline"] != 6 || elements["circle"] != 12 {
		t.Errorf("the drawing has %v", elements)
	}
}

// expect expects that quantities were measured.
func expect(t *testing.T, rows map[string]map[string]float64, work, subject string, quantities ...string) {
	t.Helper()
	values := rows[work+" by "+subject]
	for _, quantity := range quantities {
		if v, there := values[quantity]; !there || v <= 0 && quantity != databaseCPU {
			t.Errorf("%s by %s: %s is %v (%v)", work, subject, quantity, v, there)
		}
	}
}

// TestFilledDatabaseIsSound has the daemon's own check look at what was added without it.
func TestFilledDatabaseIsSound(t *testing.T) {
	dir := t.TempDir()
	if err := testkit.Build(dir, map[string]string{"cauased": "cauased"}); err != nil {
		t.Fatal(err)
	}
	s, _, err := parse([]string{"-dir", dir, "-cauased", filepath.Join(dir, "cauased"), "-requests", "2"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{settings: s, dir: dir, results: &results{}, progress: io.Discard}
	d, err := b.filled(t.Context(), sqliteEngine, 2, filling{certificates: 45, revoked: 15, unrecorded: 10, sample: 7, batch: 8})
	if err != nil {
		t.Fatal(err)
	}
	if len(d.hosts) != 7 {
		t.Errorf("a sample of %d, want 7", len(d.hosts))
	}
	p, err := d.renewal(false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.load(d.servers()...).run(t.Context(), p); err != nil {
		t.Errorf("what was added cannot be renewed: %v", err)
	}
	der, err := d.public.once(t.Context(), request("GET", d.listPath(), d.host, "", nil), 200)
	if err != nil {
		t.Fatal(err)
	}
	if list, err := x509.ParseRevocationList(der.body); err != nil || len(list.RevokedCertificateEntries) != 25 {
		t.Errorf("the list has %d entries, want 25: %v", len(list.RevokedCertificateEntries), err)
	}
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(b.daemon, "manage", "check", "--db", d.database.dsn, "--key-secret", d.database.secret).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "0 errors, 0 warnings") {
		t.Errorf("manage check: %v\n%s", err, out)
	}
}

// TestPeersAreMeasured does the same with step-ca, where there is one.
func TestPeersAreMeasured(t *testing.T) {
	peer := os.Getenv("CAUASE_STEP_CA")
	if peer == "" {
		t.Skip("NOT TESTED: CAUASE_STEP_CA names no step-ca (make bench-peers)")
	}
	postgres(t)
	rows, ratios := measured(t, small(t, t.TempDir(), "-rows", "issue", "-step-ca", peer))
	for _, engine := range []string{badgerEngine, postgresEngine} {
		for _, work := range []string{workEnrol, workRenewNew, workRenewKept} {
			expect(t, rows, work, "step-ca "+engine, perSecond, p50, p99, cpuEach)
		}
	}
	if ratios["renewal on a new connection, SQLite, to step-ca with badger"] <= 0 {
		t.Errorf("no ratio: %v", ratios)
	}
}
