// Package trustcard writes fingerprints such that people compare them without mistakes: in words, to be read aloud, and as QR
// codes, for terminals and for paper.
package trustcard

import (
	"fmt"
	"strings"

	"rsc.io/qr"
)

// A Code is a QR code (ISO/IEC 18004).
type Code struct{ code *qr.Code }

// NewCode makes the QR code of a text, of which 15 % may be unreadable.
func NewCode(text string) (Code, error) {
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		return Code{}, fmt.Errorf("QR code: %w", err)
	}
	return Code{code}, nil
}

// PNG is the code as an image.
func (c Code) PNG() []byte { return c.code.PNG() }

// quiet is how wide the margin is that readers need, in modules.
const quiet = 4

// Black on white, whatever colours a terminal has, and back (ECMA-48 SGR).
const (
	paper = "\x1b[30;107m"
	reset = "\x1b[0m"
)

// Lines are the code in text: a character is one module wide and two high, as those of most fonts are. With colour, it is black on
// white whatever the terminal has. Otherwise what is dark is printed, as on paper.
func (c Code) Lines(colour bool) (lines []string) {
	for y := -quiet; y < c.code.Size+quiet; y += 2 {
		var line strings.Builder
		for x := -quiet; x < c.code.Size+quiet; x++ {
			switch above, below := c.code.Black(x, y), c.code.Black(x, y+1); {
			case above && below:
				line.WriteRune('█')
			case above:
				line.WriteRune('▀')
			case below:
				line.WriteRune('▄')
			default:
				line.WriteByte(' ')
			}
		}
		text := line.String()
		if colour {
			text = paper + text + reset
		}
		lines = append(lines, text)
	}
	return lines
}
