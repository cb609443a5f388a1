package adversaries

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cauase/pkg/backup"
	"cauase/pkg/testkit"
	"cauase/pkg/testkit/envelopetest"
	"cauase/pkg/testkit/pkitest"
)

// disk mounts a file system of so many bytes in memory, or skips the row.
func disk(t testing.TB, size string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("none", dir, "tmpfs", 0, "mode=0700,size="+size); err != nil {
		t.Skipf("NOT TESTED: cannot mount: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// limited is a folder with a cauased that a shell has limited.
func limited(t testing.TB, limit string) string {
	t.Helper()
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\nulimit %s\nexec %s/cauased \"$@\"\n", limit, plain)
	if err := os.WriteFile(filepath.Join(dir, "cauased"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// fillUp submits to another daemon until it has no more room, and says what it answered then. What it acknowledged has to be there
// after it was started again with room.
func fillUp(w *world, bin, dir string) answer {
	db, port := filepath.Join(dir, "cauase.sqlite"), testkit.FreePorts(w, 2)
	args := []string{"--service-max-csr", "100000", "--pending-per-address", "100000", "--write-rate", "0"}
	d := w.start(bin, dir, port, db, args...)
	var ids []string
	var names []string
	for i := range 90 {
		names = append(names, fmt.Sprintf("%060d.example", i))
	}
	refused := answer{"never", ""}
	for range 3000 {
		resp, err := w.plain.Do(must(http.NewRequest("PUT", d.url()+"/cas/csr", bytes.NewReader(pkitest.NamedRequest(w, pkitest.Key(w), "full", names...)))))
		if err != nil {
			refused = answer{"closed", err.Error() + d.stderr.String()}
			break
		}
		text := make([]byte, 200)
		n, _ := resp.Body.Read(text)
		resp.Body.Close()
		if resp.StatusCode != http.StatusCreated {
			refused = answer{fmt.Sprint(resp.StatusCode), string(text[:n])}
			break
		}
		ids = append(ids, resp.Header.Get("Location"))
	}
	d.kill()
	whole := w.TempDir()
	for _, name := range []string{"cauase.sqlite", "cauase.sqlite-wal"} {
		if data, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			write(w, filepath.Join(whole, name), data)
		}
	}
	db = filepath.Join(whole, "cauase.sqlite")
	d = w.start(plain, whole, testkit.FreePorts(w, 2), db, args...)
	defer d.stop(w)
	for _, id := range ids {
		resp := must(w.plain.Get(d.url() + "/cas/csr/" + id))
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return answer{"lost", id}
		}
	}
	w.expect("exit 0", tool(w, whole, "cauased", "manage", "check", "--db", db))
	return refused
}

// damaged starts a daemon on a database that was changed while it was away.
func damaged(change func(w *world, dir, db string)) func(*world) answer {
	return func(w *world) answer {
		dir := w.TempDir()
		db := filepath.Join(dir, "cauase.sqlite")
		w.expect("exit 0", tool(w, dir, "cauased", "manage", "migrate", "--db", db))
		change(w, dir, db)
		return serveAlone(w, dir, db)
	}
}

func diskRows() []row {
	return []row{
		{class: 26, name: "a disk that fills up", try: func(w *world) answer { return fillUp(w, plain, disk(w, "3m")) }, want: "503", says: "database"},
		{class: 26, name: "files that may not grow (`ulimit -f`)", try: func(w *world) answer { return fillUp(w, limited(w, "-f 4000"), w.TempDir()) }, want: "503", says: "database"},
		{class: 26, name: "a disk without any room", try: func(w *world) answer {
			dir := disk(w, "64k")
			return serveAlone(w, dir, filepath.Join(dir, "cauase.sqlite"))
		}, want: "exit 1", says: "database"},
		{class: 26, name: "a read-only disk", try: func(w *world) answer {
			dir := disk(w, "1m")
			if err := syscall.Mount("none", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
				w.Skipf("NOT TESTED: %v", err)
			}
			return serveAlone(w, w.TempDir(), filepath.Join(dir, "cauase.sqlite"))
		}, want: "exit 1", says: "read-only"},
		{class: 26, name: "64 descriptors, and 200 connections", try: func(w *world) answer {
			dir := w.TempDir()
			d := w.start(limited(w, "-n 64"), dir, testkit.FreePorts(w, 2), filepath.Join(dir, "cauase.sqlite"))
			defer d.stop(w)
			for range 200 {
				c := d.dial()
				defer c.Close()
				must(c.Write([]byte("GET ")))
			}
			status, body := d.await(w)
			return answer{fmt.Sprint(status), body}
		}, want: "200"},
		{class: 26, name: "a write-ahead log without its database", try: damaged(func(w *world, dir, db string) {
			if err := os.Remove(db); err != nil {
				w.Fatal(err)
			}
			write(w, db+"-wal", bytes.Repeat([]byte("x"), 32<<10))
		}), want: "exit 1", says: "wal"},
		{class: 26, name: "a database that is text", try: damaged(func(w *world, _, db string) { write(w, db, bytes.Repeat([]byte("hello\n"), 2000)) }), want: "exit 1", says: "database"},
		{class: 26, name: "a database that is half there", try: damaged(func(w *world, _, db string) {
			data := must(os.ReadFile(db))
			write(w, db, data[:len(data)/2])
		}), want: "exit 1", says: "malformed"},
		{class: 26, name: "a database that is a folder", try: damaged(func(w *world, _, db string) {
			if err := os.Remove(db); err != nil {
				w.Fatal(err)
			}
			if err := os.Mkdir(db, 0o700); err != nil {
				w.Fatal(err)
			}
		}), want: "exit 1", says: "database"},
	}
}

// onlyThese reports whether all answers are among some.
func onlyThese(answers []answer, some ...string) answer {
	for _, a := range answers {
		found := false
		for _, s := range some {
			found = found || a.got == s
		}
		if !found {
			return a
		}
	}
	return answer{strings.Join(some, " or "), ""}
}

func postgresRows() []row {
	const only = "PostgreSQL"
	cut := func(w *world) {
		w.cluster.Exec(w, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+databaseOf(w.dsn)+"' AND application_name <> '"+censor+"'")
	}
	altered := func(set, reset string, try func(w *world) answer) func(*world) answer {
		return func(w *world) answer {
			name := databaseOf(w.dsn)
			w.cluster.Exec(w, fmt.Sprintf(set, name))
			defer func() {
				w.cluster.Exec(w, fmt.Sprintf(reset, name))
				cut(w)
				w.daemon.await(w)
			}()
			cut(w)
			return try(w)
		}
	}
	return []row{
		{class: 27, name: "connections are ended while 60 requests come", only: only, try: func(w *world) answer {
			answers := make([]answer, 60)
			each(len(answers), func(i int) {
				if i%10 == 5 {
					cut(w)
				}
				answers[i] = w.submit(csr{}.pem())
			})
			return onlyThese(answers, "201", "503", "507")
		}, want: "201 or 503 or 507", wild: true},
		{class: 27, name: "the database may have no connections any more", only: only, try: altered("ALTER DATABASE %s CONNECTION LIMIT 0", "ALTER DATABASE %s CONNECTION LIMIT -1",
			func(w *world) answer { return w.submit(csr{}.pem()) }), want: "503", says: "database", wild: true},
		{class: 27, name: "the database has become read-only, as after a failover", only: only, try: altered("ALTER DATABASE %s SET default_transaction_read_only = on",
			"ALTER DATABASE %s RESET default_transaction_read_only", func(w *world) answer { return w.submit(csr{}.pem()) }), want: "503", says: "database", wild: true},
		{class: 27, name: "a password that is wrong, which nobody gets to read", only: only, try: func(w *world) answer {
			a := serveAlone(w, w.TempDir(), strings.Replace(w.dsn, "@", "wr0ng@", 1))
			if strings.Contains(a.text, "wr0ng") {
				return answer{"shown", a.text}
			}
			return a
		}, want: "exit 1", says: "password"},
		{class: 27, name: "a database that is not there", only: only, try: func(w *world) answer {
			return serveAlone(w, w.TempDir(), strings.Replace(w.dsn, databaseOf(w.dsn), "nowhere", 1))
		}, want: "exit 1", says: "nowhere"},
	}
}

// databaseOf is the name of the database in a URL.
func databaseOf(dsn string) string {
	name, _, _ := strings.Cut(dsn[strings.LastIndex(dsn, "/")+1:], "?")
	return name
}

// invitation is one by the world's user, with what a row changes.
func (w *world) invitation(change func(payload map[string]any)) string {
	payload := map[string]any{
		"invited_to": "cas", "names": []string{"cn:*.guests.example"}, "uses": 1, "made": now().Unix(), "until": now().Add(time.Hour).Unix(),
		"nonce": base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{7}, 12)), "by": w.user.crt.SerialNumber.String(),
		"cas": map[string][]string{"cas": {fingerprint(w.cas[0])}, "cau": {fingerprint(w.cau[0])}},
	}
	change(payload)
	return "cauase-invite-1." + base64.RawURLEncoding.EncodeToString(envelopetest.Sign(w, w.user.key, mustJSON(payload)))
}

func (w *world) present(invitation, name string) answer {
	return w.do(nil, "PUT", "/cas/invite", mustJSON(map[string]string{
		"invitation": invitation, "csr_pem": string(pkitest.NamedRequest(w, pkitest.Key(w), name)),
	}), "application/json")
}

func clockRows() []row {
	invited := func(change func(map[string]any)) func(*world) answer {
		return func(w *world) answer { return w.present(w.invitation(change), "one.guests.example") }
	}
	imported := func(from, to time.Duration) func(*world) answer {
		return func(w *world) answer {
			dir := w.TempDir()
			ca := pkitest.NewCA(w, "elsewhere", now().Add(from), now().Add(to))
			file := write(w, dir+"/ca.pem", append(pkitest.PEM(ca.Crt), pkitest.KeyPEM(w, ca.Key)...))
			return tool(w, dir, "cauased", "manage", "import-ca", "--db", dir+"/new.sqlite", file)
		}
	}
	return []row{
		{class: 28, name: "an invitation made in ten minutes", try: invited(func(p map[string]any) { p["made"] = now().Add(10 * time.Minute).Unix() }), want: "403", says: "clock"},
		{class: 28, name: "an invitation that ended a second ago", try: invited(func(p map[string]any) {
			p["made"], p["until"] = now().Add(-time.Hour).Unix(), now().Add(-time.Second).Unix()
		}), want: "403", says: "ended"},
		{class: 28, name: "an invitation for 31 days", try: invited(func(p map[string]any) { p["until"] = now().Add(31 * day).Unix() }), want: "400", says: "possible"},
		{class: 28, name: "an invitation until the year 292277026596", try: invited(func(p map[string]any) { p["until"] = json.Number("9223372036854775807") }), want: "400", says: ""},
		{class: 28, name: "an invitation for one, presented by ten at once", try: func(w *world) answer {
			text := w.invitation(func(p map[string]any) { p["nonce"] = "AAAAAAAAAAAAAAAA" })
			answers := make([]answer, 10)
			each(len(answers), func(i int) { answers[i] = w.present(text, fmt.Sprintf("n%d.guests.example", i)) })
			return tally(answers)
		}, want: "1×201 9×403", says: "used", signed: 1, audited: "invitation.use ok"},
		{class: 28, name: "a CA that is valid from tomorrow on, to import", try: imported(day, 4000*day), want: "exit 1", says: "valid"},
		{class: 28, name: "a CA that expired yesterday, to import", try: imported(-400*day, -day), want: "exit 1", says: "expired"},
		{class: 28, name: "a second daemon on the database: the same request at both is one", try: func(w *world) answer {
			dir := w.TempDir()
			d := w.start(plain, dir, testkit.FreePorts(w, 2), w.dsn, options...)
			defer d.stop(w)
			request := csr{}.pem()
			ids := make([]string, 40)
			each(len(ids), func(i int) {
				url := []string{w.daemon.url(), d.url()}[i%2]
				if resp, err := w.plain.Do(must(http.NewRequest("PUT", url+"/cas/csr", bytes.NewReader(request)))); err == nil {
					resp.Body.Close()
					ids[i] = resp.Header.Get("Location")
				}
			})
			for _, id := range ids {
				if id != ids[0] {
					return answer{"several", fmt.Sprint(ids)}
				}
			}
			return answer{"one request", ""}
		}, want: "one request", pending: 1, wild: true},
	}
}

// spoiled drills a backup that was changed.
func spoiled(change func(data []byte) []byte) func(*world) answer {
	return func(w *world) answer {
		dir := w.TempDir()
		file, key := w.backup(dir)
		return tool(w, dir, "cauased", "manage", "drill", write(w, file+".spoiled", change(must(os.ReadFile(file)))), key)
	}
}

func backupRows() []row {
	flipped := func(at func(size int) int) func([]byte) []byte {
		return func(data []byte) []byte { data[at(len(data))] ^= 1; return data }
	}
	const start = 12 // of the header's JSON, behind magic and length
	return []row{
		{class: 29, name: "as it was made", try: spoiled(func(d []byte) []byte { return d }), want: "exit 0", wild: true},
		{class: 29, name: "a bit of the first byte", try: spoiled(flipped(func(int) int { return 0 })), want: "exit 1", says: "not a backup", wild: true},
		{class: 29, name: "a bit of the header's length", try: spoiled(flipped(func(int) int { return 11 })), want: "exit 1", says: "backup", wild: true},
		{class: 29, name: "a header of 4 GiB", try: spoiled(func(d []byte) []byte { copy(d[8:], "\xff\xff\xff\xff"); return d }), want: "exit 1", says: "not a backup", wild: true},
		{class: 29, name: "a bit of the last byte", try: spoiled(flipped(func(n int) int { return n - 1 })), want: "exit 1", says: "damaged", wild: true},
		{class: 29, name: "a bit in the middle", try: spoiled(flipped(func(n int) int { return n * 3 / 4 })), want: "exit 1", says: "damaged", wild: true},
		{class: 29, name: "cut by a byte", try: spoiled(func(d []byte) []byte { return d[:len(d)-1] }), want: "exit 1", says: "damaged", wild: true},
		{class: 29, name: "cut by half", try: spoiled(func(d []byte) []byte { return d[:len(d)/2] }), want: "exit 1", says: "damaged", wild: true},
		{class: 29, name: "with a byte more", try: spoiled(func(d []byte) []byte { return append(d, 0) }), want: "exit 1", says: "damaged", wild: true},
		{class: 29, name: "with its second half twice", try: spoiled(func(d []byte) []byte { return append(d, d[len(d)/2:]...) }), want: "exit 1", says: "damaged", wild: true},
		{class: 29, name: "nothing", try: spoiled(func([]byte) []byte { return nil }), want: "exit 1", says: "not a backup", wild: true},
		{class: 29, name: "a header for nobody", try: spoiled(func(d []byte) []byte {
			return append([]byte("caucase\x00\x00\x00\x00\x02{}"), d[start:]...)
		}), want: "exit 1", says: "backup", wild: true},
		{class: 29, name: "the key of somebody who is no user", try: func(w *world) answer {
			dir := w.TempDir()
			file, _ := w.backup(dir)
			return tool(w, dir, "cauased", "manage", "drill", file, write(w, dir+"/other.key", pkitest.KeyPEM(w, w.host.key)))
		}, want: "exit 1", says: "not made for this key", wild: true},
		{class: 29, name: "a good container that holds SQL (CVE-2025-8714)", try: sealed("DROP TABLE certificate;\n\\! touch /tmp/owned\n"), want: "exit 1", says: "", wild: true},
		{class: 29, name: "a good container that holds a line of 64 MiB", try: sealed(`{"` + strings.Repeat("x", 64<<20)), want: "exit 1", says: "", wild: true},
		{class: 29, name: "a good container that holds nothing", try: sealed(""), want: "exit 1", says: "", wild: true},
		{class: 29, name: "an old backup over a newer database", try: func(w *world) answer {
			dir := w.TempDir()
			file, key := w.backup(dir)
			request := write(w, filepath.Join(dir, "new.csr.pem"), pkitest.NamedRequest(w, pkitest.Key(w), "alice"))
			return tool(w, dir, "cauased", "manage", "restore", "--db", w.dsn, file, key, request, filepath.Join(dir, "new.crt.pem"))
		}, want: "exit 1", says: "empty", wild: true},
	}
}

// sealed drills a container that was made by somebody who has a user's certificate, and holds something else.
func sealed(content string) func(*world) answer {
	return func(w *world) answer {
		dir := w.TempDir()
		var b bytes.Buffer
		seal := must(backup.Create(&b, []crypto.PublicKey{w.user.key.Public()}))
		must(io.WriteString(seal, content))
		if err := seal.Close(); err != nil {
			w.Fatal(err)
		}
		return tool(w, dir, "cauased", "manage", "drill", write(w, dir+"/hostile.backup", b.Bytes()), write(w, dir+"/user.key", pkitest.KeyPEM(w, w.user.key)))
	}
}

func fingerprint(crt *x509.Certificate) string {
	sum := sha256.Sum256(crt.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
