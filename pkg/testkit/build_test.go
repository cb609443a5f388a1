package testkit

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestMakefileLeavesTheSameUnwatched(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^UNWATCHED := (.*)$`).FindSubmatch(makefile)
	if line == nil {
		t.Fatal("the Makefile has no UNWATCHED")
	}
	if got := strings.Fields(string(line[1])); !slices.Equal(got, unwatched) {
		t.Errorf("the Makefile says %q, this package %q", got, unwatched)
	}
}
