// Package storetest is the suite that every implementation of store.Store passes.
package storetest

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/big"
	"testing"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/store"
)

// Run tests the stores that open returns: empty ones, each used by one test only, and by one test
// more than one. open registers what closes them.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *db)
	}{
		{"authorities", testAuthorities},
		{"sign-offs", testSignoffs},
		{"rows with every value there and with none", testKinds},
		{"CAs", testCAs},
		{"CA keys of any authority", testIsCAKey},
		{"erasing a CA key", testEraseCAKey},
		{"requests", testRequests},
		{"order of requests", testRequestOrder},
		{"requests are unique", testRequestUnique},
		{"approvals", testApprovals},
		{"rejections", testRejections},
		{"pruning rejections", testPruneRejections},
		{"certificates", testCertificates},
		{"certificates are unique", testCertificateUnique},
		{"newest certificate of a request", testCertificateByCSR},
		{"pages of certificates", testCertificatePages},
		{"counting certificates", testCountCertificates},
		{"pruning certificates", testPruneCertificates},
		{"keys in use", testKeyInUse},
		{"lineages", testLineages},
		{"pages of lineages", testLineagePages},
		{"certificates of a lineage", testLineageCertificates},
		{"what a request has made of a certificate", testRenewalByCSR},
		{"revoking a lineage", testRevokeLineage},
		{"what a renewal depends on", testRenewable},
		{"renewals", testAddRenewal},
		{"renewals of what has changed", testRenewalOfChanged},
		{"what a submission depends on", testSubmittable},
		{"what an approval depends on", testApprovable},
		{"requests taken and certificates that begin a lineage", testEnrolment},
		{"views of one query", testViewOne},
		{"counting lineages", testCountLineages},
		{"lineages that have ended since", testEndedLineage},
		{"pruning lineages", testPruneLineages},
		{"names of lineages", testNames},
		{"more names than one statement stores", testManyNames},
		{"names that are not known", testNameLineages},
		{"names go with their lineage", testPruneNames},
		{"names in a store that was loaded", testLoadNames},
		{"lineages that contradict themselves", testLineageFaults},
		{"loading certificates without lineages", testLoadWithoutLineages},
		{"revocations", testRevocations},
		{"what is said against a certificate", testStanding},
		{"revocations are unique", testRevocationUnique},
		{"pruning revocations", testPruneRevocations},
		{"compromised keys", testKeyCompromised},
		{"CRLs", testCRLs},
		{"invitations", testInvitations},
		{"pruning invitations", testPruneInvitations},
		{"deliveries", testDeliveries},
		{"adoptions", testAdoptions},
		{"activation of a CA", testActivateCA},
		{"keys of CAs", testCAKeys},
		{"tree over the audit log", testTree},
		{"epochs of the tree", testEpochs},
		{"tree and Updates that fail", testTreeUndo},
		{"checkpoints", testCheckpoints},
		{"entries of before enter the tree", testTreeEntered},
		{"pruning the audit log", testPruneAudit},
		{"holders of CAs", testHolders},
		{"counters", testCounters},
		{"settings", testSettings},
		{"audit log", testAudit},
		{"audit log by filter", testAuditFilter},
		{"audit log of a lineage", testAuditLineage},
		{"audit log in pages", testAuditPages},
		{"times", testTimes},
		{"serials", testSerials},
		{"texts", testTexts},
		{"texts that are refused", testTextsRefused},
		{"nothing there", testNotFound},
		{"rows without an authority", testNoAuthority},
		{"an error undoes everything", testRollback},
		{"a refused row does not end the transaction", testGoOn},
		{"a panic undoes everything", testPanic},
		{"a transaction sees its own writes", testOwnWrites},
		{"prefetched answers", testPrefetch},
		{"a view is a snapshot", testSnapshot},
		{"updates do not overlap", testSerial},
		{"an error harms no neighbour", testNeighbours},
		{"a transaction that was kept", testKept},
		{"an ended context", testContext},
		{"a context that ends while waiting", testContextWaiting},
		{"a context that ends half-way", testContextHalfway},
		{"ping", testPing},
		{"all rows", testRows},
		{"all rows to another store", testLoad},
		{"work in a store that was loaded", testLoadThenWork},
		{"loading what is not empty", testLoadTwice},
		{"loading fails", testLoadFails},
		{"stopping between rows", testRowsStop},
		{"all rows are a snapshot", testRowsSnapshot},
		{"all rows and what was just written", testRowsOwnWrites},
		{"more rows than memory should hold", testRowsMany},
		{"operations within one transaction", testWithin},
		{"closed", testClosed},
		{"close waits", testCloseWaits},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, &db{t: t, Store: open(t), open: open}) })
	}
}

