package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/updater"
)

// survive keeps signals from ending this process. What it starts gets them as usual, unlike if they were ignored.
func survive(signals ...os.Signal) {
	signal.Notify(make(chan os.Signal, 1), signals...)
}

// start does what a checked command line asks for.
func start(c *urfave.Context, clk clock.Clock, stdout, stderr io.Writer) error {
	once, status, refresh := c.Bool(flagOnce), c.Bool(flagStatus), c.Bool(flagRefresh)
	if once && status || once && refresh || status && refresh {
		return fmt.Errorf("--%s, --%s and --%s exclude each other", flagOnce, flagStatus, flagRefresh)
	}
	if !status {
		// Neither a terminal that was closed nor a log that nobody reads any more ends work on the files.
		survive(syscall.SIGHUP, syscall.SIGPIPE)
	}
	log, err := newLogger(c.String(flagLog), stderr)
	if err != nil {
		return err
	}
	load, err := loader(c)
	if err != nil {
		return err
	}
	jobs, err := load()
	if err != nil {
		return advise(err)
	}
	options := updater.Options{Clock: clk, Log: log, UserAgent: tool + "/" + strings.Trim(cli.Version(), "()")}
	switch {
	case status:
		all, err := updater.Look(options, jobs)
		if err != nil {
			return advise(err)
		}
		return report(stdout, all, clk.Now(), c.Bool(flagJSON))
	case once:
		return runToEnd(c, updater.Once, options, jobs, stdout, clk)
	case refresh:
		return runToEnd(c, updater.Refresh, options, jobs, stdout, clk)
	}
	s := &service{load: load, config: c.String(flagConfig), jobs: jobs, options: options, log: log, clock: clk}
	return s.run(c.Context, c.String(flagMetrics))
}

// loader returns what reads the jobs, now and again.
func loader(c *urfave.Context) (func() ([]updater.Job, error), error) {
	path := c.String(flagConfig)
	if path == "" {
		return func() ([]updater.Job, error) {
			common := &machine{path: machineFile}
			r, name, err := common.under(fromFlags(c), func(setting string) string { return cli.NameOf(c, setting) })
			if err != nil {
				return nil, err
			}
			job, err := r.job(name)
			return []updater.Job{job}, common.explainMissing(err)
		}, nil
	}
	if given := jobFlagsGiven(c); len(given) > 0 {
		return nil, cli.WithHint(fmt.Errorf("%s beside --%s", strings.Join(given, ", "), flagConfig),
			"with a configuration file, write these settings into it: at its top for all jobs, or below one [[job]]")
	}
	return func() ([]updater.Job, error) { return readConfig(path) }, nil
}

