package manage

import (
	"context"
	"slices"
	"strings"

	"cauase/pkg/store"
)

// readAuthorities reads the rows of all authorities, by which everything else is judged.
func (c *checker) readAuthorities(ctx context.Context, r store.Reader) error {
	rows, err := r.Authorities(ctx)
	if err != nil {
		return err
	}
	c.authorities = make(map[store.AuthorityName]store.Authority, len(rows))
	for _, row := range rows {
		c.authorities[row.Name] = row
		c.names = append(c.names, row.Name)
	}
	return nil
}

// authority checks the row of one.
func (c *checker) authority(v store.Authority) (problems []problem) {
	if err := v.Check(); err != nil {
		problems = append(problems, wrong("%v", err))
	}
	if v.Parent != "" {
		problems = append(problems, c.parents(v)...)
	}
	return append(problems, c.future("the time when it was made", v.CreatedAt)...)
}

// parents checks that those above an authority are there, may certify CAs and come to an end.
func (c *checker) parents(v store.Authority) []problem {
	path := []string{string(v.Name)}
	for name := v.Parent; name != ""; name = c.authorities[name].Parent {
		switch parent, ok := c.authorities[name]; {
		case slices.Contains(path, string(name)):
			return []problem{wrong("its parents go in a circle: %s", strings.Join(append(path, string(name)), ", "))}
		case !ok && len(path) > 1:
			return nil // a problem of the one below it
		case !ok:
			return []problem{odd("its parent %s is not here: it has to sign off new generations elsewhere", name)}
		case parent.Role != store.RoleRoot && len(path) == 1:
			return []problem{wrong("its parent %s has the role %s and cannot certify it", name, parent.Role)}
		}
		path = append(path, string(name))
	}
	return nil
}

// belongs checks that the authority of a row is there.
func (c *checker) belongs(row store.Row) []problem {
	kind := store.KindOf(row)
	i := -1
	if kind != nil {
		i = kind.Index("authority")
	}
	if i < 0 {
		return nil
	}
	name, _ := kind.Values(row)[i].(string)
	if name == "" && kind.Columns[i].Shared {
		return nil
	}
	if _, ok := c.authorities[store.AuthorityName(name)]; !ok {
		return []problem{wrong("there is no authority %q", name)}
	}
	return nil
}

// signoff checks a request to a parent.
func (c *checker) signoff(v store.Signoff) (problems []problem) {
	if a, ok := c.authorities[v.Authority]; ok && a.Parent == "" && v.InstalledAt.IsZero() {
		problems = append(problems, odd("its authority has no parent that could sign it off"))
	}
	if v.InstalledAt.IsZero() && v.Key.Custody == "" {
		problems = append(problems, wrong("it waits to be signed off, and its key is gone"))
	}
	return append(problems, c.future("the time when it was made", v.CreatedAt)...)
}

// state compares what a CA says of its key with what there is.
func (i *caInfo) state() []problem {
	hasKey := i.row.Key.Custody != "" || i.row.Key.Ref != nil
	switch i.row.State {
	case store.CAUsable:
		if !hasKey {
			return []problem{wrong("it is said to be usable, and its private key is gone")}
		}
	case store.CAErased, store.CADisowned, store.CAExternal:
		if hasKey {
			return []problem{wrong("it is said to be %s, and its private key is there", i.row.State)}
		}
	default:
		return []problem{wrong("there is no state %q", string(i.row.State))}
	}
	return nil
}

// issuer compares a generation with the one above it that has certified it, where that is here.
func (c *checker) issuer(i *caInfo) []problem {
	parent := c.cas[caRef{i.row.ParentAuthority, i.row.ParentCA}]
	switch {
	case i.row.ParentAuthority == "" || i.row.ParentCA == 0:
		return nil
	case parent == nil:
		return []problem{wrong("CA %d of %s, which is said to have certified it, is not there", i.row.ParentCA, i.row.ParentAuthority)}
	case parent.crt == nil || i.crt == nil:
		return nil // which has been said
	}
	if err := i.crt.CheckSignatureFrom(parent.crt); err != nil {
		return []problem{wrong("CA %d of %s, which is said to have certified it, has not: %v", i.row.ParentCA, i.row.ParentAuthority, err)}
	}
	return nil
}
