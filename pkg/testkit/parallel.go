package testkit

import (
	"flag"
	"strconv"
)

// Parallel has a package whose tests mostly wait run so many of them at once, unless the command line
// says how many. TestMain calls it.
func Parallel(tests int) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", strconv.Itoa(tests)) // a number is what it takes
	}
}
