package audit

import (
	"encoding/hex"
	"math/big"
	"strconv"
	"strings"
)

// ObjectKind says what kind of thing something was done to.
type ObjectKind string

// The kinds of objects.
const (
	KindRequest     ObjectKind = "csr"
	KindCertificate ObjectKind = "crt"
	KindCA          ObjectKind = "ca"
	KindCRL         ObjectKind = "crl"
	KindSetting     ObjectKind = "setting"
	KindBackup      ObjectKind = "backup"
	KindDatabase    ObjectKind = "database"
	KindAuthority   ObjectKind = "authority"
	KindLineage     ObjectKind = "lineage"
	KindOrigin      ObjectKind = "origin"
	KindInvitation  ObjectKind = "invitation"
	KindLog         ObjectKind = "log" // this log
)

// ObjectKinds returns all kinds of objects.
func ObjectKinds() []ObjectKind {
	return []ObjectKind{KindRequest, KindCertificate, KindCA, KindCRL, KindSetting, KindBackup, KindDatabase, KindAuthority, KindLineage,
		KindOrigin, KindInvitation, KindLog}
}

// An Object is what something was done to.
type Object struct {
	Kind   ObjectKind
	ID     string   // within its kind: an id, a name, a number, a key identifier in hex; may be empty
	Serial *big.Int // of a certificate, nil for everything else

	Lineage string // that a certificate belongs to; empty for everything else, and where it is not known
}

// Of returns the object as one that belongs to the lineage with this id, 0 for none that is known.
func (o Object) Of(lineage int64) Object {
	if lineage != 0 {
		o.Lineage = strconv.FormatInt(lineage, 10)
	}
	return o
}

// RequestObject is the request with this id.
func RequestObject(id int64) Object {
	return Object{Kind: KindRequest, ID: strconv.FormatInt(id, 10)}
}

// CertificateObject is the certificate with this id and serial.
func CertificateObject(id int64, serial *big.Int) Object {
	return Object{Kind: KindCertificate, ID: strconv.FormatInt(id, 10), Serial: serial}
}

// SerialObject is a certificate of which only the serial is known.
func SerialObject(serial *big.Int) Object { return Object{Kind: KindCertificate, Serial: serial} }

// CAObject is the CA certificate with this subject key identifier.
func CAObject(keyID []byte) Object { return Object{Kind: KindCA, ID: hex.EncodeToString(keyID)} }

// LineageObject is the lineage with this id.
func LineageObject(id int64) Object {
	return Object{Kind: KindLineage, ID: strconv.FormatInt(id, 10)}
}

// OriginObject is an origin of web pages.
func OriginObject(origin string) Object { return Object{Kind: KindOrigin, ID: origin} }

// AuthorityObject is the authority of this name.
func AuthorityObject(name string) Object { return Object{Kind: KindAuthority, ID: name} }

// LogObject is the audit log from a leaf on.
func LogObject(leaf int64) Object { return Object{Kind: KindLog, ID: strconv.FormatInt(leaf, 10)} }

// InvitationObject is the invitation with this id.
func InvitationObject(id string) Object { return Object{Kind: KindInvitation, ID: id} }

// CRLObject is the revocation lists with this number.
func CRLObject(number int64) Object {
	return Object{Kind: KindCRL, ID: strconv.FormatInt(number, 10)}
}

// String is how an Object is shown: its kind, its id and, of a certificate, its serial.
func (o Object) String() string {
	if o.Serial != nil {
		return o.with(serialText(o.Serial))
	}
	return o.with("")
}

// with is an object with this serial, if that is not empty, as text.
func (o Object) with(serial string) string {
	text := string(o.Kind)
	if o.ID != "" {
		text += " " + o.ID
	}
	if serial != "" {
		text += " serial=" + serial
	}
	return text
}

// ParseObject reads what String has written, or has in earlier versions, with a decimal serial number. A text that
// it cannot have written becomes the kind, whole: it is shown as it was.
func ParseObject(text string) Object {
	kind, rest, found := strings.Cut(text, " ")
	if !found {
		return Object{Kind: ObjectKind(text)}
	}
	o := Object{Kind: ObjectKind(kind), ID: rest}
	if o.Kind == KindCertificate {
		id, digits, ok := strings.Cut(rest, "serial=")
		if n := parseSerial(digits); ok && n != nil {
			o.ID, o.Serial = strings.TrimSuffix(id, " "), n
		}
	}
	if o.String() != text && (o.Serial == nil || o.with(o.Serial.String()) != text) {
		return Object{Kind: ObjectKind(text)}
	}
	return o
}
