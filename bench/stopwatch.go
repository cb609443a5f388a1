package main

import "time"

// epoch is when the program began, by the monotonic clock: intervals do not change with the wall clock.
var epoch = time.Now() //permit:time.Now

// elapsed is how long the program has run.
func elapsed() time.Duration { return time.Since(epoch) } //permit:time.Since

// took returns how long work took.
func took(work func() error) (time.Duration, error) {
	began := elapsed()
	err := work()
	return elapsed() - began, err
}