// A db is a Store whose errors end the test, for the steps that are not what it is about.
type db struct {
	store.Store
	t    *testing.T
	open func(*testing.T) store.Store
}

// another opens a second, empty store.
func (d *db) another() *db { return &db{t: d.t, Store: d.open(d.t), open: d.open} }

func (d *db) update(fn func(ctx context.Context, tx store.Tx) error) {
	d.t.Helper()
	ctx := d.t.Context()
	if err := d.Update(ctx, func(tx store.Tx) error { return fn(ctx, tx) }); err != nil {
		d.t.Fatalf("Update: %v", err)
	}
}

func (d *db) view(fn func(ctx context.Context, r store.Reader) error) {
	d.t.Helper()
	ctx := d.t.Context()
	if err := d.View(ctx, func(r store.Reader) error { return fn(ctx, r) }); err != nil {
		d.t.Fatalf("View: %v", err)
	}
}

// ca stores a CA for rows that need one and returns its ID.
func (d *db) ca(a store.AuthorityName) (id int64) {
	d.t.Helper()
	d.update(func(ctx context.Context, tx store.Tx) (err error) {
		id, err = tx.AddCA(ctx, newCA(a, 1))
		return err
	})
	return id
}

// start is when everything in this package happens, give or take.
func start() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 891_234_000, time.UTC) }

func day(n int) time.Time { return start().AddDate(0, 0, n) }

// id20 makes 20 bytes of a number, a key identifier or serial.
func id20(kind byte, n int) []byte {
	b := make([]byte, 20)
	b[0] = kind
	binary.BigEndian.PutUint64(b[12:], uint64(n))
	return b
}

func serial(n int) *big.Int { return new(big.Int).SetBytes(id20(0x7f, n)) }

// The new… functions make rows in which every field has a value of its own.

func newCA(a store.AuthorityName, n int) store.CA {
	return store.CA{
		Authority:   a,
		CreatedAt:   day(n),
		NotBefore:   day(n).Add(-time.Minute),
		NotAfter:    day(n + 372),
		KeyID:       id20('k', n),
		Certificate: []byte{'C', byte(n), 0},
		Anchor:      []byte{'A', byte(n), 0},
		State:       store.CAUsable,
		Key:         store.KeyInRow([]byte{'K', byte(n), 0xff}),
		Link:        []byte(`{"payload":"` + string(a) + `"}`),
		ParentLink:  []byte(`{"payload":"` + string(a) + ` below"}`),

		ParentAuthority: "home-root",
		ParentCA:        int64(n + 70),

		Activation:  store.WhenAdopted,
		ActivatedAt: day(n + 1),
	}
}

// newAuthority makes authorities whose names are in the order of n.
func newAuthority(n int) store.Authority {
	return store.Authority{
		Name:        store.AuthorityName(fmt.Sprintf("a-%02d", n)),
		Title:       "Löwe's printers",
		Role:        store.RoleServices,
		Parent:      "home-root",
		Subject:     []byte{0x30, byte(n), 0},
		Permitted:   []string{"dns:.lab.example", "ip:10.0.0.0/8"},
		Span:        time.Duration(n+1) * 24 * time.Hour,
		Life:        4,
		KeyType:     "ecdsa-p384",
		Profile:     "server",
		Profiles:    []string{"client", "email"},
		MaxPending:  50,
		AutoApprove: 1,
		CRLLife:     time.Hour,
		CreatedAt:   day(n),
		RetiredAt:   day(n + 1),
	}
}

func newSignoff(a store.AuthorityName, n int) store.Signoff {
	return store.Signoff{
		Authority:   a,
		CreatedAt:   day(n),
		NotBefore:   day(n + 1),
		NotAfter:    day(n + 2),
		KeyID:       id20('s', n),
		Key:         store.KeyInRow([]byte{'K', byte(n), 0xff}),
		Request:     []byte{0x30, byte(n), 1},
		Certificate: []byte{7, byte(n)},
		InstalledAt: day(n + 3),
	}
}

func newRequest(a store.AuthorityName, n int) store.Request {
	return store.Request{
		Authority:  a,
		ID:         1<<62 + int64(n),
		ReceivedAt: day(n),
		Submitter:  "anonymous 192.0.2.1",
		PEM:        []byte("-----BEGIN CERTIFICATE REQUEST-----\r\n"),
		Digest:     id20('d', n),
		KeyID:      id20('q', n),
		Subject:    "CN=host",
		SANs:       []string{"DNS:host.example", "URI:urn:x?<&>"},
		Profile:    "server",
		Address:    "192.0.2.1",
		Asked:      `{"address":"192.0.2.1"}`,
	}
}

