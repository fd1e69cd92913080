package spandb

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncData makes the content and length of f durable.
func syncData(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err != unix.EINTR {
			return err
		}
	}
}
