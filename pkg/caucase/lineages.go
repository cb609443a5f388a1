package caucase

import (
	"cmp"
	"fmt"
	"slices"

	"cauase/pkg/store"
)

// makeLineages tells which certificates are renewals of each other. Caucase does not record it. That the key is
// the same is certain; that a user's certificate renews one of the same name is likely, and what is wrong about
// it does less harm than a revoked user with a certificate that is not. Services are another matter: many may
// share a name, and all would be revoked with one.
func (a *authority) makeLineages() {
	revoked := map[string]bool{}
	for _, r := range a.revoked {
		revoked[r.Serial.String()] = true
	}
	byName, byKey, made := map[string]int{}, map[string]int{}, []store.Lineage(nil)
	alive := map[int64]bool{} // lineages with a certificate that is not revoked
	for i := range a.issued {
		c := &a.issued[i]
		name := fmt.Sprintf("%q %q", c.Subject, c.SANs)
		at, known := byKey[string(c.KeyID)]
		if !known && a.row.Role == store.RoleUsers && c.Method == store.Renewed && (c.Subject != "" || len(c.SANs) > 0) {
			at, known = byName[name]
		}
		if !known {
			at = len(made)
			c.Lineage = c.ID
			made = append(made, store.FirstOf(*c, a.row.Role))
		}
		byName[name], byKey[string(c.KeyID)] = at, at
		l := &made[at]
		c.Lineage = l.ID
		if known {
			l.Renewals++
			l.RenewedAt = c.IssuedAt
		}
		if c.NotAfter.After(l.NotAfter) {
			l.NotAfter = c.NotAfter
		}
		// A holder who got another certificate after one was revoked goes on with that.
		if good := !revoked[c.Serial.String()]; good || !alive[l.ID] {
			l.Newest = c.Serial
			alive[l.ID] = alive[l.ID] || good
		}
	}
	for i := range made {
		if l := &made[i]; !alive[l.ID] {
			l.State, l.EndedAt, l.Role = store.LineageEnded, a.now, ""
		}
	}
	slices.SortFunc(made, func(x, y store.Lineage) int { return cmp.Compare(x.ID, y.ID) })
	a.lineages = made
}
