package pemfile

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"cauase/pkg/pki"
	"cauase/pkg/testkit/pkitest"
)

func write(t *testing.T, path, content string, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// list returns the names in a directory, also those that begin with a dot.
func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestModes(t *testing.T) {
	tests := []struct {
		name   string
		old    fs.FileMode // 0: no such file
		secret bool
		want   fs.FileMode
	}{
		{"new", 0, false, 0o644},
		{"new key", 0, true, 0o600},
		{"kept", 0o600, false, 0o600},
		{"kept open", 0o664, false, 0o664},
		{"key closed to the world keeps its group", 0o640, true, 0o640},
		{"key nobody may write", 0o400, true, 0o400},
		{"key others could read", 0o644, true, 0o600},
		{"key a group could write", 0o660, true, 0o640},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			if tt.old != 0 {
				write(t, path, "old", tt.old)
			}
			for range 2 {
				if _, err := Write(File{Path: path, Content: []byte("new"), Secret: tt.secret}); err != nil {
					t.Fatal(err)
				}
				info, err := os.Stat(path)
				if err != nil || info.Mode().Perm() != tt.want {
					t.Errorf("mode %v, want %v; %v", info.Mode(), tt.want, err)
				}
			}
		})
	}
}

func TestUnchangedIsNotWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "same", 0o644)
	past := time.Unix(1e9, 0)
	if err := os.Chtimes(path, past, past); err != nil {
		t.Fatal(err)
	}
	changed, err := Write(File{Path: path, Content: []byte("same")})
	info, statErr := os.Stat(path)
	if changed || err != nil || statErr != nil || !info.ModTime().Equal(past) {
		t.Errorf("changed %v, %v, of %v", changed, err, info.ModTime())
	}
	// The same key in a file others can read does not stay there.
	if changed, err := Write(File{Path: path, Content: []byte("same"), Secret: true}); !changed || err != nil {
		t.Errorf("changed %v, %v", changed, err)
	}
}

func TestRefusedTargets(t *testing.T) {
	tests := []struct {
		name string
		make func(t *testing.T, path string)
		err  error
	}{
		{"a link", func(t *testing.T, path string) {
			write(t, path+".target", "precious", 0o644)
			must(t, os.Symlink(path+".target", path))
		}, ErrSymlink},
		{"a dangling link", func(t *testing.T, path string) { must(t, os.Symlink("nowhere", path)) }, ErrSymlink},
		{"a FIFO", func(t *testing.T, path string) { must(t, syscall.Mkfifo(path, 0o644)) }, ErrNotRegular},
		{"a directory", func(t *testing.T, path string) { must(t, os.Mkdir(path, 0o755)) }, ErrNotRegular},
		{"in no directory", func(t *testing.T, path string) { must(t, os.Remove(filepath.Dir(path))) }, fs.ErrNotExist},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "d")
			must(t, os.Mkdir(dir, 0o755))
			path := filepath.Join(dir, "f")
			tt.make(t, path)
			changed, err := Write(File{Path: path, Content: []byte("new")})
			if changed || !errors.Is(err, tt.err) {
				t.Errorf("changed %v, error %v", changed, err)
			}
			if _, err := os.Stat(dir); err != nil {
				return
			}
			for _, name := range list(t, dir) {
				if strings.HasPrefix(name, ".") {
					t.Errorf("%s was left behind", name)
				}
			}
		})
	}
	t.Run("a link to what is right already", func(t *testing.T) {
		dir := t.TempDir()
		target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
		write(t, target, "same", 0o644)
		must(t, os.Symlink("target", link))
		if changed, err := Write(File{Path: link, Content: []byte("same")}); changed || err != nil {
			t.Errorf("changed %v, %v", changed, err)
		}
		if changed, err := Write(File{Path: link, Content: []byte("same"), Secret: true}); changed || !errors.Is(err, ErrSymlink) {
			t.Errorf("a secret: changed %v, %v", changed, err)
		}
	})
	t.Run("a link that is followed", func(t *testing.T) {
		dir := t.TempDir()
		target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
		write(t, target, "old", 0o644)
		must(t, os.Symlink("target", link))
		if changed, err := Write(File{Path: link, Content: []byte("new"), Follow: true}); !changed || err != nil {
			t.Errorf("changed %v, %v", changed, err)
		}
		if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 || read(t, target) != "new" {
			t.Errorf("link is %v, target %q", info.Mode(), read(t, target))
		}
	})
	t.Run("reading a FIFO does not wait", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "f")
		must(t, syscall.Mkfifo(path, 0o644))
		if _, err := Read(path); !errors.Is(err, ErrNotRegular) {
			t.Errorf("error %v", err)
		}
	})
}

