package main

import (
	"fmt"
	"strings"
	"testing"
)

// TestManyJobsInConfig makes sure that a job costs as much in a long configuration as in a short one.
func TestManyJobsInConfig(t *testing.T) {
	each := func(jobs int) float64 {
		var text strings.Builder
		text.WriteString("ca-url = \"http://ca.example\"\nca = \"ca.pem\"\ncrl = \"crl.pem\"\n")
		for i := range jobs {
			fmt.Fprintf(&text, "\n[[job]]\nname = \"job%[1]d\"\ncrt = \"job%[1]d.crt\"\nkey = \"job%[1]d.key\"\n", i)
		}
		content := []byte(text.String())
		return testing.AllocsPerRun(1, func() {
			parsed, err := parseConfig(content, "/etc/agent", &machine{path: "/nowhere"})
			if err != nil || len(parsed) != jobs {
				t.Fatal(len(parsed), err)
			}
		}) / float64(jobs)
	}
	if few, many := each(50), each(1000); many > 1.3*few {
		t.Errorf("a job of 1,000 takes %.0f allocations, one of 50 %.0f", many, few)
	}
}
