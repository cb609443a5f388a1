package envelope

import (
	"errors"
	"math/big"
	"strings"
	"testing"
)

func TestPayloadsRoundTrip(t *testing.T) {
	renewal := Renewal{CertificatePEM: "a\né", RequestPEM: "b"}
	data, err := EncodeRenewal(renewal)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeRenewal(data); err != nil || got != renewal {
		t.Errorf("renewal: %+v, %v", got, err)
	}
	link := Link{OldPEM: "a", NewPEM: "b"}
	if data, err = EncodeLink(link); err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeLink(data); err != nil || got != link {
		t.Errorf("link: %+v, %v", got, err)
	}
	if data, err = EncodeRevocation(Revocation{CertificatePEM: "a"}); err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeRevocation(data); err != nil || got.CertificatePEM != "a" || got.Serial != nil {
		t.Errorf("revocation: %+v, %v", got, err)
	}
	largest := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 159), big.NewInt(1))
	if data, err = EncodeRevocation(Revocation{Serial: largest}); err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeRevocation(data); err != nil || got.CertificatePEM != "" || got.Serial.Cmp(largest) != 0 {
		t.Errorf("revocation by serial: %+v, %v", got, err)
	}
}

func TestEncodeRevocationRefuses(t *testing.T) {
	for name, r := range map[string]Revocation{
		"neither":  {},
		"both":     {CertificatePEM: "a", Serial: big.NewInt(1)},
		"zero":     {Serial: new(big.Int)},
		"negative": {Serial: big.NewInt(-1)},
		"too long": {Serial: new(big.Int).Lsh(big.NewInt(1), 159)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := EncodeRevocation(r)
			checkRefused(t, err, "")
		})
	}
}

func TestDecodeRevocationRefuses(t *testing.T) {
	serial := func(s string) string { return `{"revoke_serial": ` + s + `}` }
	tests := map[string]struct{ text, why string }{
		"empty":                {``, ""},
		"neither":              {`{}`, "exactly one"},
		"null":                 {`null`, "exactly one"},
		"both":                 {`{"revoke_serial": 5, "revoke_crt_pem": "a"}`, "exactly one"},
		"one and a null":       {`{"revoke_serial": 5, "revoke_crt_pem": null}`, "exactly one"},
		"certificate null":     {`{"revoke_crt_pem": null}`, "not a string"},
		"certificate a number": {`{"revoke_crt_pem": 5}`, "not a string"},
		"certificate empty":    {`{"revoke_crt_pem": ""}`, "empty"},
		"a renewal":            {`{"crt_pem": "a", "renew_csr_pem": "b"}`, "unknown"},
		"serial twice":         {`{"revoke_serial": 5, "revoke_serial": 6}`, "duplicate"},
		"name in capitals":     {`{"REVOKE_SERIAL": 5}`, "unknown"},
		"serial null":          {serial("null"), "positive integer"},
		"serial zero":          {serial("0"), "positive integer"},
		"serial negative zero": {serial("-0"), "positive integer"},
		"serial negative":      {serial("-5"), "positive integer"},
		"serial with a plus":   {serial("+5"), ""},
		"serial leading zero":  {serial("05"), ""},
		"serial in hex":        {serial("0x5"), ""},
		"serial a string":      {serial(`"5"`), "positive integer"},
		"serial a float":       {serial("5.0"), "positive integer"},
		"serial an exponent":   {serial("5e1"), "positive integer"},
		"serial 1e1000000":     {serial("1e1000000"), "positive integer"},
		"serial true":          {serial("true"), "positive integer"},
		"serial a list":        {serial("[5]"), "positive integer"},
		"serial NaN":           {serial("NaN"), ""},
		"serial 2^159":         {serial("730750818665451459101842416358141509827966271488"), "longer than 20 bytes"},
		"serial 2^200":         {serial("1606938044258990275541962092341162602522202993782792835301376"), "longer than 20 bytes"},
		"serial a megabyte":    {serial(strings.Repeat("9", 1<<20)), "longer than 20 bytes"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := DecodeRevocation([]byte(test.text))
			checkRefused(t, err, test.why)
		})
	}
}

func TestDecodeRenewalAndLinkRefuse(t *testing.T) {
	for name, text := range map[string]string{
		"empty":       ``,
		"null":        `null`,
		"nothing":     `{}`,
		"first only":  `{"FIRST": "a"}`,
		"second only": `{"SECOND": "a"}`,
		"a null":      `{"FIRST": "a", "SECOND": null}`,
		"an empty":    `{"FIRST": "", "SECOND": "a"}`,
		"a number":    `{"FIRST": 1, "SECOND": "a"}`,
		"unknown":     `{"FIRST": "a", "SECOND": "a", "x": 1}`,
		"revocation":  `{"revoke_crt_pem": "a"}`,
		"twice":       `{"FIRST": "a", "SECOND": "a", "FIRST": "b"}`,
		"trailing":    `{"FIRST": "a", "SECOND": "a"}{}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := DecodeRenewal([]byte(strings.NewReplacer("FIRST", "crt_pem", "SECOND", "renew_csr_pem").Replace(text)))
			checkRefused(t, err, "renewal: ")
			_, err = DecodeLink([]byte(strings.NewReplacer("FIRST", "old_pem", "SECOND", "new_pem").Replace(text)))
			checkRefused(t, err, "chain link: ")
		})
	}
}

func FuzzDecodePayloads(f *testing.F) {
	f.Add([]byte(`{"crt_pem": "a", "renew_csr_pem": "b"}`))
	f.Add([]byte(`{"old_pem": "a", "new_pem": "b"}`))
	f.Add([]byte(`{"revoke_crt_pem": "\u00e9"}`))
	f.Add([]byte(`{"revoke_serial": 730750818665451459101842416358141509827966271487}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err1 := DecodeRenewal(data)
		_, err2 := DecodeLink(data)
		r, err3 := DecodeRevocation(data)
		accepted := 0
		for _, err := range []error{err1, err2, err3} {
			if err == nil {
				accepted++
			} else if !errors.Is(err, ErrInvalid) {
				t.Errorf("%T is not a refusal: %v", err, err)
			}
		}
		if accepted > 1 {
			t.Error("one message means two things")
		}
		if err3 != nil {
			return
		}
		if _, err := EncodeRevocation(r); err != nil {
			t.Errorf("%+v cannot be written: %v", r, err)
		}
	})
}
