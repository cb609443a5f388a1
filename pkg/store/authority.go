package store

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"
)

// ErrInvalidAuthority is what Check and CheckNew return, with the reason.
var ErrInvalidAuthority = errors.New("store: not a valid authority")

// validName is what an authority can be called: it is the first part of its paths.
var validName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// Valid reports whether n can be the name of an authority.
func (n AuthorityName) Valid() bool { return validName.MatchString(string(n)) }

// reserved are names of no authority: their paths are those of something else, or will be.
var reserved = []AuthorityName{
	"acme", "api", "console", "cors", "est", "health", "healthz", "livez", "metrics", "ocsp", "pki", "readyz", "scep", "static", "well-known",
}

// Reserved reports whether no new authority may have this name.
func (n AuthorityName) Reserved() bool { return slices.Contains(reserved, n) }

// maxSpan is longer than anything can be valid.
const maxSpan = 290 * 365 * 24 * time.Hour

// Check returns why a does not make sense by itself, an ErrInvalidAuthority; nil if it does. That its
// span is not known yet is fine: the daemon's flags say it, for authorities that they make.
func (a Authority) Check() error {
	switch {
	case !a.Name.Valid():
		return invalidAuthority("%q is not a name: it begins with a letter and has at most 32 of a-z, 0-9 and -", string(a.Name))
	case a.Damage != "":
		return invalidAuthority("%s: its row cannot be read: %s", a.Name, a.Damage)
	case !slices.Contains([]Role{RoleUsers, RoleServices, RoleDaemon, RoleRoot}, a.Role):
		return invalidAuthority("%s: there is no role %q", a.Name, string(a.Role))
	case !a.mayHaveRole():
		return invalidAuthority("%s: it has the role %s, and %s", a.Name, a.Role, a.Name.rolesAllowed())
	case a.Parent != "" && !a.Parent.Valid():
		return invalidAuthority("%s: its parent %q is not a name", a.Name, string(a.Parent))
	case a.Parent == a.Name:
		return invalidAuthority("%s: it cannot be its own parent", a.Name)
	case a.Parent != "" && a.Role == RoleRoot:
		return invalidAuthority("%s: a root has no parent", a.Name)
	case a.Span < 0 || a.Span > maxSpan:
		return invalidAuthority("%s: a span of %s is none", a.Name, a.Span)
	case a.Life < 0 || a.Life > 0 && a.Span > maxSpan/time.Duration(a.Life):
		return invalidAuthority("%s: CA certificates cannot last for %d spans of %s", a.Name, a.Life, a.Span)
	case a.MaxPending < 0 || a.AutoApprove < 0:
		return invalidAuthority("%s: a limit is negative", a.Name)
	case a.CRLLife < 0 || a.CRLLife > maxSpan:
		return invalidAuthority("%s: lists cannot last for %s", a.Name, a.CRLLife)
	case !a.RetiredAt.IsZero() && a.RetiredAt.Before(a.CreatedAt):
		return invalidAuthority("%s: it was retired before it was made", a.Name)
	}
	return nil
}

// mayHaveRole reports whether an authority of this name may have its role. Of users and of the daemon's own certificates
// there is one authority each: everybody certified by a second one would be an administrator, too.
func (a Authority) mayHaveRole() bool {
	if standard, ok := Standard(a.Name, a.CreatedAt); ok {
		return a.Role == standard.Role
	}
	return a.Role != RoleUsers && a.Role != RoleDaemon
}

func (n AuthorityName) rolesAllowed() string {
	if standard, ok := Standard(n, time.Time{}); ok {
		return "can only have the role " + string(standard.Role)
	}
	return "can only be one of " + string(RoleServices) + " or a " + string(RoleRoot) + ": the authority with that role is made by the daemon"
}

// CheckNew is Check for an authority that is to be added: its name must be free to be one, and nothing
// be left open.
func (a Authority) CheckNew() error {
	if err := a.Check(); err != nil {
		return err
	}
	switch {
	case a.Name.Reserved():
		return invalidAuthority("%s: that name is reserved", a.Name)
	case a.Span == 0 || a.Life == 0:
		return invalidAuthority("%s: for how long it certifies is not said", a.Name)
	case a.KeyType == "":
		return invalidAuthority("%s: the type of its keys is not said", a.Name)
	}
	return nil
}

func invalidAuthority(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrInvalidAuthority, fmt.Errorf(format, args...))
}

// Standards returns those of Standard, users first.
func Standards(created time.Time) (rows []Authority) {
	for _, name := range []AuthorityName{Users, Services, HTTPS} {
		row, _ := Standard(name, created)
		rows = append(rows, row)
	}
	return rows
}

// roleOrder is the order in which people see authorities.
var roleOrder = [...]Role{RoleUsers, RoleServices, RoleDaemon, RoleRoot}

// SortForDisplay puts rows into the order in which people see them: by role, users first, then by name.
func SortForDisplay(rows []Authority) {
	slices.SortFunc(rows, func(a, b Authority) int {
		return cmp.Or(cmp.Compare(slices.Index(roleOrder[:], a.Role), slices.Index(roleOrder[:], b.Role)), cmp.Compare(a.Name, b.Name))
	})
}

// CheckParent returns why the parent of an authority cannot certify it, given all authorities; nil if it can, or has none.
func CheckParent(row Authority, all []Authority) error {
	if row.Parent == "" {
		return nil
	}
	i := slices.IndexFunc(all, func(a Authority) bool { return a.Name == row.Parent })
	switch {
	case i < 0:
		return fmt.Errorf("there is no authority %q, its parent", string(row.Parent))
	case all[i].Damage != "":
		return fmt.Errorf("the row of its parent, %s, cannot be read", row.Parent)
	case all[i].Role != RoleRoot:
		return fmt.Errorf("its parent, %s, is no root: it has the role %q", row.Parent, string(all[i].Role))
	}
	return nil
}

// ByRole returns those of rows that have the role, in their order. Rows that make no sense have none.
func ByRole(rows []Authority, role Role) []Authority {
	var found []Authority
	for _, row := range rows {
		if row.Role == role && row.Check() == nil {
			found = append(found, row)
		}
	}
	return found
}

// CustodyRow is the custody of a key that is in the row itself: its KeyRef.Ref is PKCS#8 DER.
const CustodyRow = "row"

// KeyInRow returns the KeyRef of a key that is kept in the row.
func KeyInRow(pkcs8 []byte) KeyRef { return KeyRef{Custody: CustodyRow, Ref: pkcs8} }

// InRow returns the key, PKCS#8 DER, if it is kept in the row, and nil otherwise.
func (k KeyRef) InRow() []byte {
	if k.Custody != CustodyRow {
		return nil
	}
	return k.Ref
}

// Standard returns what is known beforehand of an authority that every daemon has, such as of those in
// databases that are older than rows of authorities; false for any other name. The daemon's flags say the
// rest, at its next start.
func Standard(name AuthorityName, created time.Time) (Authority, bool) {
	row := Authority{Name: name, CreatedAt: created}
	switch name {
	case Users:
		row.Title, row.Role = "Caucase CAU", RoleUsers
	case Services:
		row.Title, row.Role = "Caucase CAS", RoleServices
	case HTTPS:
		row.Title, row.Role = "Caucased CA", RoleDaemon
	default:
		return Authority{}, false
	}
	return row, true
}
