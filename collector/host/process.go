package host

import (
	"bytes"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

var (
	prcCPU     = figure{name: "weir_process_cpu_seconds_total", help: "CPU time used.", unit: "seconds", counter: true}
	prcRSS     = figure{name: "weir_process_resident_memory_bytes", help: "Memory in use.", unit: "bytes"}
	prcThreads = figure{name: "weir_process_threads", help: "Threads."}
	prcStart   = figure{name: "weir_process_start_time_seconds", help: "When the process was started, Unix time.", unit: "seconds"}
)

// process is one process that belongs to a listed service.
type process struct {
	pid     int32
	service string
}

// processes finds the processes of the listed services.
type processes struct {
	root    string
	max     int
	every   time.Duration
	page    float64
	rules   []processRule
	skipped *metrics.Counter

	list   []process
	looked time.Time
}

type processRule struct {
	ProcessConfig
	cmdline *regexp.Regexp
}

func newProcesses(cfg Config, skipped *metrics.Counter) *processes {
	p := &processes{root: cfg.ProcRoot, max: cfg.MaxProcesses, every: cfg.Discover, page: float64(os.Getpagesize()), skipped: skipped}
	for _, c := range cfg.Processes {
		r := processRule{ProcessConfig: c}
		if c.Cmdline != "" {
			r.cmdline = regexp.MustCompile(c.Cmdline) // Validate has tried it
		}
		p.rules = append(p.rules, r)
	}
	return p
}

// discover looks for processes when it is time to. The first rule that fits decides.
func (p *processes) discover(now time.Time, files *reader) {
	if !p.looked.IsZero() && now.Sub(p.looked) < p.every {
		return
	}
	p.looked = now
	p.list = p.list[:0]
	seen := map[int32]bool{}
	add := func(pid int32, service string) {
		switch {
		case pid <= 0 || seen[pid]:
		case len(p.list) >= p.max:
			p.skipped.Inc()
		default:
			seen[pid] = true
			p.list = append(p.list, process{pid, service})
		}
	}
	search := false
	for _, r := range p.rules {
		switch {
		case r.PID != 0:
			add(r.PID, r.Service)
		case r.PIDFile != "":
			if v, ok := files.number(r.PIDFile); ok {
				add(int32(v), r.Service)
			}
		default:
			search = true
		}
	}
	if !search {
		return
	}
	entries, err := os.ReadDir(p.root)
	if err != nil {
		return
	}
	for _, e := range entries {
		pid, err := strconv.ParseInt(e.Name(), 10, 32)
		if err != nil {
			continue
		}
		if service := p.match(e.Name(), files); service != "" {
			add(int32(pid), service)
		}
	}
}

func (p *processes) match(pid string, files *reader) string {
	var comm, cmdline []byte
	for _, r := range p.rules {
		switch {
		case r.Comm != "":
			if comm == nil {
				b, _ := files.read(filepath.Join(p.root, pid, "comm"))
				comm = bytes.Clone(bytes.TrimSpace(b))
			}
			if ok, _ := path.Match(r.Comm, string(comm)); ok && len(comm) > 0 {
				return r.Service
			}
		case r.cmdline != nil:
			if cmdline == nil {
				b, _ := files.read(filepath.Join(p.root, pid, "cmdline"))
				cmdline = bytes.ReplaceAll(bytes.TrimRight(b, "\x00"), []byte{0}, []byte{' '})
			}
			if len(cmdline) > 0 && r.cmdline.Match(cmdline) {
				return r.Service
			}
		}
	}
	return ""
}

func (m *Monitor) readProcesses(now time.Time) {
	m.processes.discover(now, &m.files)
	boot := m.bootTime()
	for _, p := range m.processes.list {
		pid := strconv.Itoa(int(p.pid))
		b, err := m.files.read(filepath.Join(m.cfg.ProcRoot, pid, "stat"))
		if err != nil {
			continue // ended
		}
		st, ok := parseProcessStat(b)
		if !ok {
			continue
		}
		started := boot + st.start
		key := "process/" + pid + "/" + p.service
		s := m.emit.subjects[key]
		if s == nil {
			container := ""
			if m.names != nil {
				container = m.names.ByPID(p.pid).Container
			}
			s = m.emit.subject(key, 0, "service", p.service, "container", container, "pid", pid)
		}
		s.round = m.emit.round
		if boot > 0 { // an id that is used again goes on as the same series from a new start
			s.start = int64(started * 1000)
		}
		m.emit.put(s, &prcCPU, "", st.cpu)
		m.emit.put(s, &prcRSS, "", st.rss*m.processes.page)
		m.emit.put(s, &prcThreads, "", st.threads)
		if boot > 0 {
			m.emit.put(s, &prcStart, "", started)
		}
	}
}

// processStat is what is used of /proc/<pid>/stat.
type processStat struct {
	cpu     float64 // seconds
	threads float64
	start   float64 // seconds after boot
	rss     float64 // pages
}

// parseProcessStat reads the fields behind the name, which may itself hold blanks and brackets.
func parseProcessStat(b []byte) (st processStat, ok bool) {
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return st, false
	}
	eachLine(b[i+1:], func(f [][]byte) {
		if len(f) < 22 || ok { // f[0] is field 3, the state
			return
		}
		var utime, stime float64
		var good [5]bool
		utime, good[0] = parse(f[11])
		stime, good[1] = parse(f[12])
		st.threads, good[2] = parse(f[17])
		st.start, good[3] = parse(f[19])
		st.rss, good[4] = parse(f[21])
		st.cpu = (utime + stime) / ticks
		st.start /= ticks
		ok = good == [5]bool{true, true, true, true, true} && f[0][0] != 'Z'
	})
	return st, ok
}
