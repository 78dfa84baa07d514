// Package machine says on what a run took place, as far as it bears on speed.
package machine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

// Describe names the machine, its kernel, and the versions of the programs that take
// part. What cannot be found out is left out.
func Describe(ctx context.Context, scratch string) map[string]string {
	m := map[string]string{"go": runtime.Version(), "processors": fmt.Sprint(runtime.NumCPU())}
	set := func(key, value string) {
		if value = strings.Join(strings.Fields(value), " "); value != "" {
			m[key] = value
		}
	}
	set("processor", field("/proc/cpuinfo", `(?m)^model name\s*: (.*)$`))
	set("memory", field("/proc/meminfo", `(?m)^MemTotal:\s*(.*)$`))
	set("load before", field("/proc/loadavg", `^(\S+ \S+ \S+)`))
	set("distribution", field("/etc/os-release", `(?m)^PRETTY_NAME="(.*)"$`))
	set("kernel", field("/proc/version", `^Linux version (\S+)`))
	set("file system", output(ctx, "stat", "--file-system", "--format=%T", scratch))
	set("git", output(ctx, "git", "version"))
	set("openssh", output(ctx, "ssh", "-V"))
	set("postgresql", output(ctx, "psql", "--version"))
	set("redis", output(ctx, "redis-server", "--version"))
	set("nginx", output(ctx, "nginx", "-v"))
	set("gitolite", gitolite())
	return m
}

// field returns the first group of the pattern in a file.
func field(file, pattern string) string {
	raw, _ := os.ReadFile(file) //nolint:gosec // fixed names
	if m := regexp.MustCompile(pattern).FindSubmatch(raw); m != nil {
		return string(m[1])
	}
	return ""
}

// output is what a program says about itself on either stream.
func output(ctx context.Context, name string, args ...string) string {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line
}

func gitolite() string {
	raw, _ := os.ReadFile(filepath.Join("/usr/share/gitolite3", "VERSION"))
	return string(raw)
}
