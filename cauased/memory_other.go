//go:build !linux

package main

// hasRoom knows no file system in memory here.
func hasRoom(string, int64) bool { return false }

// hideMemory does nothing here.
func hideMemory() {}

// dropProgram does nothing here.
func dropProgram() (uintptr, error) { return 0, nil }
