package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"
)

// What was dropped of the program is read again when it is needed.
func TestDropProgram(t *testing.T) {
	before := residentCode(t)
	size, err := dropProgram()
	if err != nil || size == 0 {
		t.Fatalf("%d bytes, %v", size, err)
	}
	if after := residentCode(t); after >= before {
		t.Errorf("%d KiB of code are resident, and %d were before", after, before)
	}
	returnMemory()
}

// residentCode is how much of this program's code is in memory, in KiB.
func residentCode(t *testing.T) (total int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	code := false
	for s := bufio.NewScanner(f); s.Scan(); {
		var kib int
		if strings.Contains(s.Text(), "r-xp") {
			code = strings.HasSuffix(s.Text(), self)
		} else if _, err := fmt.Sscanf(s.Text(), "Rss: %d kB", &kib); err == nil && code {
			total += kib
			code = false
		}
	}
	return total
}
