package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"cauase/pkg/client"
	"cauase/pkg/client/clienttest"
	"cauase/pkg/testkit"
	"cauase/pkg/trustcard"
)

// TestCard: what the card says is enough for a newcomer, and he compares words with it.
func TestCard(t *testing.T) {
	s := newShell(t)
	s.exits("ca card", 1)
	s.says("holds no valid CA certificate of cas\n.*hint: cauase ca update")
	s.ok("ca update")
	s.ok("--mode user ca update")
	s.daemon.Clock.Advance(clienttest.LeafLife)
	newest := s.daemon.CAS.Rollover().Crt
	s.ok("ca update")
	s.ok("ca card --json")
	var card cardView
	if err := json.Unmarshal([]byte(s.out), &card); err != nil {
		t.Fatal(err)
	}
	words := trustcard.Words(client.PinOf(newest))
	if len(card.Certificates) != 2 || strings.Join(card.Certificates[0].Words, " ") != strings.Join(words, " ") || card.QR != client.PinOf(newest).String() {
		t.Errorf("%+v", card)
	}
	s.ok("ca card --out card.png")
	s.says(`words: +` + strings.Join(words[:6], " ") + `\n`)
	s.says(`(?m)^  ` + card.Command + `$`)
	if strings.Contains(s.out, "\x1b") {
		t.Error("escape sequences in what is no terminal")
	}
	s.exits("ca card --out card.png", 1)
	s.says("card.png exists\n.*--force")
	s.ok("ca card --out card.png --force")
	if zbarimg, err := exec.LookPath("zbarimg"); err == nil {
		cmd := exec.Command(zbarimg, "--quiet", "--raw", "card.png")
		cmd.Env = append(os.Environ(), "DBUS_SESSION_BUS_ADDRESS=disabled:")
		if out, err := cmd.Output(); err != nil || strings.TrimSpace(string(out)) != card.QR {
			t.Errorf("zbarimg: %q, %v", out, err)
		}
	} else {
		testkit.Need(t, "zbarimg", "zbar-tools")
	}

	// The newcomer, elsewhere.
	t.Chdir(t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("CAUASE_STORE", "")
	_ = os.Unsetenv("CAUASE_STORE")
	s.ok(strings.TrimPrefix(card.Command, "cauase "))
	s.ok("ca card")
	s.says(words[23])
	var args []string
	for _, word := range words {
		args = append(args, strings.ToUpper(word))
	}
	for text, code := range map[string]int{strings.Join(args, "  "): 0, card.QR: 0, strings.Join(args[:23], " "): 1, client.Pin{7}.String(): 1} {
		if got := s.runArgs("ca", "card", "--compare", text); got != code {
			t.Errorf("%s: exit %d\n%s%s", text, got, s.out, s.err)
		}
	}
	s.says("")
}

// TestCardOfAnother: of an authority beside the two that everybody has.
func TestCardOfAnother(t *testing.T) {
	s, _, web := newTreeShell(t)
	s.ok("--authority web ca update")
	s.ok("ca update")
	s.ok("--authority web ca card")
	s.says(`cauase init --ca-url \S+ --authority web --ca-fingerprint ` + client.PinOf(web.Newest().Crt).String() + " --ca-fingerprint " + client.PinOf(s.daemon.CAS.Newest().Crt).String() + "\n")
	s.exits("ca card --ca-url=", 1)
	s.says("--ca-url")
	s.exits("ca card x", 1)
}
