package trustcard

import (
	"strings"
	"testing"
)

// FuzzParseWords: whatever is read as words is written as words that read the same.
func FuzzParseWords(f *testing.F) {
	f.Add("")
	f.Add("abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about")
	f.Add("ABANDON\x00\u200b zoo zoo\t\nzoo")
	f.Fuzz(func(t *testing.T, text string) {
		fingerprint, err := ParseWords(text)
		if err != nil {
			return
		}
		again, err := ParseWords(strings.Join(Words(fingerprint), " "))
		if err != nil || again != fingerprint {
			t.Fatalf("%q: %x and %x, %v", text, fingerprint, again, err)
		}
	})
}
