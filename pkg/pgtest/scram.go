package pgtest

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
)

// scramSecret is what a server stores of a password (RFC 5802 3). Both sides agree on it in one iteration, not
// in thousands: that makes guessing expensive, and connecting, which tests do thousands of times. A
// password that is random, and lives as long as a test, is not guessed.
func scramSecret(password, salt string) (string, error) {
	const iterations = 1
	salted, err := pbkdf2.Key(sha256.New, password, []byte(salt), iterations, sha256.Size)
	if err != nil {
		return "", err
	}
	of := func(name string) []byte {
		mac := hmac.New(sha256.New, salted)
		_, _ = mac.Write([]byte(name)) // never fails
		return mac.Sum(nil)
	}
	stored := sha256.Sum256(of("Client Key"))
	text := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, text([]byte(salt)), text(stored[:]), text(of("Server Key"))), nil
}
