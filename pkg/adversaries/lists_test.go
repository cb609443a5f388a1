package adversaries

import (
	"bytes"
	"compress/gzip"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"cauase/pkg/pki"
	"cauase/pkg/testkit"
	"cauase/pkg/testkit/envelopetest"
	"cauase/pkg/testkit/pkitest"
)

const day = 24 * time.Hour

// now is the time of the binaries under test, which have real clocks.
func now() time.Time { return time.Now() }

// gunzip unpacks a file of testdata/migration.
func gunzip(w *world, name, to string) string {
	w.Helper()
	f := must(os.Open(filepath.Join("../../testdata/migration", name)))
	defer f.Close()
	return write(w, to, must(io.ReadAll(must(gzip.NewReader(f)))))
}

func versionRows() []row {
	old := func(layout int) func(*world) answer {
		return func(w *world) answer {
			dir := w.TempDir()
			db := gunzip(w, fmt.Sprintf("layout%d.sqlite.gz", layout), filepath.Join(dir, "cauase.sqlite"))
			w.expect("exit 0", tool(w, dir, "cauased", "manage", "migrate", "--db", db))
			return tool(w, dir, "cauased", "manage", "check", "--db", db)
		}
	}
	return []row{
		{class: 13, name: "a database of the first layout, brought up to date", try: old(1), want: "exit 0"},
		{class: 13, name: "a database of the sixth layout, brought up to date", try: old(6), want: "exit 0"},
		{class: 13, name: "a database of the sixth layout, to be read as it is", try: func(w *world) answer {
			dir := w.TempDir()
			db := gunzip(w, "layout6.sqlite.gz", filepath.Join(dir, "cauase.sqlite"))
			return tool(w, dir, "cauased", "manage", "status", "--db", db)
		}, want: "exit 1", says: "migrate"},
		{class: 13, name: "a database of a later version", try: func(w *world) answer {
			dir := w.TempDir()
			path := filepath.Join(dir, "cauase.sqlite")
			w.expect("exit 0", tool(w, dir, "cauased", "manage", "migrate", "--db", path))
			db := openDB(w, path)
			if _, err := db.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (1000, 1)"); err != nil {
				w.Fatal(err)
			}
			_ = db.Close()
			return serveAlone(w, dir, path)
		}, want: "exit 1", says: "newer"},
		{class: 13, name: "a backup of the first layout, drilled", try: func(w *world) answer {
			return tool(w, w.TempDir(), "cauased", "manage", "drill", fixture(w, "layout1.rows.caucased"), fixture(w, "admin.pem"))
		}, want: "exit 0"},
	}
}

func fixture(w *world, name string) string {
	return must(filepath.Abs(filepath.Join("../../testdata/migration", name)))
}

// serveAlone starts another daemon, which is not to get far.
func serveAlone(w *world, dir, dsn string, args ...string) answer {
	w.Helper()
	d := w.launch(plain, dir, testkit.FreePorts(w, 2), dsn, args...)
	status, body := d.await(w)
	if status == http.StatusOK {
		d.stop(w)
		return answer{"serves", d.stderr.String()}
	}
	select {
	case <-d.exited:
		return answer{fmt.Sprint("exit ", d.cmd.ProcessState.ExitCode()), d.stderr.String()}
	default:
		return answer{strconv.Itoa(status), body + d.stderr.String()}
	}
}

// revoke asks as a user, by a message that has these members.
func (w *world) revoke(members map[string]any) answer {
	return w.revokeRaw("/cas/crt/revoke", string(mustJSON(members)))
}

func (w *world) revokeRaw(path, payload string) answer {
	return w.do(w.user.tls(), "PUT", path, envelopetest.Unsigned(w, []byte(payload)), "application/json")
}

func pemOf(crt *x509.Certificate) string { return string(pki.EncodeCertificatePEM(crt.Raw)) }

