package pki

import (
	"fmt"
	"math/big"
	"regexp"
	"strings"
)

// hexadecimal is a serial number as openssl prints it, without anything that says in which base.
var hexadecimal = regexp.MustCompile(`^[0-9A-Fa-f]{1,40}$`)

// ParseSerial reads a serial number as it is shown anywhere: decimal, hexadecimal with 0x, or hexadecimal in
// pairs with colons.
func ParseSerial(text string) (*big.Int, error) {
	digits, base := text, 10
	if len(text) > 1 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X') {
		digits, base = text[2:], 16
	}
	if strings.Contains(digits, ":") {
		digits, base = strings.ReplaceAll(digits, ":", ""), 16
	}
	if len(digits) <= 60 && !strings.ContainsAny(digits, "+-_") {
		if serial, ok := new(big.Int).SetString(digits, base); ok && serial.Sign() > 0 && serial.BitLen() <= 160 {
			return serial, nil
		}
	}
	err := fmt.Errorf("%.80q is not a positive number, decimal or 0x and hexadecimal", text)
	if base == 10 && hexadecimal.MatchString(text) && strings.Trim(text, "0") != "" {
		err = fmt.Errorf("%w: did you mean 0x%s?", err, text)
	}
	return nil, err
}

// FormatSerial writes a serial number as all our tools show it, openssl and others take it, and [ParseSerial] reads it.
func FormatSerial(serial *big.Int) string { return "0x" + serial.Text(16) }
