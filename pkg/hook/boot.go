package hook

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

// A BootInput is what a boot hook is told.
type BootInput struct {
	Version   int       `json:"version"`
	Hook      Event     `json:"hook"`
	Time      time.Time `json:"time"`
	Program   string    `json:"program_version"`
	Netloc    string    `json:"netloc"`
	Listening []string  `json:"listening"`
}

// A BootAnswer is what it may answer. To answer nothing allows the start, as long as it ends with exit code 0.
type BootAnswer struct {
	Decision string `json:"decision"` // allow or refuse
	Reason   string `json:"reason"`
}

// MayStart asks the boot hooks in turn. The error is a [Refusal] or a [Failure].
func (s *Set) MayStart(ctx context.Context, about BootInput) error {
	about.Version, about.Hook = Version, Boot
	if about.Listening == nil {
		about.Listening = []string{}
	}
	input, err := marshal(about)
	if err != nil {
		return err
	}
	for _, p := range s.Boot {
		text, err := p.Run(ctx, input)
		if err != nil {
			return err
		}
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		var answer BootAnswer
		if err := unmarshal(text, &answer); err != nil {
			return p.note(ctx, err)
		}
		switch answer.Decision {
		case "allow":
		case "refuse":
			return &Refusal{NameOf(Boot, p.path), reasonOf(answer.Reason)}
		default:
			return p.note(ctx, fmt.Errorf("%w: its decision is %.40q, which is neither allow nor refuse", ErrAnswer, answer.Decision))
		}
	}
	return nil
}
