package check

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// programs are ours, from `make build`.
const programs = "../../../bin"

// The environment and the files of every pod are what the programs want: here
// `gitsplit configure` runs as in the init container, and each service checks its
// configuration as it would at its start.
func TestConfiguration(t *testing.T) {
	t.Parallel()
	in := install(t, "testdata/defaults.yaml")
	for name, pod := range in.pods {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node := node{dir: t.TempDir()}
			node.mount(t, in, pod.Spec.Volumes)
			configure := pod.Spec.InitContainers[0]
			node.succeed(t, "gitsplit", configure.Args, configure.Env)
			service := pod.Spec.Containers[0]
			program, args := check(service)
			node.succeed(t, program, args, service.Env)
			for _, c := range []core.Container{configure, service} {
				for _, fault := range in.addressFaults(c) {
					t.Error(fault)
				}
			}
		})
	}
}

// Programs ignore variables that they do not know. So each variable of the chart is
// given something that whoever reads it has to complain about, by its name.
func TestVariables(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"testdata/external-secrets.yaml", "testdata/single-node.yaml", "testdata/gateway.yaml"} {
		for name, pod := range install(t, file).pods {
			t.Run(filepath.Base(file)+"/"+name, func(t *testing.T) {
				t.Parallel()
				configure, service := pod.Spec.InitContainers[0], pod.Spec.Containers[0]
				program, args := check(service)
				for i := range configure.Env {
					missed(t, "gitsplit", configure.Args, configure.Env, i, configure.Env[i].Name, `"`)
				}
				for i, e := range service.Env {
					// Every setting can be read from a file.
					missed(t, program, args, service.Env, i, strings.TrimSuffix(e.Name, "_FILE")+"_FILE", "/nonexistent")
				}
			})
		}
	}
}

// foreign are variables that somebody else reads.
var foreign = []string{"POD_INDEX", "AWS_SHARED_CREDENTIALS_FILE"}

// missed reports variable i if nobody complains when it is replaced.
func missed(t *testing.T, program string, args []string, env []core.EnvVar, i int, name, value string) {
	t.Helper()
	if slices.Contains(foreign, env[i].Name) {
		return
	}
	changed := slices.Clone(env)
	changed[i] = core.EnvVar{Name: name, Value: value}
	out, err := node{dir: t.TempDir()}.run(t, program, args, changed)
	if err == nil || !strings.Contains(out, strings.TrimSuffix(name, "_FILE")) {
		t.Errorf("%s does not read %s: %v\n%s", program, env[i].Name, err, out)
	}
}

// check returns the command line with which a service only checks its configuration.
func check(c core.Container) (program string, args []string) {
	switch c.Name {
	case "gitaly":
		return "gitaly", []string{"check-config", c.Args[1]}
	case "migrate":
		return "rails-api", append(slices.Clone(c.Args[:2]), "-check-config")
	case "workhorse":
		return "gitlab-workhorse", append(slices.Clone(c.Args), "-check-config")
	}
	return c.Name, append(slices.Clone(c.Args), "-check-config")
}

// node has the directories of a pod below one of its own.
type node struct{ dir string }

var podPath = regexp.MustCompile(`(/var/opt/gitsplit|/run/gitsplit)`)

// local rewrites the paths of the pod, and what Kubernetes fills in.
func (n node) local(text string) string {
	return podPath.ReplaceAllString(strings.ReplaceAll(text, "$(POD_INDEX)", "0"), n.dir+"$1")
}

// mount lays out the Secrets of the chart as they are mounted.
func (n node) mount(t *testing.T, in installation, volumes []core.Volume) {
	t.Helper()
	for _, v := range volumes {
		var sources []core.SecretProjection
		dir := "/run/gitsplit/" + v.Name
		switch {
		case v.Projected != nil:
			for _, s := range v.Projected.Sources {
				sources = append(sources, *s.Secret)
			}
		case v.Secret != nil:
			sources = []core.SecretProjection{{LocalObjectReference: core.LocalObjectReference{Name: v.Secret.SecretName}, Items: v.Secret.Items}}
		default:
			continue
		}
		if err := os.MkdirAll(n.local(dir), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, s := range sources {
			for _, item := range s.Items {
				text := in.secrets[s.Name].Data[item.Key]
				if err := os.WriteFile(filepath.Join(n.local(dir), item.Path), text, 0o440); err != nil { //nolint:gosec // as Kubernetes does
					t.Fatal(err)
				}
			}
		}
	}
}

func (n node) succeed(t *testing.T, program string, args []string, env []core.EnvVar) {
	t.Helper()
	if out, err := n.run(t, program, args, env); err != nil {
		t.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
}

func (n node) run(t *testing.T, program string, args []string, env []core.EnvVar) (string, error) {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(programs, program))
	if err != nil {
		t.Fatal(err)
	}
	args = slices.Clone(args)
	for i := range args {
		args[i] = n.local(args[i])
	}
	cmd := exec.CommandContext(t.Context(), path, args...) //nolint:gosec // our own program
	// The image's own environment (deploy/Dockerfile), then the pod's.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + n.local("/var/opt/gitsplit"), "GITSPLIT_HOME=" + n.local("/var/opt/gitsplit"),
		"GITALY_BIN_DIR=" + filepath.Dir(path)}
	if err := os.MkdirAll(n.local("/var/opt"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, e := range env {
		if e.ValueFrom == nil {
			cmd.Env = append(cmd.Env, e.Name+"="+n.local(e.Value))
		}
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

var address = regexp.MustCompile(`(` + fullname + `[a-z0-9.-]*):([0-9]+)`)

// addressFaults wants a Service behind every address of ours in the environment.
func (in installation) addressFaults(c core.Container) (faults []string) {
	for _, e := range c.Env {
		for _, found := range address.FindAllStringSubmatch(e.Value, -1) {
			host := found[1][strings.LastIndex(found[1], ".")+1:]
			s := in.services[host]
			if s == nil || !slices.ContainsFunc(s.Spec.Ports, func(p core.ServicePort) bool {
				return intstr.FromInt32(p.Port) == intstr.Parse(found[2])
			}) {
				faults = append(faults, fmt.Sprintf("%s: %s: there is no %s", c.Name, e.Name, found[0]))
			}
		}
	}
	return faults
}
