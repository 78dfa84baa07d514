package gitcmd

import (
	"fmt"
	"math/bits"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// configuration lists the -c settings, lowest precedence first. What could make
// git run a program or skip our hooks comes after the request's settings. The command for
// alternates must say nothing, and be one for which git needs no shell: images have none.
func (f *Factory) configuration(c subcommand, s Spec) []Config {
	hooks := s.HooksPath
	if hooks == "" {
		hooks = os.DevNull
	}
	fixed := []Config{
		{"core.hooksPath", hooks}, {"core.alternateRefsCommand", "true"}, {"protocol.allow", "never"},
		{"credential.helper", ""}, {"safe.bareRepository", "explicit"}, {"core.useReplaceRefs", "false"},
	}
	return slices.Concat(globalConfig(f.o.PackThreads), f.version.config(), c.config, s.Config, f.o.Admin, fixed)
}

func globalConfig(packThreads int) []Config {
	return []Config{
		{"gc.auto", "0"}, {"maintenance.auto", "0"}, {"core.autocrlf", "false"}, {"core.bigFileThreshold", "50m"},
		{"core.fsync", "objects,derived-metadata,reference"}, {"core.fsyncMethod", "fsync"},
		{"core.packedRefsTimeout", "10000"}, {"core.filesRefLockTimeout", "1000"},
		{"pack.windowMemory", "100m"}, {"pack.writeReverseIndex", "true"},
		{"pack.threads", strconv.Itoa(max(1, packThreads))},
	}
}

// DefaultPackThreads is floor(log2(CPUs)), at least 1 (wire/gitaly.md §8.1).
func DefaultPackThreads() int {
	return max(1, bits.Len(uint(runtime.NumCPU()))-1) //nolint:gosec // a count of CPUs
}

var configKey = regexp.MustCompile(`^[[:alnum:]]+(\.[*-/_:@a-zA-Z0-9]+)+$`)

// requestSections are what callers have reason to set; the rest of git's
// configuration could name programs and paths.
var requestSections = []string{"uploadpack", "receive", "transfer", "pack", "bundle", "http", "uploadarchive"}

// forbiddenKeys name programs, or hand ref updates to another hook.
var forbiddenKeys = []string{"uploadpack.packobjectshook", "receive.procreceiverefs"}

// ParseConfig checks git_config_options of a request (wire/gitaly.md §5.1).
func ParseConfig(options []string) ([]Config, error) {
	out := make([]Config, 0, len(options))
	for _, o := range options {
		key, value, found := strings.Cut(o, "=")
		section, _, _ := strings.Cut(strings.ToLower(key), ".")
		switch {
		case !found || !configKey.MatchString(key):
			return nil, fmt.Errorf("cannot convert invalid config key: %q", o)
		case strings.ContainsAny(value, "\x00\n"):
			return nil, fmt.Errorf("cannot convert invalid config value of key: %q", key)
		case !slices.Contains(requestSections, section), slices.Contains(forbiddenKeys, strings.ToLower(key)):
			return nil, fmt.Errorf("config key may not be set by a request: %q", key)
		}
		out = append(out, Config{key, value})
	}
	return out, nil
}

// maxProtocol bounds GIT_PROTOCOL (security-baseline.md G4).
const maxProtocol = 256

var protocolField = regexp.MustCompile(`^[a-z0-9_-]{1,64}(=[A-Za-z0-9_.-]{0,128})?$`)

// Protocol reads a client's GIT_PROTOCOL: colon-separated fields, of which only
// the version counts. It returns "0", "1" or "2", and whether the value was one
// a client may send; what is not is served as version 0.
func Protocol(value string) (version string, ok bool) {
	version = "0"
	if value == "" {
		return version, true
	}
	if len(value) > maxProtocol {
		return version, false
	}
	for field := range strings.SplitSeq(value, ":") {
		if !protocolField.MatchString(field) {
			return "0", false
		}
		switch v, found := strings.CutPrefix(field, "version="); {
		case !found: // fields of the future
		case v == "0", v == "1", v == "2":
			version = max(version, v)
		default:
			return "0", false
		}
	}
	return version, true
}

// ProtocolEnv is the environment for a protocol version; none for version 0.
func ProtocolEnv(version string) []string {
	if version == "1" || version == "2" {
		return []string{"GIT_PROTOCOL=version=" + version}
	}
	return nil
}
