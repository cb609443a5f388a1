//go:build !linux

package updater

func bound() {}
