package dump

import (
	"bytes"
	"io"
	"math/big"
	"testing"

	"cauase/pkg/audit"
	"cauase/pkg/store"
)

// many returns the rows of n renewals.
func many(n int64) (rows []store.Row) {
	for _, row := range samples() {
		if _, ok := row.(store.CA); ok {
			rows = append(rows, row)
		}
	}
	for i := range n {
		rows = append(rows, store.Certificate{Authority: store.Services, ID: i, Serial: big20(i), CAID: 2, Subject: "CN=a", SANs: []string{"DNS:a.example.org"},
			NotBefore: when(1), NotAfter: when(8), KeyID: make([]byte, 20), IssuedAt: when(3), IssuedBy: "holder serial=1 key=02",
			Method: store.Renewed, Renews: big20(i - 1), CSR: make([]byte, 600), CSRDigest: make([]byte, 32), DER: make([]byte, 700)})
	}
	for i := range n {
		rows = append(rows, store.AuditEntry{Entry: audit.Entry{Seq: i + 1, Time: when(1), Authority: "cas",
			Actor:  audit.Actor{Kind: audit.Holder, Serial: big20(i), KeyID: make([]byte, 20), Address: "192.0.2.1", RequestID: "r"},
			Action: audit.Renew, Object: audit.CertificateObject(i, big.NewInt(i)), Result: audit.OK}})
	}
	return rows
}

func BenchmarkWrite(b *testing.B) {
	rows := many(2000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Write(io.Discard, meta(), each(rows)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*len(rows))/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkRead(b *testing.B) {
	stream, _ := write(b, many(2000))
	b.ReportAllocs()
	for b.Loop() {
		d, err := Read(bytes.NewReader([]byte(stream)))
		if err != nil {
			b.Fatal(err)
		}
		for _, err := range d.Rows() {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.N*4002)/b.Elapsed().Seconds(), "rows/s")
}
