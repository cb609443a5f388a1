package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// flush is what databases call.
func flush(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }
