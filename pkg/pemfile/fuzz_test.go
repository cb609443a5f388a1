package pemfile

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"cauase/pkg/testkit/pkitest"
)

// FuzzFile has a file of anything where a store or a pair is expected. Reading it may not
// end us, and what is neither may not be overwritten.
func FuzzFile(f *testing.F) {
	f.Add(pkitest.KeyPEM(f, pkitest.Key(f)))
	f.Add([]byte("text"))
	f.Add([]byte("-----BEGIN X509 CRL-----\nAA"))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"))
	f.Add([]byte("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "any.pem")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		found, keyErr := ReadKey(path)
		_, _ = ReadPair(PairPaths{Crt: path})
		_, _ = CAStore(path).ReadCertificates()
		if _, err := CRLStore(path).ReadCRLs(); err != nil {
			t.Errorf("a list that cannot be read counts for nothing, yet: %v", err)
		}
		// Nothing to write: whatever is overwritten, it is not for something better.
		for _, store := range []Store{CAStore(path), CRLStore(path)} {
			if _, err := store.write(nil); err == nil && (keyErr == nil || !bytes.Contains(data, []byte("-----BEGIN ")) && len(bytes.TrimSpace(data)) > 0) {
				t.Errorf("a file that holds %v is overwritten", found)
			}
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	})
}
