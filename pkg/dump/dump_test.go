package dump

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"cauase/pkg/audit"
	"cauase/pkg/store"
)

var update = flag.Bool("update", false, "write the golden file of the current version anew")

func when(n int) time.Time { return time.Date(2026, 3, 4, 5, 6, 7+n, 891_234_000, time.UTC) }

func big20(n int64) *big.Int {
	return new(big.Int).Add(new(big.Int).Lsh(big.NewInt(0x7f), 152), big.NewInt(n))
}

// samples has rows of every kind, with every member there and with everything left out that may be.
func samples() []store.Row {
	return []store.Row{
		store.Authority{Name: "cas", Title: "Löwe \"\\<&>", Role: store.RoleServices, Parent: "home-root", Subject: []byte{0x30, 0},
			Permitted: []string{"dns:.lab.example", "ip:10.0.0.0/8"}, Span: 93 * 24 * time.Hour, Life: 4, KeyType: "ecdsa-p256", Profile: "server",
			Profiles: []string{"client"}, MaxPending: 50, AutoApprove: 1, CRLLife: time.Hour, CreatedAt: when(0), RetiredAt: when(1)},
		store.Authority{Name: "cau", Role: store.RoleUsers, CreatedAt: when(0)},
		store.CA{ID: 1, Authority: store.Users, CreatedAt: when(0), NotBefore: when(0), NotAfter: when(9),
			KeyID: []byte{1, 2}, Certificate: []byte{0x30, 0}, Anchor: []byte{0x30, 1, 0}, State: store.CAUsable, Key: store.KeyInRow([]byte{0x30, 1, 0xff}), Link: []byte(`{"payload":"x"}`), ParentLink: []byte(`{}`),
			ParentAuthority: "home-root", ParentCA: 7, Activation: store.WhenAdopted, ActivatedAt: when(5)},
		store.CA{ID: 2, Authority: store.Services, CreatedAt: when(1), NotBefore: when(1), NotAfter: when(9),
			KeyID: []byte{3}, Certificate: []byte{0x30, 0}, State: store.CADisowned},
		store.Signoff{Authority: "cas", ID: 1, CreatedAt: when(1), NotBefore: when(1), NotAfter: when(9), KeyID: []byte{4},
			Key: store.KeyRef{Custody: "token", Ref: []byte("slot 1")}, Request: []byte{0x30, 0}, InstalledAt: when(2)},
		store.Signoff{Authority: "cas", ID: 3, CreatedAt: when(1), NotBefore: when(1), NotAfter: when(1), KeyID: []byte{}, Request: []byte{}},
		store.KEK{CreatedAt: when(1), Wrap: "inputs", Params: []byte("{}"), Wrapped: []byte{1}},
		store.KEK{Authority: store.Services, CreatedAt: when(1), Params: []byte{}, Wrapped: []byte{}},
		store.CRL{Authority: store.Services, CAID: 2, Number: 7, ThisUpdate: when(2), NextUpdate: when(3), Pruned: 1, Signature: []byte{9}},
		store.CRL{Authority: store.Users, CAID: 1, ThisUpdate: when(2), NextUpdate: when(3), Signature: []byte{}},
		store.Request{Authority: store.Services, ID: 1<<63 - 1, ReceivedAt: when(3), Submitter: "anonymous 192.0.2.1",
			PEM: []byte("-----BEGIN\r\n\x00\xff"), Digest: []byte{1}, KeyID: []byte{2}, Subject: "CN=ünï \"\\\u2028<&>",
			SANs: []string{"DNS:a", "", "URI:urn:x?<&>\x01"}, Profile: "server", Address: "192.0.2.1", Asked: `{"client":"ä"}`},
		store.Request{Authority: store.Services, ID: 0, ReceivedAt: when(4), PEM: []byte{}, Digest: []byte{}, KeyID: []byte{}},
		store.Approval{Authority: store.Services, Request: 0, Lineage: 4, ApprovedAt: when(5), ApprovedBy: "user serial=1 key=02", Serial: "0x1", What: []byte{7}},
		store.Rejection{Authority: store.Services, ID: 6, Digest: []byte{1}, KeyID: []byte{2}, RejectedAt: when(5), RejectedBy: "user serial=1 key=02", Reason: "Löwe <&>"},
		store.Rejection{Authority: store.Users, ID: 6, Digest: []byte{}, KeyID: []byte{}, RejectedAt: when(5)},
		store.Lineage{Authority: store.Services, ID: 4, CreatedAt: when(1), Subject: "CN=ä", Profile: "server", State: store.LineageActive,
			Newest: big20(1), NotAfter: when(8), Renewals: 1, RenewedAt: when(3), Address: "192.0.2.1", Forks: 2, ForkedAt: when(2), ForkAddress: "192.0.2.2",
			ForkedFrom: "2001:db8::1", Day: when(0), DayRenewals: 3, DayRevocations: 4, DayBytes: 5},
		store.Lineage{Authority: store.Users, ID: 4, CreatedAt: when(1), Role: "administrator", State: store.LineageEnded, EndedAt: when(2), Reason: 1,
			Newest: new(big.Int), NotAfter: when(2)},
		store.Adoption{Authority: store.Services, Lineage: 4, CAKeyID: []byte{3}, HeldAt: when(6), Address: "192.0.2.1"},
		store.Certificate{Authority: store.Services, ID: 5, Serial: big20(1), CAID: 2, Subject: "CN=a", SANs: []string{"DNS:a"},
			NotBefore: when(1), NotAfter: when(8), KeyID: []byte{2}, IssuedAt: when(3), IssuedBy: "user serial=1 key=02",
			Method: store.Renewed, Renews: big20(2), CSR: []byte("csr"), CSRDigest: []byte{1}, DER: []byte{0x30, 0},
			Profile: "server", Validity: time.Hour, Lineage: 4, Asked: "{}", Rule: "web", RuleDigest: []byte{5}},
		store.Certificate{Authority: store.Users, ID: 4, Serial: new(big.Int), CAID: 1,
			NotBefore: time.Date(1949, 12, 31, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
			KeyID: []byte{}, IssuedAt: when(3), Method: store.Internal, DER: []byte{}},
		store.Revocation{Authority: store.Services, Seq: 3, Serial: big20(1), KeyID: []byte{2}, RevokedAt: when(4), KeepUntil: when(9), Reason: 1},
		store.Revocation{Authority: store.Users, Seq: 1, Serial: big.NewInt(7), RevokedAt: when(4), KeepUntil: when(9)},
		store.Invitation{Authority: store.Services, ID: "00ff", Inviter: "user serial=1 key=02", Names: []string{"dns:*.web.example", "cn:löwe"},
			Uses: 50, Used: 2, Refused: 1, MadeAt: when(1), Until: when(4), VoidedAt: when(3)},
		store.Invitation{Authority: store.Services, ID: "01", Until: when(4)},
		store.Delivery{ID: 2, Authority: store.Services, Hook: "web", Event: []byte("{}"), CreatedAt: when(1), DueAt: when(2), Attempts: 3, LastError: "timeout"},
		store.Delivery{ID: 3, Hook: "web", Event: []byte{}, CreatedAt: when(1), DueAt: when(2)},
		store.Counter{Name: "of the daemon", Value: 1},
		store.Counter{Authority: store.Services, Name: store.CounterCRLNumber, Value: store.MaxNumber},
		store.Counter{Authority: store.Services, Name: store.CounterReceivedCSR},
		store.Setting{Authority: "", Name: "", Value: ""},
		store.Setting{Authority: store.Users, Name: store.SettingAutoApprove, Value: "1"},
		store.Log{ID: 1, Origin: "cauase.log/00ff", Secret: []byte{7}, Size: 9, Seq: 3, Edge: []byte{8, 9}, Epoch: 2, Epochs: "[]"},
		store.LogTile{Level: 0, Number: 1, Hashes: []byte{1, 2}},
		store.LogTile{Level: 1, Hashes: []byte{}},
		store.Checkpoint{Size: 0, Time: when(1), Root: []byte{}, Epoch: 1, Signed: []byte{}},
		store.Checkpoint{Size: 9, Time: when(2), Root: []byte{5}, Epoch: 2, Signed: []byte("löwe\n")},
		store.AuditEntry{Entry: audit.Entry{Seq: 1, Time: when(1)}},
		store.AuditEntry{Entry: audit.Entry{Seq: 3, Time: when(0), Authority: "cas", Actor: audit.Actor{Kind: audit.User, Role: "issuer", Serial: big20(3), KeyID: []byte{2}, Address: "2001:db8::1", Lineage: "l", RequestID: "r"},
			Action: audit.Sign, Object: audit.CertificateObject(1, big20(4)).Of(4), Result: audit.Refused, Detail: "because\n", Digest: []byte{6}, Leaf: 8, Hash: []byte{7}}},
	}
}

// samples1 has the rows of version1.rows as they are now.
func samples1() []store.Row {
	return []store.Row{
		store.Authority{Name: "cas", Title: "Caucase CAS", Role: store.RoleServices, CreatedAt: when(1)},
		store.Authority{Name: "cau", Title: "Caucase CAU", Role: store.RoleUsers, CreatedAt: when(0)},
		store.CA{ID: 1, Authority: store.Users, CreatedAt: when(0), NotBefore: when(0), NotAfter: when(9),
			KeyID: []byte{1, 2}, Certificate: []byte{0x30, 0}, State: store.CAUsable, Key: store.KeyInRow([]byte{0x30, 1, 0xff}), Link: []byte(`{"payload":"x"}`)},
		store.CA{ID: 2, Authority: store.Services, CreatedAt: when(1), NotBefore: when(1), NotAfter: when(9),
			KeyID: []byte{3}, Certificate: []byte{0x30, 0}, State: store.CADisowned},
		store.CRL{Authority: store.Services, CAID: 2, Number: 7, ThisUpdate: when(2), NextUpdate: when(3), Pruned: 1, Signature: []byte{9}},
		store.CRL{Authority: store.Users, CAID: 1, ThisUpdate: when(2), NextUpdate: when(3), Signature: []byte{}},
		store.Request{Authority: store.Services, ID: 1<<63 - 1, ReceivedAt: when(3), Submitter: "anonymous 192.0.2.1",
			PEM: []byte("-----BEGIN\r\n\x00\xff"), Digest: []byte{1}, KeyID: []byte{2}, Subject: "CN=ünï \"\\\u2028<&>",
			SANs: []string{"DNS:a", "", "URI:urn:x?<&>\x01"}, Address: "192.0.2.1"},
		store.Request{Authority: store.Services, ID: 0, ReceivedAt: when(4), PEM: []byte{}, Digest: []byte{}, KeyID: []byte{}},
		store.Certificate{Authority: store.Services, ID: 5, Serial: big20(1), CAID: 2, Subject: "CN=a", SANs: []string{"DNS:a"},
			NotBefore: when(1), NotAfter: when(8), KeyID: []byte{2}, IssuedAt: when(3), IssuedBy: "user serial=1 key=02",
			Method: store.Renewed, Renews: big20(2), CSR: []byte("csr"), CSRDigest: []byte{1}, DER: []byte{0x30, 0}},
		store.Certificate{Authority: store.Users, ID: 4, Serial: new(big.Int), CAID: 1,
			NotBefore: time.Date(1949, 12, 31, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
			KeyID: []byte{}, IssuedAt: when(3), Method: store.Internal, DER: []byte{}},
		store.Revocation{Authority: store.Services, Seq: 3, Serial: big20(1), KeyID: []byte{2}, RevokedAt: when(4), KeepUntil: when(9), Reason: 1},
		store.Revocation{Authority: store.Users, Seq: 1, Serial: big.NewInt(7), RevokedAt: when(4), KeepUntil: when(9)},
		store.Counter{Name: "of the daemon", Value: 1},
		store.Counter{Authority: store.Services, Name: store.CounterCRLNumber, Value: store.MaxNumber},
		store.Counter{Authority: store.Services, Name: store.CounterReceivedCSR},
		store.Setting{Authority: "", Name: "", Value: ""},
		store.Setting{Authority: store.Users, Name: store.SettingAutoApprove, Value: "1"},
		store.AuditEntry{Entry: audit.Entry{Seq: 1, Time: when(1)}},
		store.AuditEntry{Entry: audit.Entry{Seq: 3, Time: when(0), Authority: "cas", Actor: audit.Actor{Kind: audit.Operator, Address: "2001:db8::1", RequestID: "r"},
			Action: audit.Sign, Object: audit.RequestObject(1), Result: audit.Refused, Detail: "because\n"}},
	}
}

func meta() Meta { return Meta{Created: when(0), Software: "v1.2.3"} }

// each is the function that Write takes.
func each(rows []store.Row) func(func(store.Row) error) error {
	return func(fn func(store.Row) error) error {
		for _, row := range rows {
			if err := fn(row); err != nil {
				return err
			}
		}
		return nil
	}
}

func write(t testing.TB, rows []store.Row) (string, Summary) {
	t.Helper()
	var b bytes.Buffer
	sum, err := Write(&b, meta(), each(rows))
	if err != nil {
		t.Fatal(err)
	}
	return b.String(), sum
}

// read returns the rows before the first error.
func read(r io.Reader) (rows []store.Row, d *Reader, err error) {
	if d, err = Read(r); err != nil {
		return nil, nil, err
	}
	for row, err := range d.Rows() {
		if err != nil {
			return rows, d, err
		}
		rows = append(rows, row)
	}
	return rows, d, nil
}

func diff(a, b any) string {
	return cmp.Diff(a, b, cmp.Comparer(func(a, b *big.Int) bool { return a == b || a != nil && b != nil && a.Cmp(b) == 0 }))
}

func TestRoundTrip(t *testing.T) {
	data, sum := write(t, samples())
	for name, r := range map[string]io.Reader{
		"at once":      strings.NewReader(data),
		"byte by byte": iotest.OneByteReader(strings.NewReader(data)),
		"with the end": iotest.DataErrReader(strings.NewReader(data)),
	} {
		rows, d, err := read(r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := diff(samples(), rows); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if !d.Summary().Equal(sum) || sum.Rows() != int64(len(rows)) {
			t.Errorf("%s: summary of what was read:\n%sof what was written:\n%s", name, d.Summary(), sum)
		}
		if m := d.Meta(); m != (Meta{Version, when(0), "v1.2.3"}) {
			t.Errorf("%s: %+v", name, m)
		}
		for _, err := range d.Rows() {
			if err == nil {
				t.Error("the rows can be read twice")
			}
		}
	}
	if !Is([]byte(data)) || Is([]byte(data[:10])) || Is(nil) {
		t.Error("Is")
	}
}

func TestEmpty(t *testing.T) {
	data, sum := write(t, nil)
	if rows, _, err := read(strings.NewReader(data)); err != nil || len(rows) != 0 {
		t.Error(rows, err)
	}
	if len(sum) != len(store.Kinds()) || sum.Rows() != 0 {
		t.Error(sum)
	}
}

// samples5 has the rows of version5.rows as they are now.
func samples5() []store.Row {
	var rows []store.Row
	for _, row := range samples() {
		switch v := row.(type) {
		case store.KEK, store.Log, store.LogTile, store.Checkpoint:
			continue
		case store.AuditEntry:
			v.Digest, v.Leaf, v.Hash = nil, 0, nil
			row = v
		}
		rows = append(rows, row)
	}
	return rows
}

// samples4 has the rows of version4.rows as they are now.
func samples4() []store.Row {
	var rows []store.Row
	for _, row := range samples5() {
		switch v := row.(type) {
		case store.CA:
			v.Activation, v.ActivatedAt = store.ByAge, time.Time{}
			row = v
		case store.Request:
			v.Asked = ""
			row = v
		case store.Approval, store.Adoption, store.Delivery:
			continue
		case store.Certificate:
			v.Asked, v.Rule, v.RuleDigest = "", "", nil
			row = v
		}
		rows = append(rows, row)
	}
	return rows
}

// samples3 has the rows of version3.rows as they are now. The address of a request of before follows from its submitter.
func samples3() []store.Row {
	var rows []store.Row
	for _, row := range samples4() {
		switch v := row.(type) {
		case store.Rejection:
			continue
		case store.AuditEntry:
			v.Object.Lineage = ""
			row = v
		}
		rows = append(rows, row)
	}
	return rows
}

// samples2 has the rows of version2.rows as they are now.
func samples2() []store.Row {
	var rows []store.Row
	for _, row := range samples3() {
		switch v := row.(type) {
		case store.CA:
			v.Anchor, v.ParentLink = nil, nil
			row = v
		case store.Lineage, store.Invitation:
			continue
		case store.Certificate:
			v.Lineage = 0
			row = v
		}
		rows = append(rows, row)
	}
	return rows
}

// A stream of version 2 is read as the rows of now. What came later does not stand in it.
func TestVersion2(t *testing.T) {
	golden, err := os.ReadFile("testdata/version2.rows")
	if err != nil {
		t.Fatal(err)
	}
	rows, d, err := read(bytes.NewReader(golden))
	if err != nil {
		t.Fatal(err)
	}
	if diff := diff(samples2(), rows); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, sum := write(t, samples2()); !d.Summary().Equal(sum) || d.Meta().Version != 2 {
		t.Errorf("version %d, summary:\n%s", d.Meta().Version, d.Summary())
	}
	for name, change := range map[string]func([]store.Row) []store.Row{
		"anchor": func(rows []store.Row) []store.Row { return samples() },
		"certificate/lineage": func(rows []store.Row) []store.Row {
			for i, row := range rows {
				if crt, ok := row.(store.Certificate); ok {
					crt.Lineage = 7
					rows[i] = crt
				}
			}
			return rows
		},
		"/lineage": func(rows []store.Row) []store.Row {
			at := slices.IndexFunc(rows, func(row store.Row) bool { return Kind(row) == "certificate" })
			return slices.Insert(rows, at, store.Row(store.Lineage{Authority: "cas", ID: 1, CreatedAt: when(0), NotAfter: when(0), State: store.LineageActive, Newest: big20(1)}))
		},
	} {
		rows := slices.DeleteFunc(change(samples2()), func(row store.Row) bool { return Kind(row) == "request" }) // of which version 4 says more
		data, _ := write(t, rows)
		later := strings.Replace(strings.NewReplacer(`,"activation":""`, "", `,"leaf":0`, "").Replace(data), `"version":6`, `"version":2`, 1)
		if _, _, err := read(strings.NewReader(later)); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s in a stream of version 2: %v", name, err)
		}
	}
}

// A stream of version 3 is read as the rows of now. What came later does not stand in it.
func TestVersion3(t *testing.T) {
	golden, err := os.ReadFile("testdata/version3.rows")
	if err != nil {
		t.Fatal(err)
	}
	rows, d, err := read(bytes.NewReader(golden))
	if err != nil {
		t.Fatal(err)
	}
	if diff := diff(samples3(), rows); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, sum := write(t, samples3()); !d.Summary().Equal(sum) || d.Meta().Version != 3 {
		t.Errorf("version %d, summary:\n%s", d.Meta().Version, d.Summary())
	}
	all := samples()
	for name, rows := range map[string][]store.Row{
		"request/address": {all[10]}, "rejection": {store.Rejection{Authority: "cas", RejectedAt: when(0)}}, "audit/object_lineage": {all[len(all)-1]},
	} {
		data, _ := write(t, rows)
		later := strings.Replace(data, `"version":6`, `"version":3`, 1)
		if _, _, err := read(strings.NewReader(later)); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s in a stream of version 3: %v", name, err)
		}
	}
}

// A stream of version 4 is read as the rows of now. What came later does not stand in it.
func TestVersion4(t *testing.T) {
	golden, err := os.ReadFile("testdata/version4.rows")
	if err != nil {
		t.Fatal(err)
	}
	rows, d, err := read(bytes.NewReader(golden))
	if err != nil {
		t.Fatal(err)
	}
	if diff := diff(samples4(), rows); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, sum := write(t, samples4()); !d.Summary().Equal(sum) || d.Meta().Version != 4 {
		t.Errorf("version %d, summary:\n%s", d.Meta().Version, d.Summary())
	}
	for name, row := range map[string]store.Row{
		"approval": store.Approval{Authority: "cas", ApprovedAt: when(0)},
		"adoption": store.Adoption{Authority: "cas", HeldAt: when(0)},
		"delivery": store.Delivery{ID: 1, CreatedAt: when(0), DueAt: when(0)},
		"asked":    store.Request{Authority: "cas", ReceivedAt: when(0), PEM: []byte{}, Digest: []byte{}, KeyID: []byte{}, Asked: "{}"},
	} {
		data, _ := write(t, []store.Row{row})
		later := strings.Replace(data, `"version":6`, `"version":4`, 1)
		if _, _, err := read(strings.NewReader(later)); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s in a stream of version 4: %v", name, err)
		}
	}
}