func newApproval(a store.AuthorityName, request, lineage int) store.Approval {
	return store.Approval{
		Authority:  a,
		Request:    1<<62 + int64(request),
		Lineage:    1<<61 + int64(lineage),
		ApprovedAt: day(lineage),
		ApprovedBy: "user serial=1 key=02",
		Serial:     "0x1",
		What:       id20('w', lineage),
	}
}

func newAdoption(a store.AuthorityName, n int) store.Adoption {
	return store.Adoption{Authority: a, Lineage: 1<<61 + int64(n), CAKeyID: id20('k', n), HeldAt: day(n), Address: "192.0.2.1"}
}

func newDelivery(n int) store.Delivery {
	return store.Delivery{
		Authority: store.Services,
		Hook:      "löwe",
		Event:     []byte{'{', byte(n), 0xff},
		CreatedAt: day(n),
		DueAt:     day(n + 1),
		Attempts:  n,
		LastError: "no route to host",
	}
}

func newRejection(a store.AuthorityName, n int) store.Rejection {
	return store.Rejection{
		Authority:  a,
		ID:         1<<62 + int64(n),
		Digest:     id20('d', n),
		KeyID:      id20('q', n),
		RejectedAt: day(n),
		RejectedBy: "user serial=1 key=02",
		Reason:     "No löwe here",
	}
}

func newCertificate(a store.AuthorityName, caID int64, n int) store.Certificate {
	return store.Certificate{
		Authority: a,
		ID:        1<<62 + int64(n),
		Serial:    serial(n),
		CAID:      caID,
		Subject:   "CN=host",
		SANs:      []string{"DNS:host.example", "DNS:höst.example"},
		NotBefore: day(n),
		NotAfter:  day(n + 93),
		KeyID:     id20('q', n),
		IssuedAt:  day(n).Add(time.Microsecond),
		IssuedBy:  "user serial=1 key=02",
		Method:    store.Renewed,
		Renews:    serial(n + 1_000_000),
		CSR:       []byte("-----BEGIN CERTIFICATE REQUEST-----\n"),
		CSRDigest: id20('d', n),
		DER:       []byte{0x30, 0x00, byte(n)},
		Profile:   "server-client",
		Validity:  36 * time.Hour,
		Lineage:   1<<61 + int64(n),

		Asked:      `{"address":"192.0.2.1"}`,
		Rule:       "web",
		RuleDigest: id20('r', n),
	}
}

func newLineage(a store.AuthorityName, n int) store.Lineage {
	return store.Lineage{
		Authority: a, ID: 1<<61 + int64(n), CreatedAt: day(n), Subject: "CN=höst", Role: store.RoleAdministrator, Profile: "server",
		State: store.LineageEnded, EndedAt: day(n + 1), Reason: 5, Newest: serial(n), NotAfter: day(n + 93),
		Renewals: 2, RenewedAt: day(n + 2), Address: "192.0.2.1", Forks: 1, ForkedAt: day(n + 3), ForkAddress: "2001:db8::1", ForkedFrom: "192.0.2.2",
		Day: day(n + 4), DayRenewals: 3, DayRevocations: 4, DayBytes: 5,
	}
}

func newRevocation(a store.AuthorityName, n int) store.Revocation {
	return store.Revocation{
		Authority: a,
		Serial:    serial(n),
		KeyID:     id20('q', n),
		RevokedAt: day(n),
		KeepUntil: day(n + 93),
		Reason:    4,
	}
}

func newInvitation(a store.AuthorityName, n int) store.Invitation {
	return store.Invitation{
		Authority: a,
		ID:        fmt.Sprintf("%032x", n),
		Inviter:   "user serial=1 key=02",
		Names:     []string{"dns:*.web.example", "cn:löwe"},
		Uses:      50,
		Used:      n + 1,
		Refused:   2,
		MadeAt:    day(n),
		Until:     day(n + 30),
		VoidedAt:  day(n + 1),
	}
}

func newEntry(n int) audit.Entry {
	return audit.Entry{
		Time:      day(n),
		Authority: string(store.Services),
		Actor:     audit.Actor{Kind: audit.User, Serial: serial(1), KeyID: []byte{2}, Role: "issuer", Address: "2001:db8::1", Lineage: "l-1", RequestID: "r-1"},
		Action:    audit.Sign,
		Object:    audit.CertificateObject(123, serial(5)).Of(122),
		Result:    audit.OK,
		Detail:    "because",
	}
}
