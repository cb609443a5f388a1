package hook

import (
	"context"
	"time"

	"github.com/go-json-experiment/json"

	"cauase/pkg/policy"
)

// A Recipient is told of what was issued, after the fact.
type Recipient interface {
	// Key names it in the database, as long as it is configured.
	Key() string
	// Renewals reports whether it is told of renewals, too.
	Renewals() bool
	// Deliver tells it of an event. An error means that it has to be told again.
	Deliver(ctx context.Context, now time.Time, event []byte) error
	// Timeout bounds a call of Deliver.
	Timeout() time.Duration
}

// CertificateIssued is the type of events about new certificates and renewals.
const CertificateIssued = "certificate.issued"

// An IssuedEvent is what recipients are told of a certificate.
type IssuedEvent struct {
	Version     int           `json:"version"`
	Hook        Event         `json:"hook"`
	Type        string        `json:"type"`
	ID          string        `json:"id"` // the same whenever it is told again
	Time        time.Time     `json:"timestamp"`
	Authority   string        `json:"authority"`
	Certificate Issued        `json:"certificate"`
	Asker       *policy.Asker `json:"asker,omitzero"`
}

// Issued describes a certificate.
type Issued struct {
	ID        string    `json:"id"` // of the certificate, and of its request
	Serial    string    `json:"serial"`
	Lineage   string    `json:"lineage"`
	Renews    string    `json:"renews,omitzero"` // serial of the one that it has renewed
	Subject   string    `json:"subject"`
	Names     []string  `json:"names"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	Profile   string    `json:"profile"`
	Method    string    `json:"method"`
	IssuedBy  string    `json:"issued_by"`
	Rule      string    `json:"rule,omitzero"`
	PEM       string    `json:"pem"`
}

// Text is the form in which an event is kept and told.
func (e IssuedEvent) Text() ([]byte, error) {
	e.Version, e.Hook, e.Type = Version, Postsign, CertificateIssued
	if e.Certificate.Names == nil {
		e.Certificate.Names = []string{}
	}
	return marshal(e)
}

// eventID is the id of an event that was kept.
func eventID(event []byte) (string, error) {
	var known struct {
		ID string `json:"id"`
	}
	err := json.Unmarshal(event, &known)
	return known.ID, err
}

// A ProgramRecipient is a program that is told.
type ProgramRecipient struct {
	*Program
	AlsoRenewals bool
}

// Key is the path of the program.
func (r ProgramRecipient) Key() string { return r.path }

// Renewals reports whether it is told of renewals, too.
func (r ProgramRecipient) Renewals() bool { return r.AlsoRenewals }

// Timeout bounds a call of Deliver.
func (r ProgramRecipient) Timeout() time.Duration { return r.timeout }

// Deliver runs it with the event on standard input. What it writes to standard output is left.
func (r ProgramRecipient) Deliver(ctx context.Context, _ time.Time, event []byte) error {
	_, err := r.Run(ctx, event)
	return err
}
