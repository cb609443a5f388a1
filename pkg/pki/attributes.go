package pki

import (
	"regexp"
	"strings"
)

// An Attribute is an attribute of a subject, as text.
type Attribute struct {
	Label string // as in SubjectString: "CN", "O", or an object identifier
	Text  string // of what is no string, "#" and the value in hex
}

// SubjectAttributes returns the attributes of a name in DER, in their order.
func SubjectAttributes(raw []byte) ([]Attribute, error) {
	attrs, err := parseName(raw)
	if err != nil {
		return nil, err
	}
	list := make([]Attribute, len(attrs))
	for i, attr := range attrs {
		text, ok := attr.text()
		if !ok {
			text = attr.display()
		}
		list[i] = Attribute{attr.label(), text}
	}
	return list, nil
}

// dotted is an object identifier.
var dotted = regexp.MustCompile(`^[0-2](\.(0|[1-9][0-9]*))+$`)

// AttributeLabel returns the label of an attribute as [SubjectString] writes it, given in any case, or an object identifier; false for
// what is neither.
func AttributeLabel(label string) (string, bool) {
	for _, known := range attributeLabels {
		if strings.EqualFold(known, label) {
			return known, true
		}
	}
	return label, dotted.MatchString(label)
}

// FoldText returns a text in the form in which texts of names are compared without regard to case (RFC 4518): those that verifiers take
// for the same are the same.
func FoldText(s string) string { return prepareText(s) }
