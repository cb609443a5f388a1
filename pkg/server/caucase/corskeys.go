package caucase

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"cauase/pkg/pemfile"
)

const (
	corsKeySize = 32 // bytes
	corsKeyLife = 365 * 24 * time.Hour
	// maxCORSKeyFile bounds the file; at two keys a year it holds a few hundred bytes.
	maxCORSKeyFile = 64 << 10
	corsKeyHeader  = "# cauase CORS keys: expiry, key. Without this file, users must grant access again."
)

// A CORSVault is where CORSKeys are kept, as text.
type CORSVault interface {
	// Read returns the text, nil if there is none.
	Read(ctx context.Context) ([]byte, error)
	// Change puts what fn makes of the text in its place, once that is durable. Nobody else
	// changes it meanwhile. fn may run more than once.
	Change(ctx context.Context, fn func(old []byte) ([]byte, error)) error
}

// CORSKeys keep the keys that sign users' decisions about origins. The first is made when
// the first decision is.
//
// Their text has a line for each key, with its expiry in RFC 3339 and the key in hex. Lines
// that begin with # are comments.
type CORSKeys struct {
	vault CORSVault

	mu     sync.Mutex
	keys   []corsKey // oldest first
	readAt time.Time // when they were last looked for
}

type corsKey struct {
	expiry time.Time
	secret []byte
}

// OpenCORSKeys reads the keys in the file at path, which only its owner can read, and which need
// not be there.
func OpenCORSKeys(path string) (*CORSKeys, error) {
	k, err := OpenSharedCORSKeys(context.Background(), corsFile(path))
	if err != nil && !errors.As(err, new(*fs.PathError)) {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return k, err
}

// OpenSharedCORSKeys reads the keys in a vault that several daemons share.
func OpenSharedCORSKeys(ctx context.Context, vault CORSVault) (*CORSKeys, error) {
	text, err := vault.Read(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := parseCORSKeys(text)
	if err != nil {
		return nil, err
	}
	return &CORSKeys{vault: vault, keys: keys}, nil
}

// A corsFile is the path of a file with keys, of one daemon.
type corsFile string

func (path corsFile) Read(context.Context) ([]byte, error) {
	data, err := os.ReadFile(string(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

func (path corsFile) Change(ctx context.Context, fn func([]byte) ([]byte, error)) error {
	old, err := path.Read(ctx)
	if err != nil {
		return err
	}
	text, err := fn(old)
	if err != nil {
		return err
	}
	// A symbolic link is followed, so that it stays one: what is named on our command line is ours.
	_, err = pemfile.Write(pemfile.File{Path: string(path), Content: text, Secret: true, Follow: true})
	return err
}

func parseCORSKeys(data []byte) ([]corsKey, error) {
	if len(data) > maxCORSKeyFile {
		return nil, fmt.Errorf("longer than %d bytes", maxCORSKeyFile)
	}
	var keys []corsKey
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		expiryText, secretText, _ := strings.Cut(line, " ")
		expiry, err := time.Parse(time.RFC3339, expiryText)
		if err != nil {
			return nil, fmt.Errorf("line %d does not begin with a time", n)
		}
		secret, err := hex.DecodeString(secretText)
		if err != nil || len(secret) != corsKeySize {
			return nil, fmt.Errorf("line %d does not end with a key of %d bytes in hex", n, corsKeySize)
		}
		keys = append(keys, corsKey{expiry, secret})
	}
	return keys, lines.Err()
}

// verifying returns the keys whose signatures count at now.
func (k *CORSKeys) verifying(now time.Time) [][]byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	var secrets [][]byte
	for _, key := range k.keys {
		if now.Before(key.expiry) {
			secrets = append(secrets, key.secret)
		}
	}
	return secrets
}

// lookAgain is how often, at most, keys that another daemon may have made are looked for.
const lookAgain = time.Second

// refresh looks for keys that another daemon has made, and reports whether it found any. Anybody can
// make us look, with a token that no key verifies.
func (k *CORSKeys) refresh(ctx context.Context, now time.Time) bool {
	k.mu.Lock()
	ago := now.Sub(k.readAt)
	due := ago < 0 || ago >= lookAgain
	if due {
		k.readAt = now
	}
	k.mu.Unlock()
	if !due {
		return false
	}
	text, err := k.vault.Read(ctx) // which may take its time
	if err != nil {
		return false
	}
	keys, err := parseCORSKeys(text)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil || slices.EqualFunc(keys, k.keys, func(a, b corsKey) bool { return bytes.Equal(a.secret, b.secret) }) {
		return false
	}
	k.keys = keys
	return true
}

// signing returns the key to sign with at now. It makes a new one when the newest has
// less than half its life left, so that what is signed counts for at least that long.
func (k *CORSKeys) signing(ctx context.Context, now time.Time) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if newest := signingKey(k.keys, now); newest != nil {
		return newest, nil
	}
	made := corsKey{now.Add(corsKeyLife), make([]byte, corsKeySize)}
	_, _ = rand.Read(made.secret) // never fails
	var keys []corsKey
	err := k.vault.Change(ctx, func(old []byte) ([]byte, error) {
		known, err := parseCORSKeys(old)
		if err != nil {
			return nil, err
		}
		keys = nil
		for _, key := range known {
			if now.Before(key.expiry) {
				keys = append(keys, key)
			}
		}
		if signingKey(keys, now) == nil { // else another daemon was faster
			keys = append(keys, made)
		}
		return encodeCORSKeys(keys), nil
	})
	if err != nil {
		return nil, fmt.Errorf("CORS keys: %w", err)
	}
	k.keys = keys
	return signingKey(keys, now), nil
}

// signingKey is the newest of keys, nil if it has less than half its life left.
func signingKey(keys []corsKey, now time.Time) []byte {
	if n := len(keys); n > 0 && now.Add(corsKeyLife/2).Before(keys[n-1].expiry) {
		return keys[n-1].secret
	}
	return nil
}

func encodeCORSKeys(keys []corsKey) []byte {
	var buf bytes.Buffer
	fmt.Fprintln(&buf, corsKeyHeader)
	for _, key := range keys {
		fmt.Fprintf(&buf, "%s %s\n", key.expiry.UTC().Format(time.RFC3339), hex.EncodeToString(key.secret))
	}
	return buf.Bytes()
}
