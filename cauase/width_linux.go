package main

import (
	"os"
	"syscall"
	"unsafe"
)

// terminalWidth is how many columns the terminal at f has, 0 if f is none.
func terminalWidth(f *os.File) int {
	var size struct{ rows, columns, x, y uint16 }
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), syscall.TIOCGWINSZ, uintptr(unsafe.Pointer(&size))) //nolint:gosec // as tty_ioctl(4) has it
	if errno != 0 {
		return 0
	}
	return int(size.columns)
}
