package cli

// NoCores does nothing: what becomes of a program that fails is a setting of the system.
func NoCores() {}
