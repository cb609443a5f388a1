//go:build !linux

package main

import "os"

// terminalWidth is how many columns the terminal at f has, 0 if that is not known.
func terminalWidth(*os.File) int { return 0 }
