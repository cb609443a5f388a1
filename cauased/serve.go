package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/ca"
	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/daemon"
	"cauase/pkg/server"
	"cauase/pkg/store"
)

// serve runs the daemon until it is told to end: by one signal gently, by another later at once.
func serve(c *urfave.Context, clk clock.Clock, stdout, stderr io.Writer) error {
	cfg, err := readOptions(c)
	if err != nil {
		return err
	}
	err = serveAs(c, cfg, clk, stdout, stderr)
	if cfg.logJSON {
		return cli.InLog(err)
	}
	return err
}

func serveAs(c *urfave.Context, cfg serveOptions, clk clock.Clock, stdout, stderr io.Writer) error {
	cfg.Lists = limitMemory(os.Getenv)
	buffer := server.NewLogBuffer(stderr)
	log := newLogger(cfg, buffer)
	ctx, force, hangups, release := withSignals(c.Context, log)
	defer release()
	defer buffer.Flush() // while nobody who has stopped reading can end us

	d, err := daemon.Start(ctx, cfg.Config, clk, log)
	if err != nil {
		if ctx.Err() != nil {
			return nil // told to end before it had begun
		}
		return explainStart(err)
	}
	returnMemory()
	err = announce(ctx, d, cfg, log, stdout)
	if err == nil {
		reloaded := onHangup(ctx, hangups, func() { cfg.file.reload(ctx, d, log, reloadable(c)) })
		err = d.Run(ctx, force)
		<-reloaded
	}
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	if err == nil && force.Err() != nil {
		err = fmt.Errorf("ended by a second signal: requests under way were cut off")
	}
	if err == nil {
		log.Info("stopped")
	} else {
		log.Error("stopped", "error", err)
	}
	return err
}

// withSignals returns two contexts that end with parent: the first at the first SIGTERM
// or SIGINT too, the second at another one that does not come together with it. SIGHUP ends nothing, and comes out of hangups; nor does SIGPIPE: a terminal that was closed and a reader
// of the log that has died are no reason to issue no certificates.
func withSignals(parent context.Context, log *slog.Logger) (first, second context.Context, hangups <-chan os.Signal, release func()) {
	first, endFirst := context.WithCancel(parent)
	// A parent that ends asks for a gentle end.
	second, endSecond := context.WithCancel(context.WithoutCancel(parent))
	signals, terminals, pipes := make(chan os.Signal, 2), make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	signal.Notify(terminals, syscall.SIGHUP)
	signal.Notify(pipes, syscall.SIGPIPE) // which would otherwise come of writing to a closed stderr, and end us
	done := make(chan struct{})
	go heedStops(signals, done, log, endFirst, endSecond)
	return first, second, terminals, func() {
		signal.Stop(signals)
		signal.Stop(terminals)
		signal.Stop(pipes)
		close(done)
		endFirst()
		endSecond()
	}
}

// oneStop is how long further signals are taken for the first: a supervisor, a wrapper and a terminal may each send one for the
// same command, to the process and to its group. Nobody who waits in vain gets impatient sooner.
const oneStop = time.Second

// heedStops ends what the first signal ends, and what the second does, which comes later than oneStop after it.
func heedStops(signals <-chan os.Signal, done <-chan struct{}, log *slog.Logger, endFirst, endSecond func()) {
	select {
	case signal := <-signals:
		log.Info("told to stop: nothing new is accepted, and requests under way are finished", "signal", signal.String())
		endFirst()
	case <-done:
		return
	}
	later := time.NewTimer(oneStop)
	defer later.Stop()
	for again := false; ; {
		select {
		case <-later.C:
			again = true
		case signal := <-signals:
			if again {
				log.Info("told to stop again: requests under way are cut off", "signal", signal.String())
				endSecond()
				return
			}
			log.Debug("told to stop twice at once, which counts once", "signal", signal.String())
		case <-done:
			return
		}
	}
}

func newLogger(cfg serveOptions, to *server.LogBuffer) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.logLevel}
	if cfg.logJSON {
		return slog.New(to.Handler(slog.NewJSONHandler(to, options)))
	}
	return slog.New(to.Handler(slog.NewTextHandler(to, options)))
}

// explainStart says which flag an error is about, and what can be done.
func explainStart(err error) error {
	var setting *daemon.SettingError
	if !errors.As(err, &setting) {
		return hintTokens(err)
	}
	flagged := fmt.Errorf("--%s: %w", setting.Setting, setting.Err)
	switch {
	case setting.Setting == daemon.Bind && isElsewhere(setting.Err):
		// Behind NAT, in a cloud or in a container the name is that of another machine.
		return cli.WithHint(fmt.Errorf("cannot listen: %w", setting.Err),
			"if the name stands for another machine, such as a router that forwards to this one: --%s 0.0.0.0 --%s :: listens on all addresses of this one", flagBind, flagBind)
	case setting.Setting == daemon.Bind:
		return cli.WithHint(fmt.Errorf("cannot listen: %w", setting.Err),
			"--%s and --%s choose where to listen; port 80 needs privileges", flagBind, flagBasePort)
	case setting.Setting == daemon.MetricsBind:
		return cli.WithHint(fmt.Errorf("cannot listen: %w", setting.Err), "--%s chooses where metrics are served", flagMetrics)
	case errors.Is(err, store.ErrNewerSchema):
		return cli.WithHint(flagged, "use the version of cauased that it was last used with, or a later one")
	case setting.Setting == daemon.FirstUser:
		return cli.WithHint(flagged, "--%s chooses another place for the invitation for the first user", flagFirstUser)
	case setting.Setting == daemon.CORSKeyStore:
		return cli.WithHint(flagged, "if this file is not needed, move it away: users will be asked for their consent again")
	}
	return hintTokens(flagged)
}

