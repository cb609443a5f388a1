package trustcard_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cauase/pkg/testkit"
	"cauase/pkg/trustcard"
)

// The vectors are BIP 39's own.
func TestWords(t *testing.T) {
	for first, want := range map[byte]string{0: strings.Repeat("abandon ", 23) + "art", 0x7f: strings.Repeat("legal winner thank year wave sausage worth useful ", 2) + "legal winner thank year wave sausage worth title", 0xff: strings.Repeat("zoo ", 23) + "vote"} {
		var fingerprint [32]byte
		for i := range fingerprint {
			fingerprint[i] = first
		}
		if words := trustcard.Words(fingerprint); strings.Join(words, " ") != want {
			t.Errorf("%x: %v", first, words)
		}
	}
	fingerprint := sha256.Sum256([]byte("a CA"))
	words := trustcard.Words(fingerprint)
	back, err := trustcard.ParseWords(" " + strings.ToUpper(strings.Join(words, "\n ")))
	if err != nil || back != fingerprint {
		t.Errorf("%x, %v", back, err)
	}
	swapped := slices.Clone(words)
	slices.Reverse(swapped)
	for _, wrong := range []string{"", strings.Join(swapped, " "), strings.Join(words[:12], " "), strings.Join(append(words[:23:23], "zebrafish"), " ")} {
		if _, err := trustcard.ParseWords(wrong); err == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
}

// TestWordsAreThoseOfEverybody: the list is the one that other programs have, byte for byte, and any fingerprint comes back.
func TestWordsAreThoseOfEverybody(t *testing.T) {
	list, err := os.ReadFile("english.txt")
	if err != nil {
		t.Fatal(err)
	}
	if sum := fmt.Sprintf("%x", sha256.Sum256(list)); sum != "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda" {
		t.Errorf("the list has the digest %s", sum)
	}
	for n := range 1000 {
		fingerprint := sha256.Sum256(fmt.Append(nil, n))
		if back, err := trustcard.ParseWords(strings.Join(trustcard.Words(fingerprint), " ")); err != nil || back != fingerprint {
			t.Fatalf("%x comes back as %x, %v", fingerprint, back, err)
		}
	}
}

// TestCodeIsRead has a reader of QR codes look at the image, and at what the terminal shows.
func TestCodeIsRead(t *testing.T) {
	zbarimg := testkit.Need(t, "zbarimg", "zbar-tools")
	for _, text := range []string{"x", "sha256:" + strings.Repeat("0123456789abcdef", 4), "cauase init --ca-url http://ca.example.org:8009 --ca-fingerprint sha256:" + strings.Repeat("0123456789abcdef", 4)} {
		code, err := trustcard.NewCode(text)
		if err != nil {
			t.Fatal(err)
		}
		for name, image := range map[string][]byte{"image": code.PNG(), "text": drawn(t, code.Lines(false)), "coloured text": drawn(t, code.Lines(true))} {
			path := filepath.Join(t.TempDir(), "code.png")
			if err := os.WriteFile(path, image, 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(zbarimg, "--quiet", "--raw", path)
			cmd.Env = append(os.Environ(), "DBUS_SESSION_BUS_ADDRESS=disabled:")
			out, err := cmd.Output()
			if err != nil || strings.TrimSuffix(string(out), "\n") != text {
				t.Errorf("%s of %q: read as %q, %v", name, text, out, err)
			}
		}
	}
}

// drawn is what lines of text look like.
func drawn(t *testing.T, lines []string) []byte {
	t.Helper()
	const scale = 6
	var rows [][]bool
	for _, line := range lines {
		line = strings.TrimSuffix(strings.TrimPrefix(line, "\x1b[30;107m"), "\x1b[0m")
		var above, below []bool
		for _, r := range line {
			above = append(above, r == '█' || r == '▀')
			below = append(below, r == '█' || r == '▄')
		}
		rows = append(rows, above, below)
	}
	img := image.NewGray(image.Rect(0, 0, scale*len(rows[0]), scale*len(rows)))
	for y := range scale * len(rows) {
		for x := range scale * len(rows[0]) {
			if !rows[y/scale][x/scale] {
				img.Set(x, y, color.White)
			}
		}
	}
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
