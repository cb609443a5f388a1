package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A form is how results are written.
type form func(io.Writer, *results) error

// peersCache is where make bench-peers puts programs of others.
const peersCache = ".cache/peers"

// parse reads the command line.
func parse(args []string, stderr io.Writer) (s settings, f form, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var names []string
	for _, g := range groups() {
		names = append(names, g.name)
	}
	flags.StringVar(&s.groups, "rows", ".*", "`EXPRESSION` for the groups of rows to measure: "+strings.Join(names, ", "))
	engines := flags.String("engines", sqliteEngine+","+postgresEngine, "`LIST` of databases to measure")
	flags.StringVar(&s.caucase, "caucase", os.Getenv("CAUCASE_VENV"), "`FOLDER` of a virtual environment with caucase, to be measured, too (CAUCASE_VENV)")
	flags.StringVar(&s.stepCA, "step-ca", findStepCA(), "`PROGRAM` to be measured by turns with ours; empty: none")
	flags.StringVar(&s.daemon, "cauased", "", "`PROGRAM` to measure (default: it is built)")
	flags.StringVar(&s.agent, "updater", "", "`PROGRAM` to measure as the agent (default: it is built)")
	flags.StringVar(&s.parent, "dir", ".cache", "`FOLDER` to keep databases in, on the file system that is to be measured")
	flags.IntVar(&s.clients, "clients", 32, "`COUNT` of clients at once")
	flags.IntVar(&s.requests, "requests", 5000, "`COUNT` of operations in each load")
	flags.IntVar(&s.rsaRequests, "rsa-requests", 2000, "`COUNT` of those with RSA keys")
	flags.IntVar(&s.fetches, "fetches", 50_000, "`COUNT` of fetches of a small list")
	flags.IntVar(&s.repeats, "repeats", 5, "`COUNT` of repetitions, of which medians are printed")
	flags.DurationVar(&s.limit, "limit", 5*time.Minute, "`DURATION` after which a load has failed")
	flags.DurationVar(&s.probe, "probe", time.Second, "`DURATION` for which each limit of the machine is measured")
	flags.IntVar(&s.issuances, "issuances", 100_000, "`COUNT` of certificates after which memory is looked at")
	flags.IntVar(&s.stored, "stored", 5_000_000, "`COUNT` of certificates with which renewals are compared with those of an empty database")
	flags.IntVar(&s.startStored, "start-certificates", 1_000_000, "`COUNT` of certificates with which a daemon is started")
	flags.IntVar(&s.startRevoked, "start-revoked", 100_000, "`COUNT` of these that are revoked")
	flags.IntVar(&s.agentJobs, "agent-jobs", 1000, "`COUNT` of certificates of one agent")
	flags.DurationVar(&s.idle, "idle", 30*time.Second, "`DURATION` for which an idle agent is looked at")
	lists := flags.String("revocations", "100000,1000000", "`LIST` of sizes of revocation lists")
	sizes := flags.String("growth", "", "`LIST` of growing numbers of certificates, such as 10000,100000,1000000,5000000: what becomes of rate, lists, memory, start and size")
	flags.StringVar(&s.svg, "svg", "", "`FILE` for the curves of -growth")
	flags.StringVar(&s.profiles, "profile", "", "`FOLDER` for profiles of the processor time and the allocations of renewals and of enrolments, on the first engine")
	asJSON := flags.Bool("json", false, "write JSON")
	asPage := flags.Bool("markdown", false, "write the tables of docs/performance.md")
	if err := flags.Parse(args); err != nil {
		return s, nil, err
	}
	if flags.NArg() > 0 {
		return s, nil, fmt.Errorf("there are no arguments, but %q", flags.Args())
	}
	s.engines = strings.Split(*engines, ",")
	for _, engine := range s.engines {
		if engine != sqliteEngine && engine != postgresEngine {
			return s, nil, fmt.Errorf("-engines: %q is neither %s nor %s", engine, sqliteEngine, postgresEngine)
		}
	}
	var err1, err2 error
	s.revocations, err1 = numbers("revocations", *lists)
	s.growth, err2 = numbers("growth", *sizes)
	f = writeText
	switch {
	case *asJSON:
		f = writeJSON
	case *asPage:
		f = writePage
	}
	return s, f, errors.Join(err1, err2, s.check())
}

func numbers(name, list string) (found []int, err error) {
	if list == "" {
		return nil, nil
	}
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("-%s: %q is no number above 0", name, text)
		}
		found = append(found, n)
	}
	return found, nil
}

// check bounds what a run may take.
func (s settings) check() error {
	for name, n := range map[string]int{
		"clients": s.clients, "requests": s.requests, "rsa-requests": s.rsaRequests, "fetches": s.fetches, "repeats": s.repeats,
		"issuances": s.issuances, "stored": s.stored, "start-certificates": s.startStored, "start-revoked": s.startRevoked, "agent-jobs": s.agentJobs,
	} {
		if n < 1 {
			return fmt.Errorf("-%s: %d is no number above 0", name, n)
		}
	}
	switch {
	case s.clients > 400:
		return fmt.Errorf("-clients: %d is more than the 400 that may be connected", s.clients)
	case !slices.IsSorted(s.growth):
		return errors.New("-growth: the numbers have to grow")
	case s.svg != "" && len(s.growth) < 2:
		return errors.New("-svg: there are curves only of two numbers or more of -growth")
	case s.startRevoked > s.startStored:
		return fmt.Errorf("-start-revoked: %d is more than there are certificates", s.startRevoked)
	case s.limit <= 0 || s.probe <= 0 || s.idle <= 0:
		return errors.New("-limit, -probe and -idle have to be above 0")
	}
	return nil
}

// findStepCA finds step-ca in PATH or the cache.
func findStepCA() string {
	for _, candidate := range []string{"step-ca", filepath.Join(peersCache, "step-ca")} {
		if found, err := exec.LookPath(candidate); err == nil {
			if absolute, err := filepath.Abs(found); err == nil {
				return absolute
			}
		}
	}
	return ""
}
