//go:build !linux || !amd64

package faults

import "io"

const supported = false

func trace(Options, io.Writer, []string) (int, error) { return 0, ErrUnsupported }

func enter(string, []string) error { return ErrUnsupported }