// A stream of version 5 is read as the rows of now. What came later does not stand in it.
func TestVersion5(t *testing.T) {
	golden, err := os.ReadFile("testdata/version5.rows")
	if err != nil {
		t.Fatal(err)
	}
	rows, d, err := read(bytes.NewReader(golden))
	if err != nil {
		t.Fatal(err)
	}
	if diff := diff(samples5(), rows); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, sum := write(t, samples5()); !d.Summary().Equal(sum) || d.Meta().Version != 5 {
		t.Errorf("version %d, summary:\n%s", d.Meta().Version, d.Summary())
	}
	for name, row := range map[string]store.Row{
		"kek":        store.KEK{CreatedAt: when(0)},
		"log":        store.Log{ID: 1},
		"log_tile":   store.LogTile{},
		"checkpoint": store.Checkpoint{Time: when(0)},
		"leaf":       store.AuditEntry{Entry: audit.Entry{Seq: 1, Time: when(0)}},
	} {
		data, _ := write(t, []store.Row{row})
		later := strings.Replace(data, `"version":6`, `"version":5`, 1)
		if _, _, err := read(strings.NewReader(later)); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s in a stream of version 5: %v", name, err)
		}
	}
}

// The golden files are what versions have written. They are never written anew.
func TestGolden(t *testing.T) {
	const file = "testdata/version6.rows"
	data, sum := write(t, samples())
	if *update {
		if err := os.WriteFile(file, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if Version == 6 && string(golden) != data {
		t.Errorf("what is written has changed, which takes a new version:\n%s", data)
	}
	rows, d, err := read(bytes.NewReader(golden))
	if err != nil {
		t.Fatal(err)
	}
	if diff := diff(samples(), rows); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if Version == 6 && !d.Summary().Equal(sum) {
		t.Error("another summary")
	}
}

// A stream of version 1 is read as the rows of now, and summed up as they are.
func TestVersion1(t *testing.T) {
	golden, err := os.ReadFile("testdata/version1.rows")
	if err != nil {
		t.Fatal(err)
	}
	rows, d, err := read(bytes.NewReader(golden))
	if err != nil {
		t.Fatal(err)
	}
	if diff := diff(samples1(), rows); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, sum := write(t, samples1()); !d.Summary().Equal(sum) || d.Meta().Version != 1 {
		t.Errorf("version %d, summary:\n%s", d.Meta().Version, d.Summary())
	}
}

// A backup is taken and read whatever has become of a CA.
func TestStates(t *testing.T) {
	for _, state := range []store.CAState{store.CAUsable, store.CAErased, store.CADisowned, store.CAExternal, store.CARevoked} {
		t.Run(string(state), func(t *testing.T) {
			ca := store.CA{ID: 1, Authority: "lab", CreatedAt: when(0), NotBefore: when(0), NotAfter: when(9), KeyID: []byte{1}, Certificate: []byte{2}, State: state}
			if state == store.CAUsable {
				ca.Key = store.KeyInRow([]byte{3})
			}
			stream, _ := write(t, []store.Row{ca})
			rows, _, err := read(strings.NewReader(stream))
			if diff := diff([]store.Row{ca}, rows); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// Databases hold texts that are not UTF-8, or hold a NUL, if a peer has sent such. A backup must not
// fail for them, and be good for every database.
func TestTexts(t *testing.T) {
	ca := samples()[2]
	for _, text := range []string{"a\xffb", "a\x00b", "a\xc3", "\xed\xa0\x80"} {
		want := strings.ReplaceAll(strings.ToValidUTF8(text, "\ufffd"), "\x00", "\ufffd")
		at := when(0)
		rows := func(text string) []store.Row {
			return []store.Row{ca,
				store.Request{Authority: "cau", ReceivedAt: at, Submitter: text, Subject: text, SANs: []string{"a", text}, PEM: []byte{}, Digest: []byte{}, KeyID: []byte{}},
				store.Certificate{Authority: "cau", CAID: 1, Serial: big.NewInt(1), NotBefore: at, NotAfter: at, IssuedAt: at, Subject: text,
					SANs: []string{text}, IssuedBy: text, Method: store.Method(text), KeyID: []byte{}, DER: []byte{}},
				store.Counter{Name: text}, store.Setting{Name: text, Value: text},
				store.AuditEntry{Entry: audit.Entry{Seq: 1, Time: at, Actor: audit.Actor{Kind: audit.Kind(text), Address: text, RequestID: text}, Action: audit.Action(text), Object: audit.Object{ID: text},
					Result: audit.Result(text), Detail: text}}}
		}
		data, sum := write(t, rows(text))
		got, _, err := read(strings.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if diff := diff(rows(want), got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
		if _, again := write(t, got); !again.Equal(sum) {
			t.Error("they are other rows now")
		}
		for i, row := range rows(text) {
			if sound := Sound(row); sound != (i == 0) {
				t.Errorf("%s is sound: %t", Describe(row), sound)
			}
			if diff := diff(Clean(row), got[i]); diff != "" {
				t.Error(diff)
			}
		}
	}
}

func TestSummaries(t *testing.T) {
	_, sum := write(t, samples())
	for _, test := range []struct {
		name   string
		change func([]store.Row) []store.Row
		want   string
	}{
		{"the same", func(r []store.Row) []store.Row { return r }, ""},
		{"one less", func(r []store.Row) []store.Row { return r[:len(r)-1] }, "audit: 2 rows against 1"},
		{"another value", func(r []store.Row) []store.Row {
			i := slices.IndexFunc(r, func(row store.Row) bool { c, ok := row.(store.Counter); return ok && c.Value > 1 })
			c := r[i].(store.Counter)
			c.Value--
			r[i] = c
			return r
		}, "counter: as many rows, but not the same"},
		{"order of issuance", func(r []store.Row) []store.Row {
			r[18], r[19] = r[19], r[18]
			return r
		}, "certificate: as many rows, but not the same"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, other := write(t, test.change(samples()))
			if got := sum.Diff(other); got != test.want || sum.Equal(other) != (test.want == "") {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
	if sum.Equal(nil) {
		t.Error("equal to none")
	}
	if s := sum.String(); strings.Count(s, "\n") != len(kindsOf(Version)) || !strings.Contains(s, "certificate ") {
		t.Error(s)
	}
}

// What could not be read again must not be written.
func TestWriteRefuses(t *testing.T) {
	ca := samples()[2].(store.CA)
	crt := samples()[19].(store.Certificate)
	with := func(change func(*store.Certificate)) []store.Row {
		c := crt
		change(&c)
		return []store.Row{ca, c}
	}
	for _, test := range []struct {
		name string
		rows []store.Row
		want string
	}{
		{"no row", []store.Row{nil}, "no place for a <nil>"},
		{"out of order", []store.Row{store.Counter{Name: "b"}, store.Counter{Name: "a"}}, "out of order"},
		{"twice", []store.Row{ca, ca}, "there twice"},
		{"kinds out of order", []store.Row{store.Counter{}, ca}, "kind ca comes after those of kind counter"},
		{"no serial", with(func(c *store.Certificate) { c.Serial = nil }), "serial: not a serial"},
		{"negative serial", with(func(c *store.Certificate) { c.Serial = big.NewInt(-1) }), "serial: not a decimal"},
		{"long serial", with(func(c *store.Certificate) { c.Serial = new(big.Int).Lsh(big.NewInt(1), 160) }), "serial: not a serial"},
		{"absurd time", with(func(c *store.Certificate) { c.IssuedAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }), "issued_at"},
		{"ends before it begins", with(func(c *store.Certificate) { c.NotAfter = c.NotBefore.Add(-1000) }), "not_after lies before"},
		{"unknown CA", with(func(c *store.Certificate) { c.CAID = 2 }), "has no CA 2"},
		{"the largest number there is", []store.Row{store.Counter{Name: "x", Value: store.MaxNumber + 1}}, "value: 6917529027641081857 is not a number from 0"},
		{"no authority", with(func(c *store.Certificate) { c.Authority = "" }), `authority: "" is none`},
		{"too long", with(func(c *store.Certificate) { c.DER = make([]byte, MaxLine) }), "longer than"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Write(io.Discard, meta(), each(test.rows))
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
	if _, err := Write(io.Discard, Meta{Software: strings.Repeat("x", 5000)}, each(nil)); err == nil {
		t.Error("a first line without end")
	}
	broken := errors.New("broken")
	if _, err := Write(io.Discard, meta(), func(func(store.Row) error) error { return broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
	for n := range 3 {
		if _, err := Write(&failing{n}, meta(), each(samples())); !errors.Is(err, io.ErrClosedPipe) {
			t.Error(err)
		}
	}
}

// failing fails at the nth write.
type failing struct{ n int }

func (f *failing) Write(p []byte) (int, error) {
	if f.n--; f.n < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

func TestKinds(t *testing.T) {
	var seen []string
	for _, row := range samples() {
		if kind := Kind(row); !slices.Contains(seen, kind) {
			seen = append(seen, kind)
		}
		if !strings.HasPrefix(Describe(row), Kind(row)) {
			t.Error(Describe(row))
		}
	}
	if !slices.Equal(seen, kindsOf(Version)) {
		t.Error(seen)
	}
}
