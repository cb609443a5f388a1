package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"cauase/pkg/audit"
	"cauase/pkg/cli"
	"cauase/pkg/store"
)

// maxLineages is of how many lineages the log is read together.
const maxLineages = 100

// each calls fn with the entries that are asked for, in order.
func (q logQuery) each(ctx context.Context, r store.Reader, fn func(audit.Entry) error) error {
	filters := []audit.Filter{q.Filter}
	switch {
	case q.serial != nil:
		by, of := q.Filter, q.Filter
		by.ActorSerial, of.ObjectSerial = q.serial, q.serial
		filters = []audit.Filter{by, of}
		if q.ActorSerial != nil || q.ObjectSerial != nil {
			return errors.New("--serial goes without --actor-serial and --object-serial")
		}
	case q.subject != "":
		ids, err := lineagesNamed(ctx, r, store.AuthorityName(q.Authority), q.subject)
		if err != nil {
			return err
		}
		filters = nil
		for _, id := range ids {
			f := q.Filter
			f.Lineage = strconv.FormatInt(id, 10)
			filters = append(filters, f)
		}
	}
	if len(filters) == 1 {
		return r.Audit(ctx, filters[0], fn)
	}
	return merge(ctx, r, filters, q.Filter, fn)
}

// merge gives the entries of several filters, each once, in the order of one of them.
func merge(ctx context.Context, r store.Reader, filters []audit.Filter, like audit.Filter, fn func(audit.Entry) error) error {
	found := map[int64]audit.Entry{}
	for _, f := range filters {
		err := r.Audit(ctx, f, func(e audit.Entry) error { found[e.Seq] = e; return nil })
		if err != nil {
			return err
		}
	}
	seqs := make([]int64, 0, len(found))
	for seq := range found {
		seqs = append(seqs, seq)
	}
	slices.SortFunc(seqs, func(a, b int64) int {
		if like.Newest {
			return cmp.Compare(b, a)
		}
		return cmp.Compare(a, b)
	})
	for n, seq := range seqs {
		if like.Limit > 0 && n == like.Limit {
			return nil
		}
		if err := fn(found[seq]); err != nil {
			return err
		}
	}
	return nil
}

// lineagesNamed are the ids of lineages, and of requests that are pending, whose subject or names contain a text, of one authority or of all.
func lineagesNamed(ctx context.Context, r store.Reader, of store.AuthorityName, text string) (ids []int64, err error) {
	authorities, err := r.Authorities(ctx)
	if err != nil {
		return nil, err
	}
	text = strings.ToLower(text)
	has := func(subject string, names []string) bool {
		return strings.Contains(strings.ToLower(subject+"\n"+strings.Join(names, "\n")), text)
	}
	for _, a := range authorities {
		if of != "" && a.Name != of {
			continue
		}
		pending, err := r.Requests(ctx, a.Name, 0)
		if err != nil {
			return nil, err
		}
		for _, req := range pending {
			if has(req.Subject, req.SANs) {
				ids = append(ids, req.ID)
			}
		}
		err = eachLineage(ctx, r, a.Name, func(l store.Lineage) error {
			named := has(l.Subject, nil)
			if !named { // renewals have the same names
				crt, err := r.CertificateBySerial(ctx, a.Name, l.Newest)
				if err != nil && !errors.Is(err, store.ErrNotFound) {
					return err
				}
				named = has(crt.Subject, crt.SANs)
			}
			if named {
				ids = append(ids, l.ID)
			}
			if len(ids) > maxLineages {
				return cli.WithHint(fmt.Errorf("--subject: %q is in more than %d of them", text, maxLineages), "more of the name, or --lineage ID, as cauased manage lineage list shows")
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("--subject: %q is in none of the certificates and pending requests on record", text)
	}
	return ids, nil
}
