package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
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
func small(t *testing.T, more ...string) []string {
	t.Helper()
	dir := t.TempDir()
	if err := testkit.Build(dir, map[string]string{"cauased": "cauased", "cauase-updater": "updater"}); err != nil {
		t.Fatal(err)
	}
	return append([]string{
		"-dir", dir, "-cauased", filepath.Join(dir, "cauased"), "-updater", filepath.Join(dir, "cauase-updater"), "-caucase", "",
		"-clients", "3", "-requests", "6", "-rsa-requests", "3", "-fetches", "20", "-repeats", "2", "-probe", "1ms",
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
	rows, ratios := measured(t, small(t, "-step-ca", ""))
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
	for _, limit := range []string{limitVerify, limitSign, limitRSA, limitCreate, limitHash, limitAllRSA, limitFlush} {
		expect(t, rows, limit, machineSubject, perSecond)
	}
	if !slices.ContainsFunc(slices.Collect(maps.Keys(ratios)), func(name string) bool { return strings.HasPrefix(name, "CPU of a renewal, new connection, sqlite") }) {
		t.Errorf("no fraction of the limit: %v", ratios)
	}
}

// expect expects that quantities were measured. Processor time comes in units that so little work may not fill.
func expect(t *testing.T, rows map[string]map[string]float64, work, subject string, quantities ...string) {
	t.Helper()
	values := rows[work+" by "+subject]
	for _, quantity := range quantities {
		if v, there := values[quantity]; !there || v <= 0 && quantity != cpuEach {
			t.Errorf("%s by %s: %s is %v (%v)", work, subject, quantity, v, there)
		}
	}
}

// TestPeersAreMeasured does the same with step-ca, where there is one.
func TestPeersAreMeasured(t *testing.T) {
	peer := os.Getenv("CAUASE_STEP_CA")
	if peer == "" {
		t.Skip("NOT TESTED: CAUASE_STEP_CA names no step-ca (make bench-peers)")
	}
	postgres(t)
	rows, ratios := measured(t, small(t, "-rows", "issue", "-step-ca", peer))
	for _, engine := range []string{badgerEngine, postgresEngine} {
		for _, work := range []string{workEnrol, workRenewNew, workRenewKept} {
			expect(t, rows, work, "step-ca "+engine, perSecond, p50, p99, cpuEach)
		}
	}
	if ratios["renewal on a new connection, SQLite, to step-ca with badger"] <= 0 {
		t.Errorf("no ratio: %v", ratios)
	}
}
