package cli

import (
	"math/big"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/pki"
)

// FlagDecimal is the name of the option by which serial numbers are shown in decimal.
const FlagDecimal = "decimal"

// Decimal is that option, for all commands that show serial numbers. JSON has both notations anyway.
func Decimal() urfave.Flag {
	return &urfave.BoolFlag{Name: FlagDecimal, Usage: "show serial numbers in decimal digits, not as 0x and hexadecimal (JSON has both)"}
}

// A Serial is a serial number in JSON, in both notations.
type Serial struct {
	Hex     string `json:"serial,omitempty"`
	Decimal string `json:"serial_decimal,omitempty"`
}

// SerialOf returns both notations of a serial number, neither for nil.
func SerialOf(serial *big.Int) Serial {
	if serial == nil {
		return Serial{}
	}
	return Serial{pki.FormatSerial(serial), serial.String()}
}

// ReadSerial returns both notations of a serial number that is in either, as a daemon sends it. What is none stays as it
// is, escaped, so that it is seen.
func ReadSerial(text string) Serial {
	serial, err := pki.ParseSerial(text)
	if err != nil {
		text = pki.EscapeText(text)
		return Serial{text, text}
	}
	return SerialOf(serial)
}

// Text is the notation for people: decimal if they have asked for it.
func (s Serial) Text(decimal bool) string {
	if decimal {
		return s.Decimal
	}
	return s.Hex
}

// IsZero reports whether there is no serial number.
func (s Serial) IsZero() bool { return s == Serial{} }
