package cli

import (
	"encoding/json"
	"math/big"
	"testing"
)

// A serial number is shown in one notation everywhere, and in the other on request.
func TestSerialNotations(t *testing.T) {
	for text, want := range map[string]Serial{
		"255": {"0xff", "255"}, "0xFF": {"0xff", "255"}, "00:ff": {"0xff", "255"},
		"nonsense": {"nonsense", "nonsense"}, "": {}, "\x1b[2J": {`\x1b[2J`, `\x1b[2J`},
	} {
		got := ReadSerial(text)
		if got != want || got.Text(false) != want.Hex || got.Text(true) != want.Decimal || got.IsZero() != (text == "") {
			t.Errorf("%q: %+v", text, got)
		}
	}
	out, err := json.Marshal([]Serial{SerialOf(big.NewInt(31)), SerialOf(nil)})
	if err != nil || string(out) != `[{"serial":"0x1f","serial_decimal":"31"},{}]` {
		t.Errorf("%s, %v", out, err)
	}
}