// isElsewhere reports whether err means that an address is not one of this machine, or that a name has none.
func isElsewhere(err error) bool {
	var dns *net.DNSError
	return errors.Is(err, syscall.EADDRNOTAVAIL) || errors.As(err, &dns)
}

// announce says, once everything is open, what is served and what to do next: on w, or in a log that machines read.
func announce(ctx context.Context, d *daemon.Daemon, cfg serveOptions, log *slog.Logger, w io.Writer) error {
	users, err := fingerprint(ctx, d, store.Users)
	if err != nil {
		return err
	}
	services, err := fingerprint(ctx, d, store.Services)
	if err != nil {
		return err
	}
	var addresses []string
	for _, a := range d.Listening() {
		addresses = append(addresses, a.String())
	}
	next, err := nextStep(ctx, d, cfg.Config, users, services)
	if err != nil {
		return err
	}
	if cfg.logJSON {
		log.InfoContext(ctx, "serving", "version", cli.Version(), "http", cfg.Netloc.HTTP(), "https", cfg.Netloc.HTTPS(),
			"listening", addresses, "user_ca", users, "service_ca", services)
		if next != "" {
			log.InfoContext(ctx, next)
		}
		return nil
	}
	var out strings.Builder
	fmt.Fprintf(&out, "cauased %s serves %s and %s\n", cli.Version(), cfg.Netloc.HTTP(), cfg.Netloc.HTTPS())
	fmt.Fprintf(&out, "  listening:     %s\n", strings.Join(addresses, ", "))
	fmt.Fprintf(&out, "  user CA:       %s\n", users)
	fmt.Fprintf(&out, "  service CA:    %s\n", services)
	if next != "" {
		fmt.Fprintf(&out, "%s\n", next)
	}
	if _, err := io.WriteString(w, out.String()); err != nil {
		log.WarnContext(ctx, "what is served could not be printed", "error", err) // nobody may be there to read it
	}
	return nil
}

// nextStep says what is to be done while there is no user yet, and nothing later.
func nextStep(ctx context.Context, d *daemon.Daemon, cfg daemon.Config, users, services string) (string, error) {
	first, err := d.NoUserYet(ctx)
	if err != nil {
		return "", err
	}
	host, invitation, until := d.FirstUser()
	switch {
	case !first:
	case cfg.Users.AutoApprove > 0:
		return fmt.Sprintf("Next, become the first user, before others do: the request is approved without asking, whoever sends it:\n"+
			"  %s --ca-url %s --ca-fingerprint %s --ca-fingerprint %s --mode user request --cn \"$(id -un)\" --crt user.pem",
			clientCommand(), cfg.Netloc.HTTP(), users, services), nil
	case until.IsZero():
	case host != "":
		return fmt.Sprintf("Next, become the first user, by the invitation that is in %s on %s until %s.\n"+
			"If it is lost, \"%s manage invite --authority cau\" makes another.", invitation, host, until.Format(time.RFC3339), tool), nil
	default:
		return fmt.Sprintf("Next, become the first user, by an invitation that is good once, until %s:\n"+
			"  %s --ca-url %s request --cn \"$(id -un)\" --invite %s --crt user.pem",
			until.Format(time.RFC3339), clientCommand(), cfg.Netloc.HTTP(), shellWord(invitation)), nil
	}
	return "", nil
}

// shellWord is how a shell is told a word.
func shellWord(word string) string {
	if strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+,:@") == "" && word != "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// clientCommand is how to call the client from here: by its name if that is found, else by the
// place beside this program, where make puts it.
func clientCommand() string {
	const name = "cauase"
	if _, err := exec.LookPath(name); err == nil {
		return name
	}
	self, err := os.Executable()
	if err != nil {
		return name
	}
	beside := filepath.Join(filepath.Dir(self), name)
	if _, err := os.Stat(beside); err != nil {
		return name
	}
	if here, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(here, beside); err == nil && !strings.HasPrefix(rel, "..") {
			return "./" + rel
		}
	}
	return beside
}

// fingerprint is that of the CA certificate which a new client of the authority meets first.
func fingerprint(ctx context.Context, d *daemon.Daemon, name store.AuthorityName) (string, error) {
	a, ok := d.Authority(name)
	if !ok {
		return "", fmt.Errorf("there is no authority %s", name)
	}
	crts, err := a.CACertificates(ctx)
	if errors.Is(err, ca.ErrLocked) {
		return "locked", nil // from the beginning
	}
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(crts[0].Raw)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}
