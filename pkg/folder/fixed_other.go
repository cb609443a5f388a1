//go:build unix && !linux

package folder

const mountPoint = ""

func fixed(int, string) string { return "" }

func full(int, uint64) bool { return false }
