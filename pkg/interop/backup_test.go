//go:build interop

package interop

import (
	"bytes"
	"crypto"
	"database/sql"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"cauase/pkg/backup"
	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

// chunk is the clear text between two HMACs.
const chunk = 10 << 20

// python runs the independent reader. The venv of the reference has what it needs.
func (d *desk) python(args ...string) outcome {
	d.t.Helper()
	script, err := filepath.Abs("../../testdata/interop/open_backup.py")
	if err != nil {
		d.t.Fatal(err)
	}
	return run(d.t, d.dir, append([]string{filepath.Join(programs.reference, "python"), script}, args...)...)
}

func (d *desk) newKey(name string, kind pki.KeyType) crypto.Signer {
	d.t.Helper()
	key := pkitest.KeyOf(d.t, kind)
	d.write(name, pkitest.KeyPEM(d.t, key))
	return key
}

func (d *desk) readKey(name string) crypto.Signer {
	d.t.Helper()
	blocks, err := pki.SplitPEM(d.read(name))
	if err != nil {
		d.t.Fatal(err)
	}
	key, err := pki.ParsePrivateKeyBlock(blocks[0])
	if err != nil {
		d.t.Fatal(err)
	}
	return key
}

// seals makes a backup of ours.
func (d *desk) seals(name string, clear []byte, to ...crypto.Signer) {
	d.t.Helper()
	var pubs []crypto.PublicKey
	for _, k := range to {
		pubs = append(pubs, k.Public())
	}
	var out bytes.Buffer
	w, err := backup.Create(&out, pubs)
	if err == nil {
		_, err = w.Write(clear)
	}
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		err = w.Verify(bytes.NewReader(out.Bytes()))
	}
	if err != nil {
		d.t.Fatal(err)
	}
	d.write(name, out.Bytes())
}

func (d *desk) opens(name string, key crypto.PrivateKey) []byte {
	d.t.Helper()
	r, err := backup.Open(bytes.NewReader(d.read(name)), key)
	if err != nil {
		d.t.Fatal(err)
	}
	clear, err := io.ReadAll(r)
	if err != nil {
		d.t.Fatal(err)
	}
	return clear
}

// Our backups can be read with nothing but docs/backup-format.md.
func TestBackupsAreReadByAnIndependentReader(t *testing.T) {
	needReference(t)
	d := &desk{t: t, dir: t.TempDir()}
	rsa := d.newKey("rsa-2048", pki.KeyRSA2048)
	all := []crypto.Signer{
		d.newKey("ecdsa-p256", pki.KeyECDSAP256), d.newKey("ecdsa-p384", pki.KeyECDSAP384),
		d.newKey("ed25519", pki.KeyEd25519), d.newKey("rsa-3072", pki.KeyRSA3072), rsa,
	}
	for name, size := range map[string]int{"nothing": 0, "little": 5, "a chunk": chunk, "two and a bit": 2*chunk + 1} {
		clear := bytes.Repeat([]byte("0123456789abcde\n"), size/16+1)[:size]
		d.seals("rsa.backup", clear, rsa)
		d.seals("all.backup", clear, all...)
		readers := []string{"rsa-2048"}
		if size < chunk {
			readers = append(readers, "rsa-3072", "ecdsa-p256", "ecdsa-p384", "ed25519")
		}
		for _, key := range readers {
			if got := d.python("all.backup", key).ok(); got.stdout != string(clear) {
				t.Errorf("%s with %s: %d bytes", name, key, len(got.stdout))
			}
		}
		if got := d.python("rsa.backup", "rsa-2048").ok(); got.stdout != string(clear) {
			t.Errorf("%s for RSA alone: %d bytes", name, len(got.stdout))
		}
	}
}

// referenceBackup has a reference daemon make a backup for a user, alice, whose key and
// certificate are in alice.pem. again makes another.
func referenceBackup(t *testing.T) (d *desk, name string, again func() string) {
	t.Helper()
	// It looks for users when it starts, then after an hour.
	daemon := startReference(t)
	d = daemon.desk(t)
	d.enrolsWithReference("alice", nil)
	if !daemon.terminate() {
		t.Fatal("caucased does not end")
	}
	again = func() string {
		t.Helper()
		folder, err := os.MkdirTemp(d.dir, "backups")
		if err != nil {
			t.Fatal(err)
		}
		p := background(t, daemon.cmd.Dir, filepath.Join(programs.reference, "caucased"),
			"--netloc", daemon.netloc, "--backup-directory", folder)
		var found []string
		eventually(t, time.Minute, func() string {
			if found, _ = filepath.Glob(filepath.Join(folder, "*.sql.caucased")); len(found) == 1 {
				return ""
			}
			return "there is no backup"
		})
		if !p.terminate() {
			t.Fatal("caucased does not end")
		}
		return filepath.Join(filepath.Base(folder), filepath.Base(found[0]))
	}
	return d, again(), again
}

