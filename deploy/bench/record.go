package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

type recordCmd struct {
	Name    string   `arg:"" help:"Section of the file, as in <!-- bench NAME -->."`
	Command []string `arg:"" passthrough:"" help:"Command whose tables are recorded."`
	File    string   `default:"docs/benchmarks.md"`
}

// Run runs a benchmark, shows what it prints, and puts its tables with the conditions into the file.
func (c *recordCmd) Run(ctx context.Context) error {
	if len(c.Command) > 0 && c.Command[0] == "--" {
		c.Command = c.Command[1:]
	}
	if len(c.Command) == 0 {
		return errors.New("no command is given")
	}
	before := load()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, c.Command[0], c.Command[1:]...)
	cmd.Stdout, cmd.Stderr = io.MultiWriter(os.Stdout, &out), os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(c.Command, " "), err)
	}
	var tables []string
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "|") {
			tables = append(tables, strings.TrimRight(line, "\n"))
		} else if len(tables) > 0 && tables[len(tables)-1] != "" {
			tables = append(tables, "")
		}
	}
	if len(tables) == 0 {
		return fmt.Errorf("%s printed no table", strings.Join(c.Command, " "))
	}
	text := fmt.Sprintf("%s, %d cores (%s), load before %s\n\n%s\n", time.Now().UTC().Format("2 January 2006"), runtime.NumCPU(), model(), before, strings.TrimSpace(strings.Join(tables, "\n")))
	return replace(c.File, c.Name, text)
}

// replace puts text between the marks of a section.
func replace(file, name, text string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	begin, end := "<!-- bench "+name+" -->\n", "<!-- end "+name+" -->"
	i := bytes.Index(b, []byte(begin))
	j := bytes.Index(b, []byte(end))
	if i < 0 || j < i {
		return fmt.Errorf("%s has no section %q", file, name)
	}
	return os.WriteFile(file, []byte(string(b[:i])+begin+text+string(b[j:])), 0o644)
}

func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Fields(string(b))[0]
}

func model() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return runtime.GOARCH
}
