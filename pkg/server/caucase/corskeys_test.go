package caucase

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// privateOnly fails unless the folder of path holds nothing beside it that we have left,
// and nobody else can read it.
func privateOnly(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestCORSKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cors.key")
	now := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	k, err := OpenCORSKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil || len(k.verifying(now)) != 0 {
		t.Error("a key before anything is to be signed")
	}
	first, err := k.signing(t.Context(), now)
	if err != nil || len(first) != 32 {
		t.Fatal(first, err)
	}
	privateOnly(t, path)
	if again, _ := k.signing(t.Context(), now.Add(corsKeyLife/2-time.Second)); string(again) != string(first) {
		t.Error("another key before half a year")
	}
	// Another process, half a year later.
	if k, err = OpenCORSKeys(path); err != nil {
		t.Fatal(err)
	}
	later := now.Add(corsKeyLife / 2)
	second, err := k.signing(t.Context(), later)
	if err != nil || string(second) == string(first) {
		t.Errorf("no new key: %v", err)
	}
	if got := k.verifying(later); len(got) != 2 {
		t.Errorf("%d keys", len(got))
	}
	if got := k.verifying(now.Add(corsKeyLife)); len(got) != 1 || string(got[0]) != string(second) {
		t.Errorf("%d keys after the first has expired", len(got))
	}

	for name, content := range map[string]string{
		"no time":   "tomorrow 00\n",
		"short key": "2031-01-01T00:00:00Z 0011\n",
		"no hex":    "2031-01-01T00:00:00Z " + strings.Repeat("zz", 32) + "\n",
		"no key":    "2031-01-01T00:00:00Z\n",
		"too long":  strings.Repeat("#\n", maxCORSKeyFile),
		"long line": strings.Repeat("#", maxCORSKeyFile) + "\n",
		"a folder":  "",
	} {
		bad := filepath.Join(t.TempDir(), "cors.key")
		if name == "a folder" {
			err = os.Mkdir(bad, 0o700)
		} else {
			err = os.WriteFile(bad, []byte(content), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := OpenCORSKeys(bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCORSKeys(path); err != nil {
		t.Errorf("an empty file: %v", err)
	}
}

// TestSharedCORSKeys: what one daemon has signed, another verifies, and two that make the first key at
// once agree on one.
func TestSharedCORSKeys(t *testing.T) {
	vault := corsFile(filepath.Join(t.TempDir(), "cors.key")) // in a folder that both mount
	now := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	var daemons [2]*CORSKeys
	for i := range daemons {
		var err error
		if daemons[i], err = OpenSharedCORSKeys(t.Context(), vault); err != nil {
			t.Fatal(err)
		}
	}
	a, b := daemons[0], daemons[1]
	first, err := a.signing(t.Context(), now)
	if err != nil {
		t.Fatal(err)
	}
	if len(b.verifying(now)) != 0 || !b.refresh(t.Context(), now) || string(b.verifying(now)[0]) != string(first) {
		t.Error("the other's key is not found")
	}
	if b.refresh(t.Context(), now.Add(lookAgain)) {
		t.Error("the same keys are news")
	}
	later := now.Add(corsKeyLife * 3 / 4)
	second, err1 := a.signing(t.Context(), later)
	third, err2 := b.signing(t.Context(), later)
	if err := errors.Join(err1, err2); err != nil || string(second) == string(first) || string(third) != string(second) {
		t.Errorf("two keys are made instead of one, %v", err)
	}
	if b.refresh(t.Context(), later); len(b.verifying(later)) != 2 {
		t.Error("the keys before are lost")
	}
	third[0] ^= 1 // as if another daemon had changed them
	if !b.refresh(t.Context(), later.Add(lookAgain)) || b.refresh(t.Context(), later.Add(lookAgain)) {
		t.Error("they are looked for too often, or not at all")
	}
}
