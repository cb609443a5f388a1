package trustcard

import (
	"crypto/sha256"
	_ "embed"
	"errors"
	"slices"
	"strings"
	"sync"
)

// The English list of BIP 39 (https://github.com/bitcoin/bips/blob/master/bip-0039/english.txt), which is under the MIT licence: 2048 words, in
// alphabetical order, no two of which begin with the same four letters.
//
//go:embed english.txt
var english string

// wordList is that list, which few commands need.
var wordList = sync.OnceValue(func() []string { return strings.Fields(english) })

// How a fingerprint is spelled: each word is so many bits, and behind those of the fingerprint are those of a checksum.
const (
	wordBits  = 11
	wordCount = (256 + 8) / wordBits
)

// Words are those of BIP 39's English list of 2048 for a fingerprint of SHA-256: 24, each of which stands for 11 bits. The last
// 8 of these 264 bits are a checksum, so that a word that was misheard, or two that have changed places, are noticed by programs, too.
func Words(fingerprint [32]byte) []string {
	sum := sha256.Sum256(fingerprint[:])
	list, words := wordList(), make([]string, 0, wordCount)
	pending, bits := 0, 0
	for _, b := range append(fingerprint[:], sum[0]) {
		pending, bits = pending<<8|int(b), bits+8
		if bits >= wordBits {
			bits -= wordBits
			words = append(words, list[pending>>bits])
			pending &= 1<<bits - 1
		}
	}
	return words
}

// errWords is what is wrong with words that stand for no fingerprint. Which of them it is cannot be known.
var errWords = errors.New("not the 24 words of a fingerprint, or not in their order")

// ParseWords returns the fingerprint that words stand for, in any case and with any space between them.
func ParseWords(text string) (fingerprint [32]byte, err error) {
	words := strings.Fields(strings.ToLower(text))
	if len(words) != wordCount {
		return fingerprint, errWords
	}
	var spelled []byte
	pending, bits := 0, 0
	for _, word := range words {
		i, known := slices.BinarySearch(wordList(), word)
		if !known {
			return fingerprint, errWords
		}
		for pending, bits = pending<<wordBits|i, bits+wordBits; bits >= 8; pending &= 1<<bits - 1 {
			bits -= 8
			spelled = append(spelled, byte(pending>>bits))
		}
	}
	if sum := sha256.Sum256(spelled[:32]); spelled[32] != sum[0] {
		return fingerprint, errWords
	}
	return [32]byte(spelled[:32]), nil
}