// TestAllOrNone fails the second of two files at its rename.
func TestAllOrNone(t *testing.T) {
	for _, existed := range []bool{false, true} {
		dir := t.TempDir()
		a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
		want := []string{"b"}
		if existed {
			write(t, a, "old", 0o640)
			want = []string{"a", "b"}
		}
		first, err := stage(File{Path: a, Content: []byte("new")})
		must(t, err)
		must(t, first.commit(true))
		if read(t, a) != "new" {
			t.Errorf("a is %q", read(t, a))
		}
		must(t, first.rollback())
		first.discard()
		if existed && read(t, a) != "old" {
			t.Errorf("a is %q", read(t, a))
		}
		// A directory takes the place of b once everything is staged: its rename fails.
		must(t, os.Mkdir(b, 0o755))
		if _, err := WriteAll(File{Path: a, Content: []byte("new")}, File{Path: b, Content: []byte("new")}); err == nil {
			t.Error("wrote a directory")
		}
		if got := list(t, dir); !slices.Equal(got, want) {
			t.Errorf("existed %v: left %v, want %v", existed, got, want)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var since, until = time.Unix(1e9, 0), time.Unix(2e9, 0)

// newPair makes a self-signed certificate; CA or not is up to isCA.
func newPair(t *testing.T, cn string, isCA bool) Pair {
	t.Helper()
	if isCA {
		ca := pkitest.NewCA(t, cn, since, until)
		return Pair{Key: ca.Key, Crt: ca.Crt}
	}
	key := pkitest.Key(t)
	return Pair{Key: key, Crt: certify(t, key, cn)}
}

// certify makes a self-signed certificate that is none of a CA.
func certify(t testing.TB, key crypto.Signer, cn string) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: cn}, NotBefore: since, NotAfter: until, BasicConstraintsValid: true,
		SubjectKeyId: pkitest.KeyID(t, key.Public()),
	}
	return pkitest.Certificate(t, template, template, key.Public(), key)
}

func crlOf(t *testing.T, ca Pair, number int64) *x509.RevocationList {
	t.Helper()
	return pkitest.CA{Crt: ca.Crt, Key: ca.Key}.CRL(t, number)
}

