// Program bench measures cauased, and what it can be compared with, by a load on loopback: rates, latencies, processor time
// and memory, beside what the machine can do at all. docs/performance.md says how to use it.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Settings say what is measured, and how long.
type settings struct {
	groups  string // expression that names of groups match
	engines []string
	caucase string // virtual environment of the reference; empty: it is not measured
	stepCA  string // program; empty: it is not measured
	daemon  string // programs of ours; empty: they are built
	agent   string
	parent  string // of the folder with all data; the file system is a part of what is measured

	clients     int
	requests    int // in one load
	rsaRequests int
	fetches     int
	repeats     int
	limit       time.Duration // of one load
	probe       time.Duration // for each limit of the machine

	issuances    int   // in the group memory
	revocations  []int // sizes of lists
	stored       int   // certificates of the group stored
	startStored  int   // certificates of the group start
	startRevoked int
	agentJobs    int
	idle         time.Duration // for which an agent is looked at
	growth       []int         // numbers of certificates; none: no curves
	svg          string        // file for the curves
	profiles     string        // folder for profiles; empty: none
}

// A bench is one run.
type bench struct {
	settings
	dir      string
	results  *results
	prober   *prober
	postgres cluster
	progress io.Writer
	folders  int

	environment []string // of daemons, beside our own
}

// A group is rows of the results that are measured together.
type group struct {
	name string
	run  func(*bench, context.Context) error
}

func groups() []group {
	return []group{
		{"issue", (*bench).issuing},
		{"rsa", (*bench).issuingRSA},
		{"list", (*bench).smallLists},
		{"lists", (*bench).longLists},
		{"start", (*bench).starting},
		{"memory", (*bench).remembering},
		{"agent", (*bench).agents},
		{"stored", (*bench).storing},
		{"growth", (*bench).growing},
		{"profile", (*bench).profiling},
	}
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.progress, format+"\n", args...) }

// folder makes a folder for the data of one server.
func (b *bench) folder(name string) (string, error) {
	b.folders++
	dir := filepath.Join(b.dir, fmt.Sprintf("%02d-%s", b.folders, name))
	return dir, os.Mkdir(dir, 0o700)
}

func (b *bench) load(servers ...*process) load {
	return load{clients: b.clients, limit: b.limit, servers: servers}
}

// limits measures the machine once more.
func (b *bench) limits(ctx context.Context) error {
	if err := b.prober.computing(); err != nil {
		return err
	}
	if err := b.prober.flushing(); err != nil {
		return err
	}
	for _, engine := range b.engines {
		measure := b.prober.commitsSQLite
		if engine == postgresEngine {
			db, err := b.postgres.newDatabase(ctx)
			if err != nil {
				return err
			}
			measure = func(ctx context.Context) error { return b.prober.commitsPostgres(ctx, db.dsn) }
		}
		if err := measure(ctx); err != nil {
			return err
		}
	}
	return nil
}

// measure runs all groups that are wanted.
func measure(ctx context.Context, s settings, progress io.Writer) (r *results, err error) {
	wanted, err := regexp.Compile("^(" + s.groups + ")$")
	if err != nil {
		return nil, err
	}
	b := &bench{settings: s, results: &results{}, progress: progress}
	if b.dir, err = newFolder(s.parent); err != nil {
		return nil, err
	}
	defer os.RemoveAll(b.dir)
	if err := b.build(); err != nil {
		return nil, err
	}
	if b.prober, err = newProber(s.probe, b.dir, b.results); err != nil {
		return nil, err
	}
	defer func() {
		if closing := b.postgres.close(); err == nil {
			err = closing
		}
	}()
	for _, g := range groups() {
		if !wanted.MatchString(g.name) {
			continue
		}
		b.say("== %s", g.name)
		if err := g.run(b, ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", g.name, err)
		}
	}
	return b.results, nil
}

// newFolder makes the folder of a run. Servers are started in folders of their own, so that it has to be absolute.
func newFolder(parent string) (string, error) {
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", err
	}
	absolute, err := filepath.Abs(parent)
	if err != nil {
		return "", err
	}
	return os.MkdirTemp(absolute, "cauase-bench-")
}

// build builds the programs that were not given, as they are shipped.
func (b *bench) build() error {
	for program, folder := range map[*string]string{&b.daemon: "cauased", &b.agent: "updater"} {
		if *program != "" {
			continue
		}
		*program = filepath.Join(b.dir, folder)
		if err := goBuild(*program, "cauase/"+folder); err != nil {
			return err
		}
	}
	return nil
}

// goBuild builds a program without a C compiler, as make build does.
func goBuild(program, pkg string, flags ...string) error {
	build := exec.Command("go", slices.Concat([]string{"build", "-trimpath"}, flags, []string{"-o", program, pkg})...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, form, err := parse(args, stderr)
	switch {
	case err == flag.ErrHelp:
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "bench: error: %s\n", strings.TrimSpace(err.Error()))
		return 2
	}
	r, err := measure(ctx, s, stderr)
	if err == nil {
		err = form(stdout, r)
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench: error: %v\n", err)
		return 1
	}
	return 0
}
