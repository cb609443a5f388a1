package main

import (
	"log/slog"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestSignalsThatComeTogether: a supervisor and the terminal's group may each send one, for one command. Somebody who has waited
// and asks again is in a hurry.
func TestSignalsThatComeTogether(t *testing.T) {
	for name, tt := range map[string]struct {
		pauses []time.Duration // before each signal
		want   []string
	}{
		"one":                            {[]time.Duration{0}, []string{"gently"}},
		"two at once":                    {[]time.Duration{0, time.Millisecond}, []string{"gently"}},
		"a crowd at once":                {[]time.Duration{0, 0, 0, 100 * time.Millisecond, 800 * time.Millisecond}, []string{"gently"}},
		"again":                          {[]time.Duration{0, 1001 * time.Millisecond}, []string{"gently", "at once"}},
		"two at once, and again":         {[]time.Duration{0, time.Millisecond, time.Second}, []string{"gently", "at once"}},
		"after a long life, two at once": {[]time.Duration{1000 * time.Hour, time.Millisecond}, []string{"gently"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				signals, done, over := make(chan os.Signal, 2), make(chan struct{}), make(chan struct{})
				var got []string
				go func() {
					defer close(over)
					heedStops(signals, done, slog.New(slog.DiscardHandler), func() { got = append(got, "gently") }, func() { got = append(got, "at once") })
				}()
				for _, pause := range tt.pauses {
					time.Sleep(pause) // by a clock that jumps
					signals <- syscall.SIGTERM
					synctest.Wait()
				}
				close(done)
				<-over
				if !slices.Equal(got, tt.want) {
					t.Errorf("ended: %q, want %q", got, tt.want)
				}
			})
		})
	}
}
