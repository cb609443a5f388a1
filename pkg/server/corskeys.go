package server

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	corsKeySize = 32 // bytes
	corsKeyLife = 365 * 24 * time.Hour
	// maxCORSKeyFile bounds the file; at two keys a year it holds a few hundred bytes.
	maxCORSKeyFile = 64 << 10
	corsKeyHeader  = "# cauase CORS keys: expiry, key. Without this file, users must grant access again."
)

// CORSKeys keep the keys that sign users' decisions about origins, in a file that only
// its owner can read. The file is made when the first decision is.
//
// It is text: a line for each key, with its expiry in RFC 3339 and the key in hex. Lines
// that begin with # are comments.
type CORSKeys struct {
	path string

	mu   sync.Mutex
	keys []corsKey // oldest first
}

type corsKey struct {
	expiry time.Time
	secret []byte
}

// OpenCORSKeys reads the keys at path, where there need not be any.
func OpenCORSKeys(path string) (*CORSKeys, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &CORSKeys{path: path}, nil
	}
	if err != nil {
		return nil, err
	}
	keys, err := parseCORSKeys(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &CORSKeys{path: path, keys: keys}, nil
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

// signing returns the key to sign with at now. It makes a new one when the newest has
// less than half its life left, so that what is signed counts for at least that long.
func (k *CORSKeys) signing(now time.Time) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := len(k.keys); n > 0 && now.Add(corsKeyLife/2).Before(k.keys[n-1].expiry) {
		return k.keys[n-1].secret, nil
	}
	var keys []corsKey
	for _, key := range k.keys {
		if now.Before(key.expiry) {
			keys = append(keys, key)
		}
	}
	made := corsKey{now.Add(corsKeyLife), make([]byte, corsKeySize)}
	_, _ = rand.Read(made.secret) // never fails
	keys = append(keys, made)
	if err := writePrivateFile(k.path, encodeCORSKeys(keys)); err != nil {
		return nil, fmt.Errorf("CORS keys: %w", err)
	}
	k.keys = keys
	return made.secret, nil
}

func encodeCORSKeys(keys []corsKey) []byte {
	var buf bytes.Buffer
	fmt.Fprintln(&buf, corsKeyHeader)
	for _, key := range keys {
		fmt.Fprintf(&buf, "%s %s\n", key.expiry.UTC().Format(time.RFC3339), hex.EncodeToString(key.secret))
	}
	return buf.Bytes()
}
