package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
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

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/ca"
	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/store"
)

// serve runs the daemon until it is told to end: by one signal gently, by two at once.
func serve(c *urfave.Context, clk clock.Clock, stdout, stderr io.Writer) error {
	cfg, err := readConfig(c)
	if err != nil {
		return err
	}
	ctx, force, release := withSignals(c.Context)
	defer release()

	d, err := start(ctx, cfg, clk, newLogger(cfg, stderr))
	if err != nil {
		if ctx.Err() != nil {
			return nil // told to end before it had begun
		}
		return err
	}
	err = d.announce(ctx, stdout)
	if err == nil {
		err = d.Run(ctx, force)
	}
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	if err == nil && force.Err() != nil {
		err = fmt.Errorf("ended by a second signal: requests under way were cut off")
	}
	return err
}

// withSignals returns two contexts that end with parent: the first at the first SIGTERM
// or SIGINT too, the second at the second.
func withSignals(parent context.Context) (first, second context.Context, release func()) {
	first, endFirst := context.WithCancel(parent)
	// A parent that ends asks for a gentle end.
	second, endSecond := context.WithCancel(context.WithoutCancel(parent))
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	done := make(chan struct{})
	go func() {
		for _, end := range []func(){endFirst, endSecond} {
			select {
			case <-signals:
				end()
			case <-done:
				return
			}
		}
	}()
	return first, second, func() {
		signal.Stop(signals)
		close(done)
		endFirst()
		endSecond()
	}
}

func newLogger(cfg config, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.logLevel}
	if cfg.logJSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// announce says, once everything is open, what is served and what to do next.
func (d *daemon) announce(ctx context.Context, w io.Writer) error {
	users, err := fingerprint(ctx, d.users)
	if err != nil {
		return err
	}
	services, err := fingerprint(ctx, d.services)
	if err != nil {
		return err
	}
	var out strings.Builder
	fmt.Fprintf(&out, "cauased %s serves %s and %s\n", cli.Version(), d.cfg.netloc.HTTP(), d.cfg.netloc.HTTPS())
	fmt.Fprintf(&out, "  listening:     %s\n", strings.Join(append(addresses(d.listeners.HTTP), addresses(d.listeners.HTTPS)...), ", "))
	fmt.Fprintf(&out, "  user CA:       %s\n", users)
	fmt.Fprintf(&out, "  service CA:    %s\n", services)
	first, err := d.noUserYet(ctx)
	if err != nil {
		return err
	}
	if first && d.cfg.users.autoApprove > 0 {
		fmt.Fprintf(&out, "Next, become the first user, whose request is approved without asking:\n"+
			"  %s --ca-url %s --ca-fingerprint %s --ca-fingerprint %s --mode user request --cn \"$(id -un)\" --crt user.pem\n",
			clientCommand(), d.cfg.netloc.HTTP(), users, services)
	}
	_, err = io.WriteString(w, out.String())
	return err
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

// fingerprint is that of the CA certificate which a new client meets first.
func fingerprint(ctx context.Context, a *ca.Authority) (string, error) {
	crts, err := a.CACertificates(ctx)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(crts[0].Raw)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

func (d *daemon) noUserYet(ctx context.Context) (none bool, err error) {
	err = d.store.View(ctx, func(r store.Reader) error {
		users, err := r.Certificates(ctx, store.Users, 0, 1)
		none = len(users) == 0
		return err
	})
	return none, err
}

func addresses(listeners []net.Listener) []string {
	var list []string
	for _, l := range listeners {
		list = append(list, l.Addr().String())
	}
	return list
}
