package pki

import (
	"strings"
	"testing"
)

func TestParseSerial(t *testing.T) {
	for text, want := range map[string]string{
		"10": "10", "010": "10", "0x10": "16", "0X1f": "31", "00:1f": "31", "0x1:0": "16", "1f:00": "7936",
		"": "", "x": "", "0": "", "0x": "", "0x0": "", "-1": "", "+1": "", "1_0": "", "0x1_0": "", "1f": "", " 1": "", "0x-1": "", "0o17": "", "0b1": "",
		"1461501637330902918203684832716283019655932542976":                             "", // 2^160
		"0xffffffffffffffffffffffffffffffffffffffff":                                    "1461501637330902918203684832716283019655932542975",
		"99999999999999999999999999999999999999999999999999999999999999999999999999999": "",
	} {
		serial, err := ParseSerial(text)
		if got := ""; err == nil {
			got = serial.String()
			if got != want {
				t.Errorf("%q is read as %s, want %s", text, got, want)
			}
		} else if want != "" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestSerialOfOpenSSL: what openssl prints is hexadecimal, and does not say so.
func TestSerialOfOpenSSL(t *testing.T) {
	for text, want := range map[string]bool{"3B35AD57DD": true, "1f": true, "1_f": false, "0xzz": false, "-1": false, "0": false, "00": false, strings.Repeat("f", 41): false} {
		if _, err := ParseSerial(text); err == nil || strings.Contains(err.Error(), "did you mean 0x"+text+"?") != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}
