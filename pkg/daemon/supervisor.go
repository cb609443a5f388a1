package daemon

import (
	"context"
	"log/slog"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
)

// A supervisor learns of the daemon's state, if there is one that wants to: systemd, with
// Type=notify and WatchdogSec= in the unit. Elsewhere all of this does nothing.
type supervisor struct {
	log *slog.Logger
}

func (s supervisor) tell(ctx context.Context, state string) {
	if _, err := systemd.SdNotify(false, state); err != nil {
		s.log.WarnContext(ctx, "systemd is not told", "state", state, "error", err)
	}
}

func (s supervisor) ready(ctx context.Context)    { s.tell(ctx, systemd.SdNotifyReady) }
func (s supervisor) stopping(ctx context.Context) { s.tell(ctx, systemd.SdNotifyStopping) }
func (s supervisor) alive(ctx context.Context)    { s.tell(ctx, systemd.SdNotifyWatchdog) }

// heartbeat ticks twice within the time after which the supervisor takes silence for death.
// Without a watchdog it never does.
func (s supervisor) heartbeat() (tick <-chan time.Time, stop func()) {
	within, err := systemd.SdWatchdogEnabled(false)
	if err != nil || within <= 0 {
		return nil, func() {}
	}
	ticker := time.NewTicker(within / 2)
	return ticker.C, ticker.Stop
}
