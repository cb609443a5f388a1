package manage

import (
	"context"
	"maps"
	"slices"

	"cauase/pkg/pki"
	"cauase/pkg/profile"
	"cauase/pkg/store"
)

// readAuthorities reads the authorities, to one of which every other row belongs.
func (c *checker) readAuthorities(ctx context.Context, r store.Reader) error {
	rows, err := r.Authorities(ctx)
	if err != nil {
		return err
	}
	c.rowOf = map[store.AuthorityName]store.Authority{}
	for _, row := range rows {
		c.rowOf[row.Name] = row
	}
	return nil
}

// authority checks the row of an authority.
func (c *checker) authority(v store.Authority) (problems []problem) {
	if err := v.Check(); err != nil {
		problems = append(problems, errorf("%v", err))
	}
	if _, err := pki.ParseKeyType(v.KeyType); v.KeyType != "" && err != nil {
		problems = append(problems, errorf("its keys are to be of type %.40q, which there is not", v.KeyType))
	}
	if _, err := profile.ParsePermitted(v.Permitted); err != nil {
		problems = append(problems, errorf("what its certificates may be for cannot be read: %v", err))
	}
	problems = append(problems, c.parentOf(v)...)
	return append(problems, c.notFuture("the time when it was made", v.CreatedAt)...)
}

// parentOf checks that the parent of an authority is a root that is there. A root has no parent, so that no
// path of parents is longer than one; one that comes back to where it began is a mistake of its own.
func (c *checker) parentOf(v store.Authority) []problem {
	if v.Parent == "" {
		return nil
	}
	if err := store.CheckParent(v, slices.Collect(maps.Values(c.rowOf))); err != nil {
		problems := []problem{errorf("%v", err)}
		seen := map[store.AuthorityName]bool{v.Name: true}
		for at := c.rowOf[v.Parent]; at.Parent != ""; at = c.rowOf[at.Parent] {
			if seen[at.Name] {
				return append(problems, errorf("its parents lead in a circle"))
			}
			seen[at.Name] = true
		}
		return problems
	}
	if parent := c.rowOf[v.Parent]; !parent.RetiredAt.IsZero() && v.RetiredAt.IsZero() && !c.now.Before(parent.RetiredAt) {
		return []problem{warningf("its parent, %s, is retired and signs no CA certificates any more", parent.Name)}
	}
	return nil
}

// unknownAuthority is the problem of a row whose authority does not exist.
func (c *checker) unknownAuthority(row store.Row) []problem {
	name, ok := authorityOf(row)
	if !ok {
		return nil
	}
	if _, known := c.rowOf[name]; known {
		return nil
	}
	if _, ok := row.(store.KEK); ok {
		return nil // which is made before, and does no harm
	}
	if _, standard := store.Standard(name, c.now); standard {
		// Chosen before the first start, or of before there were such rows.
		switch row.(type) {
		case store.Setting, store.AuditEntry, store.Counter:
			return nil
		}
	}
	return []problem{errorf("there is no authority %q", string(name))}
}

// authorityOf returns the authority that a row is of; false if it is one itself, or of the daemon as a whole.
func authorityOf(row store.Row) (store.AuthorityName, bool) {
	kind := store.KindOf(row)
	if kind == nil {
		return "", false
	}
	values := kind.Values(row)
	for i, column := range kind.Columns {
		if column.Name == "authority" {
			name, _ := values[i].(string)
			return store.AuthorityName(name), name != "" || !column.Shared
		}
	}
	return "", false
}
