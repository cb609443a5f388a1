package pki

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	const d = 24 * time.Hour
	tests := []struct {
		in   string
		want time.Duration
		out  string // as FormatDuration writes it
	}{
		{"90s", 90 * time.Second, "90s"}, {"36h", 36 * time.Hour, "36h"}, {"24h", d, "1d"}, {"30d", 30 * d, "30d"}, {"1y", 365 * d, "1y"},
		{"1y30d", 395 * d, "395d"}, {"1d12h", 36 * time.Hour, "36h"}, {"1.5d", 36 * time.Hour, "36h"}, {"0.1d", 144 * time.Minute, "144m"},
		{"1h30m", 90 * time.Minute, "90m"}, {"0s", 0, "0s"}, {"0d", 0, "0s"}, {"150ms", 150 * time.Millisecond, "150ms"}, {"200y", MaxDuration, "200y"},
	}
	for _, tt := range tests {
		if got, err := ParseDuration(tt.in); err != nil || got != tt.want || FormatDuration(got) != tt.out {
			t.Errorf("%q: got %v, %v, shown %s, want %v", tt.in, got, err, FormatDuration(got), tt.want)
		}
	}
	for _, in := range []string{"", "d", "1", "30", "-1d", "+1d", "1d-1h", "-36h", "+36h", "1e3d", "infd", "NaNd", "0x1d", "1_0d", "1dd", "1d1y", "1h1d", " 1d", "1d ", "1w", "1.1.1d", "201y", "200y1s", "999999999h", "1\x1bd"} {
		if got, err := ParseDuration(in); !errors.Is(err, ErrInvalid) || strings.ContainsRune(err.Error(), 0x1b) {
			t.Errorf("%q: got %v, %v", in, got, err)
		}
	}
}

func FuzzParseDuration(f *testing.F) {
	for _, seed := range []string{"1y30d", "36h", "0.1d", "90s", "1d12h0.5s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		d, err := ParseDuration(in)
		if err != nil {
			return
		}
		if d < 0 || d > MaxDuration {
			t.Fatalf("%q: %v", in, d)
		}
		if again, err := ParseDuration(FormatDuration(d)); err != nil || again != d {
			t.Errorf("%q: %v is shown as %s, which reads as %v, %v", in, d, FormatDuration(d), again, err)
		}
	})
}