// The reference ends a dump of whole chunks after the HMAC of the last one.
func TestReferenceBackupOfAWholeChunk(t *testing.T) {
	needReference(t)
	d, first, again := referenceBackup(t)
	alice := d.readKey("alice.pem")
	db, err := sql.Open("sqlite", filepath.Join(d.ca.cmd.Dir, "caucase.sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	missing := chunk - len(d.opens(first, alice)) - len("INSERT INTO \"casconfig\" VALUES('padding','');\x00")
	if _, err := db.Exec("INSERT INTO casconfig VALUES ('padding', ?)", strings.Repeat("x", missing)); err != nil {
		t.Fatal(err)
	}
	name := again()
	if got := d.opens(name, alice); len(got) != chunk {
		t.Fatalf("a dump of %d bytes, which is no whole chunk", len(got))
	}
	content := bytes.NewReader(d.read(name))
	if _, err := backup.ReadHeader(content); err != nil {
		t.Fatal(err)
	}
	if content.Len() != chunk+32+16 {
		t.Errorf("a payload of %d bytes", content.Len())
	}
}

// Backups of the reference open with ours; what was in one, sealed by us, restores with the
// reference's tool, users of other kinds among the recipients or not, and at any length.
func TestBackupsAreExchanged(t *testing.T) {
	needReference(t)
	d, theirs, _ := referenceBackup(t)
	alice := d.readKey("alice.pem")
	sql := d.opens(theirs, alice)
	if !bytes.HasPrefix(sql, []byte("BEGIN TRANSACTION;\x00")) || !bytes.HasSuffix(sql, []byte("COMMIT;\x00")) {
		t.Fatalf("%d bytes that are no dump", len(sql))
	}
	if ours, its := d.ours("cauase-key-id", "--backup", theirs), d.reference("caucase-key-id", "--backup", theirs); ours.ok().stdout != its.ok().stdout {
		t.Errorf("%s\n%s", ours.output(), its.output())
	}
	bob, carol := d.newKey("bob.key", pki.KeyECDSAP256), d.newKey("carol.key", pki.KeyEd25519)
	d.makesRequest("next")
	for _, c := range []struct {
		name string
		size int // 0: as it is
		to   []crypto.Signer
	}{
		{"RSA", 0, []crypto.Signer{alice}},
		{"mixed", 0, []crypto.Signer{bob, alice, carol}},
		{"one byte less than a chunk", chunk - 1, []crypto.Signer{alice}},
		{"a chunk", chunk, []crypto.Signer{alice}},
		{"one byte more", chunk + 1, []crypto.Signer{alice}},
		{"two chunks", 2 * chunk, []crypto.Signer{alice}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &desk{t: t, dir: d.dir}
			name := strings.ReplaceAll(c.name, " ", "-")
			clear := padded(sql, c.size)
			d.seals(name+".backup", clear, c.to...)
			d.reference("caucased-manage", "--db", name+".sqlite", "--restore-backup", name+".backup", "alice.pem", "next.csr.pem", name+".crt").ok()
			d.certificate(name + ".crt")
			if !bytes.Contains(d.read(name+".sqlite"), []byte("cauca")) {
				t.Error("the database was not restored")
			}
			if got := d.opens(name+".backup", c.to[0]); !bytes.Equal(got, clear) {
				t.Errorf("%d bytes", len(got))
			}
		})
	}
}

// padded makes a dump of another size by a row that means nothing.
func padded(sql []byte, size int) []byte {
	if size == 0 {
		return sql
	}
	const before, after, end = "INSERT INTO \"casconfig\" VALUES('padding','", "');\x00", "COMMIT;\x00"
	out := append([]byte(before), bytes.Repeat([]byte("x"), size-len(sql)-len(before)-len(after))...)
	out = append(append(bytes.Clone(sql[:len(sql)-len(end)]), out...), after...)
	return append(out, end...)
}
