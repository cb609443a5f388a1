//go:build !linux

package sqlstore

// checkSpace is for Linux only: elsewhere a full disk shows when something cannot be written.
func checkSpace(string) error { return nil }
