package statsd

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socketDrops returns how many datagrams the kernel has dropped at the socket since it was opened.
func socketDrops(fd int) (uint32, bool) {
	var info [16]uint32 // SO_MEMINFO: SK_MEMINFO_VARS numbers
	size := uint32(unsafe.Sizeof(info))
	const drops = 8 // SK_MEMINFO_DROPS
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info[0])), uintptr(unsafe.Pointer(&size)), 0)
	if errno == 0 && size >= (drops+1)*4 {
		return info[drops], true
	}
	// Kernels before 4.12 tell it in /proc only.
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return 0, false
	}
	for _, path := range []string{"/proc/self/net/udp", "/proc/self/net/udp6"} {
		if n, ok := procDrops(path, st.Ino); ok {
			return n, true
		}
	}
	return 0, false
}

// procDrops finds the drops of the socket with this inode in a table like /proc/net/udp.
func procDrops(path string, inode uint64) (uint32, bool) {
	f, err := os.Open(path)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	want := strconv.FormatUint(inode, 10)
	for sc := bufio.NewScanner(f); sc.Scan(); {
		// sl local rem st tx:rx tr:when retrnsmt uid timeout inode ref pointer drops
		c := strings.Fields(sc.Text())
		if len(c) < 13 || c[9] != want {
			continue
		}
		n, err := strconv.ParseUint(c[12], 10, 32)
		return uint32(n), err == nil
	}
	return 0, false
}
