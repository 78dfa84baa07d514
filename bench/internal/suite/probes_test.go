package suite

import (
	"strings"
	"testing"
)

func TestSumOf(t *testing.T) {
	t.Parallel()
	const metrics = `# TYPE gitaly_command_cpu_seconds_total counter
gitaly_command_cpu_seconds_total{cmd="git",mode="user",subcmd="pack-objects"} 1.5
gitaly_command_cpu_seconds_total{cmd="git",mode="system",subcmd="pack-objects"} 0.25
gitaly_command_cpu_seconds_total{cmd="git",mode="user",subcmd="upload-pack"} 9
gitaly_command_real_seconds_total{cmd="git",subcmd="pack-objects"} 9
`
	got, err := sumOf(strings.NewReader(metrics), "gitaly_command_cpu_seconds_total{", `subcmd="pack-objects"`)
	if err != nil || got != 1750 {
		t.Errorf("the sum is %v, %v", got, err)
	}
}
