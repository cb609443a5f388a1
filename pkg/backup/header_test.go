package backup

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

const (
	alice = "aa00000000000000000000000000000000000001"
	bob   = "bb00000000000000000000000000000000000002"
	twoOf = `{"cipher":{"name":"aes256_cbc_pkcs7_hmac_10M_sha256","parameter":"00000000000000000000000000000000"},` +
		`"key_list":[{"id":"` + alice + `","cipher":{"name":"rsa_oaep_sha1_mgf1_sha1"},"key":"00"},` +
		`{"id":"` + bob + `","cipher":{"name":"rsa_oaep_sha1_mgf1_sha1"},"key":"11"}]}`
)

func container(header string) []byte {
	b := binary.LittleEndian.AppendUint32([]byte(magic), uint32(len(header)))
	return append(b, header...)
}

func TestReadHeader(t *testing.T) {
	r := bytes.NewReader(append(container(twoOf), "payload"...))
	h, err := ReadHeader(iotest.OneByteReader(r))
	if err != nil {
		t.Fatal(err)
	}
	if len(h.Recipients) != 2 || h.Recipients[0].KeyID != alice || h.Recipients[1].KeyID != bob {
		t.Errorf("recipients are %+v", h.Recipients)
	}
	if h.Cipher.Name != "aes256_cbc_pkcs7_hmac_10M_sha256" || len(h.Cipher.Parameter) != 32 {
		t.Errorf("cipher is %+v", h.Cipher)
	}
	if rest, _ := io.ReadAll(r); string(rest) != "payload" {
		t.Errorf("what follows the header is %q", rest)
	}
}

func TestReadHeaderRefuses(t *testing.T) {
	claims := func(size uint32) string {
		return string(binary.LittleEndian.AppendUint32([]byte(magic), size))
	}
	for _, c := range []struct{ name, data, why string }{
		{"empty", "", "too short"},
		{"only the magic", magic, "too short"},
		{"something else", "SQLite format 3\x00", "does not begin"},
		{"header of 4 GiB", claims(1<<32-1) + "{}", "4294967295 bytes"},
		{"header just too long", claims(MaxHeaderSize+1) + "{}", "more than"},
		{"header that is longer than the file", claims(MaxHeaderSize) + "{}", "ends within"},
		{"not JSON", string(container("hello")), "not the JSON"},
		{"more than JSON", string(container("{}{}")), "not the JSON"},
		{"a list", string(container("[]")), "not the JSON"},
		{"no list of keys", string(container(`{"key_list":{}}`)), "not the JSON"},
		{"keys that are null", string(container(`{"key_list":null}`)), "not the JSON"},
		{"a key that is none", string(container(`{"key_list":[7]}`)), "not the JSON"},
		{"a list twice", string(container(`{"key_list":[],"key_list":[]}`)), "not the JSON"},
		{"deep", string(container(`{"x":` + strings.Repeat("[", 1<<20))), "not the JSON"},
		{"identifier that is not hexadecimal", string(container(`{"key_list":[{"id":"zz"}]}`)), "recipient 1"},
		{"identifier for a terminal", string(container(`{"key_list":[{"id":"\u001b[2J"}]}`)), "recipient 1"},
		{"identifier of the wrong size", string(container(`{"key_list":[{"id":"` + alice + `"},{"id":"aabb"}]}`)), "recipient 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ReadHeader(strings.NewReader(c.data))
			if !errors.Is(err, ErrNotBackup) || !strings.Contains(err.Error(), c.why) {
				t.Errorf("err = %v, want one that says %q", err, c.why)
			}
		})
	}
	broken := errors.New("disk on fire")
	if _, err := ReadHeader(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("err = %v, want what the reader says", err)
	}
}

// A short file that claims a long header costs what it is, not what it claims.
func TestReadHeaderAllocatesLittle(t *testing.T) {
	data := binary.LittleEndian.AppendUint32([]byte(magic), MaxHeaderSize)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		if _, err := ReadHeader(bytes.NewReader(data)); err == nil {
			t.Fatal("accepted")
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / 100; each > 64<<10 {
		t.Errorf("%d bytes allocated for a file of %d", each, len(data))
	}
}

// Neither do millions of recipients that are none.
func TestReadHeaderOfEmptyRecipients(t *testing.T) {
	data := container(`{"key_list":[` + strings.Repeat("{},", MaxHeaderSize/3-10) + `{}]}`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := ReadHeader(bytes.NewReader(data)); !errors.Is(err, ErrNotBackup) {
		t.Error(err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 8*MaxHeaderSize {
		t.Errorf("%d bytes allocated for a header of %d", used, len(data))
	}
}

func FuzzReadHeader(f *testing.F) {
	f.Add(container(twoOf))
	f.Add([]byte(magic))
	f.Add(container(`{"key_list":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := ReadHeader(bytes.NewReader(data))
		if err == nil {
			for _, r := range h.Recipients {
				if len(r.KeyID) != 2*keyIDSize {
					t.Errorf("identifier %q", r.KeyID)
				}
			}
		}
	})
}
