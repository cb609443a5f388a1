package main

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"cauase/pkg/clock"
	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

const (
	alice = "aa00000000000000000000000000000000000001"
	bob   = "bb00000000000000000000000000000000000002"
)

func put(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func container(size uint32, header string) []byte {
	return append(binary.LittleEndian.AppendUint32([]byte("caucase\x00"), size), header...)
}

// files fills the current folder and returns the identifier of the key in it.
func files(t *testing.T) string {
	t.Helper()
	key := pkitest.Key(t)
	keyPEM := pkitest.KeyPEM(t, key)
	crt := pkitest.Certificate(t, &x509.Certificate{NotAfter: time.Unix(1<<31, 0)}, &x509.Certificate{}, key.Public(), key)
	crtPEM := pkitest.PEM(crt)
	put(t, "key", keyPEM)
	put(t, "pair,1.pem", append(append([]byte{}, keyPEM...), crtPEM...))
	put(t, "crt", crtPEM)
	put(t, "crts", append(append([]byte{}, crtPEM...), crtPEM...))
	put(t, "csr", pkitest.NamedRequest(t, key, "x"))
	put(t, "keys", append(append([]byte{}, keyPEM...), keyPEM...))
	put(t, "junk", []byte("junk"))
	header := `{"cipher":{"name":"c"},"key_list":[{"id":"` + alice + `","cipher":{"name":"k"},"key":""},{"id":"` + bob + `","cipher":{"name":"k"},"key":""}]}`
	put(t, "backup", container(uint32(len(header)), header+"payload"))
	put(t, "huge", container(1<<32-1, "{}"))
	if err := syscall.Mkfifo("fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	id, err := pki.KeyID(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(id)
}

func TestKeyID(t *testing.T) {
	t.Chdir(t.TempDir())
	id := files(t)
	for _, c := range []struct {
		name, args   string
		code         int
		stdout, says string
	}{
		{"a key", "--private-key key", 0, "key b'" + id + "'\n", ""},
		{"several files after one flag", "--private-key key pair,1.pem csr crt", 0,
			"key b'" + id + "'\npair,1.pem b'" + id + "'\ncsr b'" + id + "'\ncrt b'" + id + "'\n", ""},
		{"a backup", "--backup backup", 0, "backup\n  b'" + alice + "'\n  b'" + bob + "'\n", ""},
		{"keys come first", "--backup backup --private-key key --plain", 0,
			"key " + id + "\nbackup\n  " + alice + "\n  " + bob + "\n", ""},
		{"one bad file does not hide the others", "--private-key junk key nope --backup huge backup", 1,
			"key b'" + id + "'\nbackup\n  b'" + alice + "'\n  b'" + bob + "'\n", "4294967295 bytes"},
		{"nothing", "", 1, "", "usage:"},
		{"a file without a flag", "key", 1, "", "unexpected argument"},
		{"two keys", "--private-key keys", 1, "", "2 keys"},
		{"two certificates", "--private-key crts", 1, "", "2 keys"},
		{"a pipe as key", "--private-key fifo", 1, "", "not a regular file"},
		{"a pipe as backup", "--backup fifo", 1, "", "not a regular file"},
		{"a key as backup", "--backup key", 1, "", "not a backup"},
		{"a directory", "--backup .", 1, "", "not a regular file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), append([]string{tool}, strings.Fields(c.args)...), clock.NewFake(today), &stdout, &stderr)
			if code != c.code || stdout.String() != c.stdout || !strings.Contains(stderr.String(), c.says) || c.says == "" && stderr.Len() > 0 {
				t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout.String(), stderr.String())
			}
		})
	}
}

// The key of a user may have a passphrase.
func TestEncryptedKey(t *testing.T) {
	t.Chdir(t.TempDir())
	key := pkitest.Key(t)
	encrypted, err := pki.EncryptPrivateKeyPEM(key, []byte("correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	id, err := pki.KeyID(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	put(t, "key", encrypted)
	put(t, "good", []byte("correct horse\n"))
	put(t, "bad", []byte("battery\n"))
	for file, want := range map[string]string{"good": hex.EncodeToString(id), "bad": "key: wrong passphrase", "nowhere": "--passphrase-file: open nowhere"} {
		var out bytes.Buffer
		code := run(t.Context(), []string{tool, "--private-key", "key", "--plain", "--passphrase-file", file}, clock.System(), &out, &out)
		if (code == 0) != (file == "good") || !strings.Contains(out.String(), want) {
			t.Errorf("%s: exit code %d: %s", file, code, out.String())
		}
	}
}