func revocationRows() []row {
	serial := func(literal string) func(*world) answer {
		return func(w *world) answer { return w.revokeRaw("/cas/crt/revoke", `{"revoke_serial": `+literal+`}`) }
	}
	huge := new(big.Int).Lsh(big.NewInt(1), 200).String()
	return []row{
		{class: 14, name: "one certificate, revoked 20 times at once", try: func(w *world) answer {
			h := w.issue("cas", "twice", "")
			answers := make([]answer, 20)
			each(len(answers), func(i int) { answers[i] = w.revoke(map[string]any{"revoke_crt_pem": pemOf(h.crt)}) })
			return tally(answers)
		}, want: "1×204 19×409", says: "revoked", signed: 1, revoked: 1, audited: "crt.revoke refused"},
		{class: 14, name: "a foreign certificate", try: func(w *world) answer {
			ca := pkitest.NewCA(w, w.cas[0].Subject.CommonName, now().Add(-day), now().Add(day))
			return w.revoke(map[string]any{"revoke_crt_pem": pemOf(ca.Issue(w, "host", w.host.crt.PublicKey))})
		}, want: "400", says: "certificate"},
		{class: 14, name: "a certificate of users, at the authority for services", try: func(w *world) answer {
			return w.revoke(map[string]any{"revoke_crt_pem": pemOf(w.otherUser.crt)})
		}, want: "400", says: "certificate"},
		{class: 14, name: "an expired certificate", try: func(w *world) answer {
			w.until(w.gone.crt.NotAfter)
			return w.revoke(map[string]any{"revoke_crt_pem": pemOf(w.gone.crt)})
		}, want: "400", says: "expired"},
		{class: 14, name: "the certificate of the CA", try: func(w *world) answer {
			return w.revoke(map[string]any{"revoke_crt_pem": pemOf(w.cas[0])})
		}, want: "400", says: "certificate"},
		{class: 14, name: "the serial number of the CA", try: func(w *world) answer {
			return w.revoke(map[string]any{"revoke_serial": json.Number(w.cas[0].SerialNumber.String())})
		},
			want: "400", says: "CA"},
		{class: 14, name: "a serial number that nobody has", try: serial("4711"), want: "204", revoked: 1, audited: "crt.revoke ok"},
		{class: 14, name: "serial number 0", try: serial("0"), want: "400", says: "serial"},
		{class: 14, name: "serial number -1", try: serial("-1"), want: "400", says: "serial"},
		{class: 14, name: "a serial number in quotes", try: serial(`"4711"`), want: "400", says: "serial"},
		{class: 14, name: "a serial number with a fraction", try: serial("4711.0"), want: "400", says: "serial"},
		{class: 14, name: "a serial number with an exponent", try: serial("1e3"), want: "400", says: "serial"},
		{class: 14, name: "serial number 2^200", try: serial(huge), want: "400", says: "serial"},
		{class: 14, name: "a serial number of 100,000 digits", try: serial("1" + strings.Repeat("0", 100_000)), want: "400", says: "serial"},
		{class: 14, name: "neither certificate nor serial number", try: func(w *world) answer { return w.revokeRaw("/cas/crt/revoke", `{}`) }, want: "400", says: "revoke"},
		{class: 14, name: "an unknown reason", try: func(w *world) answer {
			return w.revoke(map[string]any{"revoke_crt_pem": pemOf(w.host.crt), "revoke_reason": "boredom"})
		}, want: "400", says: "reason"},
	}
}

// list is the newest revocation list of services.
func (w *world) list() *x509.RevocationList {
	w.Helper()
	_, body := w.get("/cas/crl")
	lists := must(pki.ParseCRLsPEM([]byte(body)))
	return lists[len(lists)-1]
}

func (w *world) restart() {
	w.Helper()
	old := w.daemon
	old.stop(w)
	w.daemon = w.again(old)
}