// TestPartialCRLs: a delta CRL in a store is told of, counts for nothing, and goes with the next write unless its file
// is somebody's own.
func TestPartialCRLs(t *testing.T) {
	ca := newPair(t, "a", true)
	full := crlOf(t, ca, 1)
	delta := pkitest.CA{Crt: ca.Crt, Key: ca.Key}.SignCRL(t, &x509.RevocationList{
		Number: big.NewInt(2), ThisUpdate: full.ThisUpdate, NextUpdate: full.NextUpdate,
		ExtraExtensions: []pkix.Extension{{Id: []int{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}},
	})
	look := func(s Store, wantLists, wantPartial int, foreign bool) {
		t.Helper()
		crls, partial, err := s.LookAtCRLs()
		must(t, err)
		if len(crls) != wantLists || len(partial) != wantPartial {
			t.Fatalf("%d lists and %d partial ones, not %d and %d", len(crls), len(partial), wantLists, wantPartial)
		}
		for _, p := range partial {
			if !errors.Is(p.Err, pki.ErrPartialCRL) || p.Foreign != foreign {
				t.Errorf("%+v", p)
			}
		}
	}
	file := CRLStore(filepath.Join(t.TempDir(), "crl.pem"))
	write(t, file.Path, string(pki.EncodeCRLPEM(full.Raw))+string(pki.EncodeCRLPEM(delta.Raw)), 0o644)
	look(file, 1, 1, false)
	if changed, err := file.WriteCRLs([]*x509.RevocationList{full}); !changed || err != nil {
		t.Errorf("changed %v, %v", changed, err)
	}
	look(file, 1, 0, false)

	dir := CRLStore(t.TempDir())
	write(t, filepath.Join(dir.Path, "other.crl.pem"), string(pki.EncodeCRLPEM(delta.Raw)), 0o644)
	look(dir, 0, 1, false)
	_, err := dir.WriteCRLs([]*x509.RevocationList{full})
	must(t, err)
	look(dir, 1, 0, false)
	write(t, filepath.Join(dir.Path, "mine.pem"), string(pki.EncodeCRLPEM(delta.Raw)), 0o644)
	_, err = dir.WriteCRLs([]*x509.RevocationList{full})
	must(t, err)
	look(dir, 1, 1, true)
}

func TestPair(t *testing.T) {
	for _, separate := range []bool{false, true} {
		dir := t.TempDir()
		paths := PairPaths{Crt: filepath.Join(dir, "crt.pem")}
		if separate {
			paths.Key = filepath.Join(dir, "key.pem")
		}
		for _, cn := range []string{"one", "two"} {
			pair := newPair(t, cn, false)
			if changed, err := WritePair(paths, pair); !changed || err != nil {
				t.Fatalf("changed %v, %v", changed, err)
			}
			got, err := ReadPair(paths)
			if err != nil || !got.Crt.Equal(pair.Crt) || !pki.SameKey(got.Key.Public(), pair.Key.Public()) {
				t.Fatalf("read %v, %v", got.Crt, err)
			}
		}
		if info, err := os.Stat(paths.KeyPath()); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("key has mode %v", info.Mode())
		}
		if n := len(list(t, dir)); separate && n != 2 || !separate && n != 1 {
			t.Errorf("left %v", list(t, dir))
		}
		mixed := Pair{Key: newPair(t, "x", false).Key, Crt: newPair(t, "y", false).Crt}
		if _, err := WritePair(paths, mixed); !errors.Is(err, ErrMismatch) {
			t.Errorf("mixed pair: %v", err)
		}
	}
}

