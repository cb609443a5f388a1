package powercut

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Serve is the file system, if that is what this process was started for, and then does not return.
func Serve() {
	at, asked := os.LookupEnv(environment)
	if !asked {
		return
	}
	d := newDisk()
	mounted := func() bool {
		_, err := d.mount(at)
		if err != nil {
			fmt.Println("failed", err)
		}
		return err == nil
	}
	if !mounted() {
		os.Exit(1)
	}
	fmt.Println("ok mounted")
	for orders := bufio.NewScanner(os.Stdin); orders.Scan(); {
		if orders.Text() == "sync" {
			d.mu.Lock()
			d.syncAll()
			d.mu.Unlock()
			fmt.Println("ok synced")
			continue
		}
		digits, back := strings.CutPrefix(orders.Text(), "return ")
		seed, err := strconv.ParseUint(digits, 10, 64)
		if !back || err != nil {
			d.mu.Lock()
			d.dead = true
			d.mu.Unlock()
			fmt.Println("ok cut")
			continue
		}
		if err := syscall.Unmount(at, syscall.MNT_DETACH); err != nil {
			fmt.Println("failed", err)
			continue
		}
		d.mu.Lock()
		lost := d.lose(rand.New(rand.NewPCG(seed, 0))) //nolint:gosec // not a secret
		d.dead = false
		d.mu.Unlock()
		if mounted() {
			fmt.Println("ok", lost)
		}
	}
	d.mu.Lock()
	d.dead = true
	d.mu.Unlock()
	if err := syscall.Unmount(at, syscall.MNT_DETACH); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}
