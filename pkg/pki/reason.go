package pki

import (
	"fmt"
	"strings"
)

// Reasons of a revocation that may be given, by their number (RFC 5280 5.3.1). Missing are 7,
// which is unused, and 8, removeFromCRL, which is for lists of changes only.
var reasonNames = map[int]string{
	0:  "unspecified",
	1:  "keyCompromise",
	2:  "cACompromise",
	3:  "affiliationChanged",
	4:  "superseded",
	5:  "cessationOfOperation",
	6:  "certificateHold",
	9:  "privilegeWithdrawn",
	10: "aACompromise",
}

// ReasonNames lists the names that ParseReason knows, in the order of their numbers.
func ReasonNames() []string {
	var names []string
	for i := range 11 {
		if name, ok := reasonNames[i]; ok {
			names = append(names, name)
		}
	}
	return names
}

// ReasonName returns the name of a revocation reason, or its number when it has none.
func ReasonName(reason int) string {
	if name, ok := reasonNames[reason]; ok {
		return name
	}
	return fmt.Sprint(reason)
}

// ParseReason returns the number of a revocation reason, by its exact name.
func ParseReason(name string) (int, error) {
	for reason, n := range reasonNames {
		if n == name {
			return reason, nil
		}
	}
	return 0, refusef("revocation reason", "%s is not one of %s", quote(name), strings.Join(ReasonNames(), ", "))
}
