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
	case !slices.Contains([]Role{RoleUsers, RoleServices, RoleDaemon, RoleRoot}, a.Role):
		return invalidAuthority("%s: there is no role %q", a.Name, string(a.Role))
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

// ByRole returns those of rows that have the role, in their order.
func ByRole(rows []Authority, role Role) []Authority {
	var found []Authority
	for _, row := range rows {
		if row.Role == role {
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
