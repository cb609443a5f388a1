package hook

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"cauase/pkg/policy"
)

// A Set is the hooks of a daemon. The zero value has none.
type Set struct {
	Boot, Authorize, Presign []*Program
	Recipients               []Recipient // told of certificates after the fact
}

// LogTo has the hooks log there from now on. It is for a set that nobody uses yet.
func (s *Set) LogTo(log *slog.Logger) {
	for _, p := range slices.Concat(s.Boot, s.Authorize, s.Presign) {
		p.logTo(log)
	}
	for _, r := range s.Recipients {
		if r, ok := r.(interface{ logTo(*slog.Logger) }); ok {
			r.logTo(log)
		}
	}
}

// A Decider says what becomes of requests.
type Decider interface {
	Decide(ctx context.Context, c policy.Case) (policy.Verdict, error)
}

// A Holder has the hooks that count now, beside the rules of an engine.
type Holder struct{ rules *policy.Engine }

// NewHolder makes one that has none.
func NewHolder(rules *policy.Engine) *Holder { return &Holder{rules} }

// Set returns the hooks that count.
func (h *Holder) Set() *Set {
	if s, _ := h.rules.Beside().(*Set); s != nil {
		return s
	}
	return &Set{}
}

// Replace has others, and other rules, take the place of those before, all at once.
func (h *Holder) Replace(rules *policy.Set, s *Set) { h.rules.ReplaceWith(rules, s) }

// A Policy asks hooks beside the rules of a Decider. The strictest of all counts.
type Policy struct {
	Rules Decider
	Hooks *Holder
}

// NameOf is how the audit log and records name a hook as what has decided.
func NameOf(event Event, hook string) string { return string(event) + " hook " + hook }

// Decide implements [Decider]. A hook cannot approve what the rules do not; one that cannot be asked refuses.
func (p *Policy) Decide(ctx context.Context, c policy.Case) (policy.Verdict, error) {
	v, err := p.Rules.Decide(ctx, c)
	if err != nil || v.Decision == policy.Refuse {
		return v, err
	}
	hooks := p.Hooks.Set()
	if len(hooks.Authorize) == 0 {
		return v, nil
	}
	input, err := authorizeInput(c, v)
	if err != nil {
		return policy.Verdict{}, fmt.Errorf("authorize hooks: %w", err)
	}
	for _, program := range hooks.Authorize {
		d, reason := program.authorize(ctx, c.Asker.Address, input)
		if err := ctx.Err(); err != nil {
			return policy.Verdict{}, err // which is no decision
		}
		if d.Stricter(v.Decision) {
			v.Decision, v.Reason, v.Rule, v.Digest = d, reason, NameOf(Authorize, program.path), nil
		}
		if d == policy.Refuse {
			break
		}
	}
	if current := v.Current; current != nil {
		v.Current = func() bool { return current() && p.Hooks.Set() == hooks }
	} else {
		v.Current = func() bool { return p.Hooks.Set() == hooks }
	}
	return v, nil
}

// authorize asks an authorize hook.
func (p *Program) authorize(ctx context.Context, address string, input []byte) (policy.Decision, string) {
	var answer AuthorizeAnswer
	d, err := policy.Refuse, p.ask(ctx, address, input, &answer)
	if err == nil {
		if d, err = answer.decision(); err != nil {
			err = p.note(ctx, err)
		}
	}
	if err != nil {
		return policy.Refuse, publicReason(Authorize, err)
	}
	return d, reasonOf(answer.Reason)
}

// ask runs the program for the client at an address, and reads its answer. Every error is a [Failure].
func (p *Program) ask(ctx context.Context, address string, input []byte, answer any) error {
	text, err := p.RunFor(ctx, address, input)
	if err != nil {
		return err
	}
	if err := unmarshal(text, answer); err != nil {
		return p.note(ctx, err)
	}
	return nil
}
