// Package powercut mounts a file system that loses what was not synced when its power is cut: it is kept in memory, in a process of
// its own, by way of FUSE. What was written and not synced survives in part, sector by sector in any order, as a disk's cache
// writes it; changes of folders survive up to some point, in their order, as a journal keeps them; a sync of any
// file makes those before it durable, as on ext4 and xfs.
//
// The program that uses this package has to call Serve first thing.
package powercut

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

const environment = "CAUASE_TEST_POWERCUT"

// A Disk is mounted.
type Disk struct {
	cmd   *exec.Cmd
	order io.WriteCloser
	said  *bufio.Scanner
}

// Mount mounts an empty disk. An error means that this is not allowed here.
func Mount(at string) (*Disk, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	d := &Disk{cmd: exec.Command(self)}
	d.cmd.Env = append(os.Environ(), environment+"="+at)
	d.cmd.Stderr = os.Stderr
	order, err1 := d.cmd.StdinPipe()
	said, err2 := d.cmd.StdoutPipe()
	if err := errors.Join(err1, err2, d.cmd.Start()); err != nil {
		return nil, err
	}
	d.order, d.said = order, bufio.NewScanner(said)
	_, err = d.answer()
	if err != nil {
		err = errors.Join(err, d.Close())
	}
	return d, err
}

func (d *Disk) answer() (string, error) {
	if !d.said.Scan() {
		return "", errors.New("powercut: the file system has ended")
	}
	text, good := strings.CutPrefix(d.said.Text(), "ok ")
	if !good {
		return "", errors.New("powercut: " + text)
	}
	return text, nil
}

func (d *Disk) tell(order string) (string, error) {
	if _, err := fmt.Fprintln(d.order, order); err != nil {
		return "", err
	}
	return d.answer()
}

// Cut cuts the power: from now on nothing gets through. Then kill what runs there.
func (d *Disk) Cut() error {
	_, err := d.tell("cut")
	return err
}

// Sync makes all that is there durable.
func (d *Disk) Sync() error {
	_, err := d.tell("sync")
	return err
}

// Return mounts what has survived, which depends on seed. It says how many sectors, and sizes of files, were lost.
func (d *Disk) Return(seed uint64) (lost string, err error) {
	return d.tell(fmt.Sprintf("return %d", seed))
}

// Close unmounts the disk and forgets it.
func (d *Disk) Close() error { return errors.Join(d.order.Close(), d.cmd.Wait()) }
