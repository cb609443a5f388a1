// Package caucasetest gives tests what several versions of caucase have left behind, see testdata/caucase.
package caucasetest

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"cauase/pkg/backup"
	"cauase/pkg/pki"
)

// Path returns where a file of testdata/caucase is. Tests run in the folder of their package.
func Path(t testing.TB, name string) string {
	t.Helper()
	for up := "."; len(up) < 100; up = filepath.Join(up, "..") {
		if _, err := os.Stat(filepath.Join(up, "go.mod")); err == nil {
			return filepath.Join(up, "testdata", "caucase", name)
		}
	}
	t.Fatal("the root of the project is not above the folder of this test")
	return ""
}

// Read returns a file of testdata/caucase.
func Read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(Path(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// MadeAt returns when the content of a folder of testdata/caucase was made.
func MadeAt(t testing.TB, folder string) time.Time {
	t.Helper()
	seconds, err := strconv.ParseInt(strings.TrimSpace(string(Read(t, folder+"/made"))), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Unix(seconds, 0).UTC()
}

// Unpack writes the database of a folder of testdata/caucase into dir, and returns its path.
func Unpack(t testing.TB, folder, dir string) string {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(Read(t, folder+"/caucase.sqlite.gz")))
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "caucase.sqlite")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Dump returns the dump in the backup of a folder of testdata/caucase, decrypted with a user's key.
func Dump(t testing.TB, folder string) []byte {
	t.Helper()
	blocks, err := pki.SplitPEM(Read(t, folder+"/alice.pem"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := pki.ParsePrivateKeyBlock(blocks[0])
	if err != nil {
		t.Fatal(err)
	}
	r, err := backup.Open(bytes.NewReader(Read(t, folder+"/backup.sql.caucased")), key)
	if err != nil {
		t.Fatal(err)
	}
	dump, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return dump
}
