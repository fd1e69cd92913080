package metricdb

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// DiskSpace returns the bytes free for us and in total on the disk that holds dir.
func DiskSpace(dir string) (free, size uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("cannot read free space of %q: %w", dir, err)
	}
	return st.Bavail * uint64(st.Bsize), st.Blocks * uint64(st.Bsize), nil
}

// enoughSpace refuses when the disk is nearly full, while there is still room for chunks and compaction:
// the TSDB does not survive failing to write those.
func enoughSpace(dir string, minFree int64) error {
	free, size, err := DiskSpace(dir)
	if err != nil {
		return err
	}
	if need := min(uint64(minFree), size/10); free < need {
		return fmt.Errorf("disk of %q is full: %d MiB free, %d MiB are kept for compaction; make room or lower retention", dir, free>>20, need>>20)
	}
	return nil
}
