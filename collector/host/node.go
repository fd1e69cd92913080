package host

import (
	"bytes"
	"path"
	"path/filepath"
)

// ticks is the unit of CPU times in /proc: USER_HZ is 100 on every Linux that we run on.
const ticks = 100

var (
	nodeCPU      = figure{name: "weir_host_cpu_seconds_total", help: "CPU time of all CPUs by mode; guest time is part of user.", unit: "seconds", extra: "mode", counter: true}
	nodeCPUs     = figure{name: "weir_host_cpus", help: "CPUs that are online."}
	nodeLoad     = figure{name: "weir_host_load", help: "Load average over 1, 5 and 15 minutes.", extra: "minutes"}
	nodeMemTotal = figure{name: "weir_host_memory_total_bytes", help: "Memory of the node.", unit: "bytes"}
	nodeMemAvail = figure{name: "weir_host_memory_available_bytes", help: "Memory that can be had without swapping.", unit: "bytes"}
	nodeMemFree  = figure{name: "weir_host_memory_free_bytes", help: "Memory in no use at all.", unit: "bytes"}
	nodeMemCache = figure{name: "weir_host_memory_cached_bytes", help: "Page cache.", unit: "bytes"}
	nodeSwap     = figure{name: "weir_host_swap_total_bytes", help: "Swap space.", unit: "bytes"}
	nodeSwapFree = figure{name: "weir_host_swap_free_bytes", help: "Swap space in no use.", unit: "bytes"}
	nodeBoot     = figure{name: "weir_host_boot_time_seconds", help: "When the node was started, Unix time.", unit: "seconds"}
	nodeRunning  = figure{name: "weir_host_processes_running", help: "Tasks that run or could run."}
	nodeBlocked  = figure{name: "weir_host_processes_blocked", help: "Tasks that wait for input or output."}

	diskRead    = figure{name: "weir_host_disk_read_bytes_total", help: "Bytes read.", unit: "bytes", extra: "device", counter: true}
	diskWritten = figure{name: "weir_host_disk_written_bytes_total", help: "Bytes written.", unit: "bytes", extra: "device", counter: true}
	diskReads   = figure{name: "weir_host_disk_reads_total", help: "Reads completed.", extra: "device", counter: true}
	diskWrites  = figure{name: "weir_host_disk_writes_total", help: "Writes completed.", extra: "device", counter: true}
	diskBusy    = figure{name: "weir_host_disk_io_seconds_total", help: "Time with requests under way.", unit: "seconds", extra: "device", counter: true}

	netReceived   = figure{name: "weir_host_network_receive_bytes_total", help: "Bytes received.", unit: "bytes", extra: "device", counter: true}
	netSent       = figure{name: "weir_host_network_transmit_bytes_total", help: "Bytes sent.", unit: "bytes", extra: "device", counter: true}
	netRecvErrors = figure{name: "weir_host_network_receive_errors_total", help: "Packets received wrong.", extra: "device", counter: true}
	netRecvDrops  = figure{name: "weir_host_network_receive_drops_total", help: "Packets received and dropped.", extra: "device", counter: true}
	netSendErrors = figure{name: "weir_host_network_transmit_errors_total", help: "Packets that could not be sent.", extra: "device", counter: true}
	netSendDrops  = figure{name: "weir_host_network_transmit_drops_total", help: "Packets dropped instead of sent.", extra: "device", counter: true}

	nodeWaiting = figure{name: "weir_host_pressure_waiting_seconds_total", help: "Time in which some task waited for the resource (PSI some).", unit: "seconds", extra: "resource", counter: true}
	nodeStalled = figure{name: "weir_host_pressure_stalled_seconds_total", help: "Time in which every task waited for the resource (PSI full).", unit: "seconds", extra: "resource", counter: true}
)

var cpuModes = [...]string{"user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"}

func (m *Monitor) readNode() {
	boot := m.bootTime()
	s := m.emit.subject("node", int64(boot*1000))
	m.readStat(s)
	m.readLoad(s)
	m.readMemory(s)
	m.readDisks(s)
	m.readNetwork(s)
	if m.cfg.Pressure {
		for _, resource := range []string{"cpu", "io", "memory"} {
			m.readPressure(s, filepath.Join(m.cfg.ProcRoot, "pressure", resource), resource, &nodeWaiting, &nodeStalled)
		}
	}
}

// bootTime is when the node was started, Unix seconds; 0 = unknown.
func (m *Monitor) bootTime() (boot float64) {
	b, err := m.files.read(filepath.Join(m.cfg.ProcRoot, "stat"))
	if err != nil {
		return 0
	}
	eachLine(b, func(f [][]byte) {
		if len(f) == 2 && string(f[0]) == "btime" {
			boot, _ = parse(f[1])
		}
	})
	return boot
}

