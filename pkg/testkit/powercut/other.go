//go:build !linux

package powercut

// Serve does nothing where there is no FUSE.
func Serve() {}