// TestRecoverPair starts from what a crash can leave between any two steps of WritePair.
func TestRecoverPair(t *testing.T) {
	old, new := newPair(t, "old", false), newPair(t, "new", false)
	keyPEM := func(p Pair) []byte { return pkitest.KeyPEM(t, p.Key) }
	crtPEM := func(p Pair) []byte { return pkitest.PEM(p.Crt) }
	// In the order of WriteAll.
	link := func(s *staged) error {
		name, err := siblingName(s.target, suffixOld)
		return errors.Join(err, s.in.Link(s.target, name))
	}
	place := func(s *staged) error { return s.in.Rename(s.temp, s.target) }
	steps := []func(key, crt *staged) error{
		func(_, _ *staged) error { return nil }, // nothing yet
		func(key, _ *staged) error { return link(key) },
		func(key, _ *staged) error { return place(key) },
		func(_, crt *staged) error { return link(crt) },
		func(_, crt *staged) error { return place(crt) },
	}
	for n := range len(steps) + 1 {
		dir := t.TempDir()
		paths := PairPaths{Key: filepath.Join(dir, "k.pem"), Crt: filepath.Join(dir, "c.pem")}
		_, err := WritePair(paths, old)
		must(t, err)
		key, err := stage(File{Path: paths.Key, Content: keyPEM(new), Secret: true})
		must(t, err)
		crt, err := stage(File{Path: paths.Crt, Content: crtPEM(new)})
		must(t, err)
		for _, step := range steps[:n] {
			must(t, step(key, crt))
		}
		key.in.Close()
		crt.in.Close()
		mended, err := RecoverPair(paths)
		if err != nil {
			t.Errorf("after %d steps: %v", n, err)
			continue
		}
		// Both halves of the new pair are on disk from the first step on.
		pair, err := ReadPair(paths)
		if err != nil || pair.Crt.Subject.CommonName != "new" || mended != (n < 5) {
			t.Errorf("after %d steps: %v, mended %v, %v", n, pair.Crt, mended, err)
		}
		if got := list(t, dir); len(got) != 2 {
			t.Errorf("after %d steps: left %v", n, got)
		}
	}
	t.Run("the new certificate is gone", func(t *testing.T) {
		dir := t.TempDir()
		paths := PairPaths{Key: filepath.Join(dir, "k.pem"), Crt: filepath.Join(dir, "c.pem")}
		write(t, paths.Key, string(keyPEM(new)), 0o600)
		write(t, paths.Crt, string(crtPEM(old)), 0o644)
		if _, err := RecoverPair(paths); !errors.Is(err, ErrMismatch) {
			t.Errorf("without anything to mend it: %v", err)
		}
		write(t, filepath.Join(dir, ".k.pem.0123456789abcdef.old"), string(keyPEM(old)), 0o600)
		if mended, err := RecoverPair(paths); !mended || err != nil {
			t.Errorf("with the old key: %v, %v", mended, err)
		}
	})
}

func TestAddCertificate(t *testing.T) {
	pair, other := newPair(t, "mine", false), newPair(t, "other", false)
	key := pkitest.KeyPEM(t, pair.Key)
	crt, again := string(pkitest.PEM(pair.Crt)), string(pkitest.PEM(certify(t, pair.Key, "older")))
	tests := []struct {
		name     string
		old, key string
		want     string
		err      error
	}{
		{"a new file", "", "", crt, nil},
		{"an empty file", "\n", "", crt, nil},
		{"a file with its key", string(key), "", string(key) + crt, nil},
		{"a key without final newline", strings.TrimSpace(string(key)), "", string(key) + crt, nil},
		{"a file with key and certificate", string(key) + again, "", string(key) + crt, nil},
		{"a file with certificate and key", again + string(key), "", crt + string(key), nil},
		{"an older certificate", again, "", crt, nil},
		{"beside its key", "", string(key), crt, nil},
		{"a certificate of another key", string(pkitest.PEM(other.Crt)), "", "", ErrMismatch},
		{"something else", "my diary\n", "", "", ErrMismatch},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			paths := PairPaths{Crt: filepath.Join(dir, "c.pem")}
			if tt.old != "" {
				write(t, paths.Crt, tt.old, 0o600)
			}
			if tt.key != "" {
				paths.Key = filepath.Join(dir, "k.pem")
				write(t, paths.Key, tt.key, 0o600)
			}
			_, err := AddCertificate(paths, pair.Crt)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			want := tt.want
			if err != nil {
				want = tt.old
			}
			if got := read(t, paths.Crt); got != want {
				t.Errorf("got %q\nwant %q", got, want)
			}
		})
	}
	t.Run("a file with another key", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "c.pem")
		write(t, path, string(key), 0o600)
		if _, err := AddCertificate(PairPaths{Crt: path}, other.Crt); !errors.Is(err, ErrMismatch) || read(t, path) != string(key) {
			t.Errorf("error %v", err)
		}
	})
}

