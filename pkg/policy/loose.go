package policy

import (
	"net/netip"
	"strings"
)

// asLoose takes a common name apart that some would take for an address, a host or a mail address.
func (t *target) asLoose(text string) {
	if addr, err := netip.ParseAddr(strings.Trim(strings.TrimSpace(text), "[]")); err == nil {
		t.addr, t.loose = addr, true
	} else if strings.Contains(text, "@") {
		t.asLooseMailbox(text)
	} else if labels := looseLabels(text); len(labels) > 1 {
		t.labels, t.loose = labels, true
	}
}

// looseLabels are those of what some would take for a host: with a dot at the end, white space around it, U-labels, or a * as a part of the
// first label, as verifiers may have it in a common name (RFC 6125 6.4.3).
func looseLabels(text string) []string {
	ascii, err := toASCII.ToASCII(strings.TrimSuffix(strings.TrimSpace(text), "."))
	if err != nil {
		return nil
	}
	labels := strings.Split(lower(strings.TrimSuffix(ascii, ".")), ".")
	for i, label := range labels {
		if i == 0 {
			label = strings.ReplaceAll(label, "*", "x")
		}
		if !isLabel(label) {
			return nil
		}
	}
	return labels
}

// isMailbox reports whether what is before the @ is that and nothing else: no name, no quotes, no other address.
func isMailbox(text string) bool {
	return isASCII(text) && !strings.ContainsAny(text, " \t@<>\"\\,;:()[]{}")
}

// asLooseMailbox takes apart what some would take for a mail address: with white space around it, in angle brackets, or with a host that
// is not written as certificates have it.
func (t *target) asLooseMailbox(text string) {
	if open := strings.LastIndexByte(text, '<'); open >= 0 {
		text, _, _ = strings.Cut(text[open+1:], ">")
	}
	text = strings.TrimSpace(text)
	at := strings.LastIndexByte(text, '@')
	if at < 1 {
		return
	}
	if labels := looseLabels(text[at+1:]); labels != nil {
		t.mailbox, t.labels, t.loose = text[:at], labels, true
	}
}

// couldBe reports whether a label with a * in it could stand for another one.
func couldBe(wildcard, label string) bool {
	first, last := strings.IndexByte(wildcard, '*'), strings.LastIndexByte(wildcard, '*')
	return len(label) >= first+len(wildcard)-1-last && strings.HasPrefix(label, wildcard[:first]) && strings.HasSuffix(label, wildcard[last+1:])
}