func (m *Monitor) readStat(s *subject) {
	b, err := m.files.read(filepath.Join(m.cfg.ProcRoot, "stat"))
	if err != nil {
		return
	}
	cpus := 0
	eachLine(b, func(f [][]byte) {
		switch name := string(f[0]); {
		case name == "cpu":
			for i, mode := range cpuModes {
				if i+1 < len(f) {
					if v, ok := parse(f[i+1]); ok {
						m.emit.put(s, &nodeCPU, mode, v/ticks)
					}
				}
			}
		case bytes.HasPrefix(f[0], []byte("cpu")):
			cpus++
		case len(f) == 2:
			v, ok := parse(f[1])
			if !ok {
				return
			}
			switch name {
			case "btime":
				m.emit.put(s, &nodeBoot, "", v)
			case "procs_running":
				m.emit.put(s, &nodeRunning, "", v)
			case "procs_blocked":
				m.emit.put(s, &nodeBlocked, "", v)
			}
		}
	})
	if cpus > 0 {
		m.emit.put(s, &nodeCPUs, "", float64(cpus))
	}
}

func (m *Monitor) readLoad(s *subject) {
	b, err := m.files.read(filepath.Join(m.cfg.ProcRoot, "loadavg"))
	if err != nil {
		return
	}
	eachLine(b, func(f [][]byte) {
		for i, minutes := range []string{"1", "5", "15"} {
			if i < len(f) {
				if v, ok := parse(f[i]); ok {
					m.emit.put(s, &nodeLoad, minutes, v)
				}
			}
		}
	})
}

func (m *Monitor) readMemory(s *subject) {
	b, err := m.files.read(filepath.Join(m.cfg.ProcRoot, "meminfo"))
	if err != nil {
		return
	}
	figures := map[string]*figure{
		"MemTotal:": &nodeMemTotal, "MemAvailable:": &nodeMemAvail, "MemFree:": &nodeMemFree,
		"Cached:": &nodeMemCache, "SwapTotal:": &nodeSwap, "SwapFree:": &nodeSwapFree,
	}
	eachLine(b, func(f [][]byte) {
		if len(f) < 2 {
			return
		}
		if fig := figures[string(f[0])]; fig != nil {
			if v, ok := parse(f[1]); ok {
				m.emit.put(s, fig, "", v*1024)
			}
		}
	})
}

// readDisks reads whole disks only: what a partition does, its disk does.
func (m *Monitor) readDisks(s *subject) {
	b, err := m.files.read(filepath.Join(m.cfg.ProcRoot, "diskstats"))
	if err != nil {
		return
	}
	const sector = 512 // whatever the disk's own is
	last := ""
	eachLine(b, func(f [][]byte) {
		if len(f) < 14 {
			return
		}
		device := string(f[2])
		if matches(m.cfg.IgnoreDevices, device) || isPartition(last, device) {
			return
		}
		last = device
		for _, c := range []struct {
			fig   *figure
			field int
			scale float64
		}{{&diskReads, 3, 1}, {&diskRead, 5, sector}, {&diskWrites, 7, 1}, {&diskWritten, 9, sector}, {&diskBusy, 12, 1e-3}} {
			if v, ok := parse(f[c.field]); ok {
				m.emit.put(s, c.fig, device, v*c.scale)
			}
		}
	})
}

// isPartition tells whether device is a partition of disk, which stands before it in diskstats: sda1 of sda, nvme0n1p2 of nvme0n1.
func isPartition(disk, device string) bool {
	if disk == "" || len(device) <= len(disk) || device[:len(disk)] != disk {
		return false
	}
	rest := device[len(disk):]
	if last := disk[len(disk)-1]; last >= '0' && last <= '9' {
		if rest[0] != 'p' || len(rest) == 1 {
			return false
		}
		rest = rest[1:]
	}
	for i := range len(rest) {
		if rest[i] < '0' || rest[i] > '9' {
			return false
		}
	}
	return true
}

func (m *Monitor) readNetwork(s *subject) {
	b, err := m.files.read(filepath.Join(m.cfg.ProcRoot, "net", "dev"))
	if err != nil {
		return
	}
	for line := range bytes.Lines(b) {
		name, figures, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			continue
		}
		device := string(bytes.TrimSpace(name))
		if matches(m.cfg.IgnoreInterfaces, device) {
			continue
		}
		eachLine(figures, func(f [][]byte) {
			if len(f) < 12 {
				return
			}
			for _, c := range []struct {
				fig   *figure
				field int
			}{{&netReceived, 0}, {&netRecvErrors, 2}, {&netRecvDrops, 3}, {&netSent, 8}, {&netSendErrors, 10}, {&netSendDrops, 11}} {
				if v, ok := parse(f[c.field]); ok {
					m.emit.put(s, c.fig, device, v)
				}
			}
		})
	}
}

// readPressure reads a PSI file: lines "some avg10=… total=<microseconds>".
func (m *Monitor) readPressure(s *subject, file, resource string, waiting, stalled *figure) {
	b, err := m.files.read(file)
	if err != nil {
		return // a kernel without PSI, or with it switched off
	}
	eachLine(b, func(f [][]byte) {
		total, ok := bytes.CutPrefix(f[len(f)-1], []byte("total="))
		if !ok {
			return
		}
		v, ok := parse(total)
		switch {
		case !ok:
		case string(f[0]) == "some":
			m.emit.put(s, waiting, resource, v/1e6)
		case string(f[0]) == "full":
			m.emit.put(s, stalled, resource, v/1e6)
		}
	})
}

func matches(patterns []string, name string) bool {
	for _, p := range patterns {
		if ok, _ := path.Match(p, name); ok {
			return true
		}
	}
	return false
}