func newLogger(format string, w io.Writer) (*slog.Logger, error) {
	options := &slog.HandlerOptions{Level: slog.LevelInfo}
	format, err := cli.Choice("--"+flagLog, format, logFormats)
	switch {
	case err != nil:
		return nil, err
	case format == "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return slog.New(slog.NewTextHandler(w, options)), nil
}

// runToEnd has jobs do something that ends, and reports how they do then. What it returns says what is wrong with a job,
// so that the report and the log need not.
func runToEnd(c *urfave.Context, do func(context.Context, updater.Options, []updater.Job) ([]updater.Status, error),
	options updater.Options, jobs []updater.Job, stdout io.Writer, clk clock.Clock) error {
	ctx, stop := signal.NotifyContext(c.Context, syscall.SIGTERM, os.Interrupt)
	defer stop()
	options.Reported = true
	all, err := do(ctx, options, jobs)
	if len(all) == 0 && err != nil {
		return advise(err)
	}
	return errors.Join(reportOutcome(stdout, all, clk.Now(), c.Bool(flagJSON)), advise(err))
}

// advise adds what the reader of an error can do about it.
func advise(err error) error {
	if errors.Is(err, updater.ErrLocked) {
		return cli.WithHint(err, "is %s running already? --status works beside it", tool)
	}
	if errors.Is(err, updater.ErrNoAgent) {
		return cli.WithHint(err, "start one, or use --%s", flagOnce)
	}
	if hint := updater.Hint(err); hint != "" {
		return cli.WithHint(err, "%s", hint)
	}
	return err
}

// A service is the agent with what is around it: signals, configuration, systemd, metrics.
type service struct {
	load    func() ([]updater.Job, error)
	config  string // path, "" if there is none
	jobs    []updater.Job
	options updater.Options
	log     *slog.Logger
	clock   clock.Clock

	agent   *updater.Agent
	changed chan struct{}
}

func (s *service) run(ctx context.Context, metrics string) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt, syscall.SIGHUP)
	defer signal.Stop(signals)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	s.changed = make(chan struct{}, 1)
	s.options.OnStatus = func() {
		select {
		case s.changed <- struct{}{}:
		default:
		}
	}
	s.agent = updater.New(s.options)
	exporter, err := listen(ctx, metrics, s)
	if err != nil {
		return err
	}
	defer exporter.close()
	var print string
	if s.config != "" {
		print = updater.Fingerprint(s.config)
	}
	if err := s.agent.Start(ctx, s.jobs); err != nil {
		return advise(err)
	}
	exporter.serve(s.log)
	s.log.Info(tool+" has started", "version", cli.Version(), "jobs", len(s.jobs))
	s.notify(systemd.SdNotifyReady + "\nSTATUS=started")

	events, stopWatching := updater.Watch([]string{s.config}, s.log)
	defer stopWatching()
	ticks := s.ticks()
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return s.end(cancel)
		case got := <-signals:
			if got != syscall.SIGHUP {
				s.log.Info("ending", "signal", got.String())
				return s.end(cancel)
			}
			s.reload("SIGHUP")
			print = s.printed()
			s.log.Info("looking for newer CA certificates and revocation lists", "signal", got.String())
			s.agent.Refresh()
		case <-events:
			if now := s.printed(); now != print {
				print = now
				s.reload("the file has changed")
			}
		case <-s.changed:
			s.notify("STATUS=" + s.agent.Summary())
		case <-ticks.C:
			if s.agent.Alive(aliveWithin) {
				s.notify(systemd.SdNotifyWatchdog)
			}
			if now := s.printed(); now != print {
				print = now
				s.reload("the file has changed")
			}
		}
	}
}

func (s *service) printed() string {
	if s.config == "" {
		return ""
	}
	return updater.Fingerprint(s.config)
}

// aliveWithin is far longer than a job needs between two signs of life.
const aliveWithin = 10 * time.Minute

// ticks come often enough for systemd's watchdog and for a configuration of which no
// events come.
func (s *service) ticks() *time.Ticker {
	every := time.Minute
	if interval, err := systemd.SdWatchdogEnabled(false); err == nil && interval > 0 {
		every = min(every, max(interval/3, 10*time.Millisecond))
	}
	return time.NewTicker(every)
}

func (s *service) notify(state string) {
	if _, err := systemd.SdNotify(false, state); err != nil {
		s.log.Debug("systemd is not to be reached", "error", err.Error())
	}
}

// reload goes on with what the configuration says now, or with what it said before if that
// is not usable.
func (s *service) reload(why string) {
	if s.config == "" {
		return
	}
	s.notify(systemd.SdNotifyReloading + "\n" + systemd.SdNotifyMonotonicUsec())
	defer s.notify(systemd.SdNotifyReady)
	jobs, err := s.load()
	if err == nil {
		err = s.agent.Replace(jobs)
	}
	if err != nil {
		s.log.Error("the new configuration is not usable, the old one stays in force", "why_read", why, "error", cli.Plain(err.Error()))
		s.notify("STATUS=the new configuration is not usable, the old one stays in force")
		return
	}
	s.jobs = jobs
	s.log.Info("configuration has been read again", "why", why, "jobs", len(jobs))
}

func (s *service) end(cancel func()) error {
	s.notify(systemd.SdNotifyStopping)
	cancel()
	s.agent.Wait()
	s.log.Info("ended")
	return nil
}