func listRows() []row {
	after := func(query string) func(*world) answer {
		return func(w *world) answer {
			status, body := w.get("/cas/crl?" + query)
			return answer{strconv.Itoa(status), body}
		}
	}
	return []row{
		{class: 15, name: "the daemon is restarted: the same list, byte for byte", try: func(w *world) answer {
			before := w.list()
			w.restart()
			if !bytes.Equal(before.Raw, w.list().Raw) {
				return answer{"another list", ""}
			}
			return answer{"the same list", ""}
		}, want: "the same list"},
		{class: 15, name: "the daemon is killed between a revocation and the next list", try: func(w *world) answer {
			h, before := w.issue("cas", "killed", ""), w.list()
			w.expect("204", w.revoke(map[string]any{"revoke_crt_pem": pemOf(h.crt)}))
			w.daemon.kill()
			w.daemon = w.again(w.daemon)
			l := w.list()
			listed := false
			for _, e := range l.RevokedCertificateEntries {
				listed = listed || e.SerialNumber.Cmp(h.crt.SerialNumber) == 0
			}
			return answer{fmt.Sprintf("listed %v, number grows %v", listed, l.Number.Cmp(before.Number) > 0), ""}
		}, want: "listed true, number grows true", signed: 1, revoked: 1},
		{class: 15, name: "20 revocations at once: numbers that only grow", try: func(w *world) answer {
			hosts := make([]holding, 20)
			each(len(hosts), func(i int) { hosts[i] = w.issue("cas", fmt.Sprint("fleet ", i), "") })
			numbers := make([]*big.Int, len(hosts))
			first := w.list().Number
			each(len(hosts), func(i int) {
				w.revoke(map[string]any{"revoke_crt_pem": pemOf(hosts[i].crt)})
				numbers[i] = w.list().Number
			})
			for _, n := range numbers {
				if n.Cmp(first) <= 0 {
					return answer{"a number went back", fmt.Sprint(numbers)}
				}
			}
			return answer{"all listed: " + fmt.Sprint(len(w.list().RevokedCertificateEntries) >= len(hosts)), ""}
		}, want: "all listed: true", signed: 20, revoked: 20},
		{class: 15, name: "a client that says it has number 10^40", try: after("after=" + "1" + strings.Repeat("0", 40)), want: "400", says: "after"},
		{class: 15, name: "a client that says it has number -1", try: after("after=-1"), want: "400", says: "after"},
		{class: 15, name: "a number that is none", try: after("after=one"), want: "400", says: "after"},
		{class: 15, name: "a restore: numbers are ahead of all that were published", try: func(w *world) answer {
			published := w.list().Number
			dir := w.TempDir()
			restored := w.restored(dir)
			d := w.start(plain, dir, testkit.FreePorts(w, 2), restored)
			defer d.stop(w)
			resp := must(w.plain.Get(d.url() + "/cas/crl"))
			defer resp.Body.Close()
			lists := must(pki.ParseCRLsPEM(must(io.ReadAll(resp.Body))))
			return answer{fmt.Sprint("ahead ", lists[0].Number.Cmp(published) > 0), ""}
		}, want: "ahead true", wild: true},

		{class: 16, name: "400 revocations: the list is whole, and served while it grows", try: func(w *world) answer {
			w.fill(400)
			answers := make([]answer, 20)
			each(len(answers), func(i int) {
				if i == 0 {
					w.expect("204", w.revokeRaw("/cas/crt/revoke", `{"revoke_serial": 99999}`))
				}
				resp, err := w.plain.Get(w.daemon.url() + "/cas/crl")
				if err != nil {
					answers[i] = answer{"closed", err.Error()}
					return
				}
				defer resp.Body.Close()
				_, err = io.Copy(io.Discard, resp.Body)
				answers[i] = answer{strconv.Itoa(resp.StatusCode), fmt.Sprint(err)}
			})
			if n := len(w.list().RevokedCertificateEntries); n < 401 {
				return answer{fmt.Sprint(n, " entries"), ""}
			}
			return tally(answers)
		}, want: "20×200", wild: true},
		{class: 16, name: "PostgreSQL is away: the list goes on, what changes something waits", only: "PostgreSQL", try: func(w *world) answer {
			w.list()
			w.cluster.Stop(w)
			defer func() { w.cluster.Restart(w); w.daemon.await(w) }()
			status, _ := w.get("/cas/crl")
			put := w.submit(csr{}.pem())
			return answer{fmt.Sprintf("%d, %s", status, put.got), put.text}
		}, want: "200, 503", says: "database"},
		{class: 16, name: "another process has locked the database", only: "SQLite", try: func(w *world) answer {
			tx := must(w.db.Begin())
			defer func() { _ = tx.Rollback() }()
			if _, err := tx.Exec("DELETE FROM setting WHERE name = 'nothing'"); err != nil {
				w.Fatal(err)
			}
			status, _ := w.get("/cas/crl")
			return answer{strconv.Itoa(status), ""}
		}, want: "200"},
		{class: 16, name: "a list that is not asked for whole", try: func(w *world) answer {
			req := must(http.NewRequest("GET", w.daemon.url()+"/cas/crl", nil))
			req.Header.Set("Range", "bytes="+strings.Repeat("0-0,", 2000)+"0-0")
			resp := must(w.plain.Do(req))
			defer resp.Body.Close()
			n := must(io.Copy(io.Discard, resp.Body))
			return answer{strconv.Itoa(resp.StatusCode), fmt.Sprint(n)}
		}, want: "206"},
	}
}
