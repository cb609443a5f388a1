package manage

import (
	"context"
	"fmt"
	"slices"

	"cauase/pkg/store"
)

// lineage checks what the row of a lineage says by itself.
func (c *checker) lineage(v store.Lineage) []problem {
	problems := c.notFuture("the time when it began", v.CreatedAt)
	add := func(p problem) { problems = append(problems, p) }
	switch v.State {
	case store.LineageActive:
		if !v.EndedAt.IsZero() {
			add(errorf("it is active, and ended at %s", utc(v.EndedAt)))
		}
	case store.LineageEnding, store.LineageEnded:
		if v.EndedAt.IsZero() {
			add(errorf("it has ended, and does not say when"))
		}
		if v.Role != "" {
			add(errorf("it has ended, and its holder has the role %q", v.Role))
		}
	default:
		add(errorf("there is no state %q", string(v.State)))
	}
	if c.rowOf[v.Authority].Role != store.RoleUsers && v.Role != "" {
		add(errorf("its holder has the role %q, and is no user", v.Role))
	}
	if v.Newest == nil {
		add(errorf("it has no newest certificate"))
	}
	if slices.Min([]int64{v.Renewals, v.Forks, v.DayRenewals, v.DayRevocations, v.DayBytes}) < 0 {
		add(errorf("a count is negative"))
	}
	if v.Forks > 0 && v.State == store.LineageActive {
		add(warningf("certificates of it were renewed that had been renewed before, %d of them: the last from %s, the one before from %s", v.Forks,
			orUnknown(v.ForkAddress), orUnknown(v.ForkedFrom)))
	}
	return problems
}

func orUnknown(address string) string {
	if address == "" {
		return "an address that is not known"
	}
	return address
}

// compareLineages compares lineages with the certificates that they are of.
func (c *checker) compareLineages(ctx context.Context, r store.Reader) error {
	return r.LineageFaults(ctx, c.now, func(f store.LineageFault) error {
		row := fmt.Sprintf("lineage %s %d", f.Authority, f.Lineage)
		if f.Serial != nil {
			c.report(row, errorf("certificate %#x: %s", f.Serial, f.Why))
		} else {
			c.report(row, errorf("%s", f.Why))
		}
		return ctx.Err()
	})
}