func TestStores(t *testing.T) {
	a, b := newPair(t, "a", true), newPair(t, "b", true)
	name := func(p Pair, suffix string) string { return hex.EncodeToString(p.Crt.SubjectKeyId) + suffix }
	t.Run("a file", func(t *testing.T) {
		store := CAStore(filepath.Join(t.TempDir(), "ca.pem"))
		if crts, err := store.ReadCertificates(); crts != nil || err != nil {
			t.Errorf("before: %v, %v", crts, err)
		}
		for _, crts := range [][]*x509.Certificate{{a.Crt}, {a.Crt, b.Crt}, {b.Crt}} {
			if changed, err := store.WriteCertificates(crts); !changed || err != nil {
				t.Fatalf("changed %v, %v", changed, err)
			}
			if changed, err := store.WriteCertificates(crts); changed || err != nil {
				t.Fatalf("again: changed %v, %v", changed, err)
			}
			if got, err := store.ReadCertificates(); err != nil || !slices.EqualFunc(got, crts, (*x509.Certificate).Equal) {
				t.Errorf("read %d, %v", len(got), err)
			}
		}
	})
	t.Run("a directory", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "cas")
		cas, crls := CAStore(dir), CRLStore(dir)
		_, err := cas.WriteCertificates([]*x509.Certificate{a.Crt, b.Crt})
		must(t, err)
		_, err = crls.WriteCRLs([]*x509.RevocationList{crlOf(t, a, 1)})
		must(t, err)
		write(t, filepath.Join(dir, "README"), "mine", 0o644)
		write(t, filepath.Join(dir, "deadbeef.ca.pem"), string(pkitest.PEM(a.Crt)), 0o644)
		must(t, os.Mkdir(filepath.Join(dir, "sub.ca.pem"), 0o755))
		if changed, err := cas.WriteCertificates([]*x509.Certificate{b.Crt}); !changed || err != nil {
			t.Errorf("changed %v, %v", changed, err)
		}
		want := []string{"README", name(b, ".ca.pem"), name(a, ".crl.pem"), "sub.ca.pem"}
		slices.Sort(want)
		if got := list(t, dir); !slices.Equal(got, want) {
			t.Errorf("left %v\nwant %v", got, want)
		}
		if changed, err := cas.WriteCertificates([]*x509.Certificate{b.Crt}); changed || err != nil {
			t.Errorf("again: changed %v, %v", changed, err)
		}
		// An anchor under any other name is one.
		write(t, filepath.Join(dir, "anchor.pem"), string(pkitest.PEM(a.Crt)), 0o644)
		must(t, syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o644))
		if got, err := cas.ReadCertificates(); err != nil || len(got) != 2 {
			t.Errorf("read %d, %v", len(got), err)
		}
		if got, err := crls.ReadCRLs(); err != nil || len(got) != 1 {
			t.Errorf("read %d lists, %v", len(got), err)
		}
	})
	t.Run("a location that is something else", func(t *testing.T) {
		leaf := newPair(t, "leaf", false)
		key := pkitest.KeyPEM(t, leaf.Key)
		crt := pkitest.PEM(leaf.Crt)
		for _, content := range [][]byte{key, crt, slices.Concat(key, crt), slices.Concat(pkitest.PEM(a.Crt), crt)} {
			path := filepath.Join(t.TempDir(), "x.pem")
			write(t, path, string(content), 0o600)
			if _, err := CAStore(path).WriteCertificates([]*x509.Certificate{a.Crt}); !errors.Is(err, ErrUnusable) {
				t.Errorf("as CA store: %v", err)
			}
			if _, err := CRLStore(path).WriteCRLs([]*x509.RevocationList{crlOf(t, a, 1)}); !errors.Is(err, ErrUnusable) {
				t.Errorf("as CRL store: %v", err)
			}
			if !bytes.Equal([]byte(read(t, path)), content) {
				t.Error("it was overwritten")
			}
		}
	})
	t.Run("a directory that cannot be filled", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "cas")
		nameless := *a.Crt
		nameless.SubjectKeyId = nil
		if _, err := CAStore(dir).WriteCertificates([]*x509.Certificate{&nameless}); err == nil {
			t.Error("wrote a nameless certificate")
		}
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Error("the directory was left behind")
		}
	})
}
