//go:build unix

package main

import "syscall"

// withoutWaiting: opening a FIFO must not wait for its writer.
const withoutWaiting = syscall.O_NONBLOCK
