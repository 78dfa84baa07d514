package services

import (
	"slices"
	"strings"

	"gitsplit/ctl/internal/settings"
)

// env builds the environment of a child from the few variables that it may have:
// those of the system, of Go, of tracing, ours, and its own settings. What else is
// in the environment of gitsplit, the seed of root's password above all, is not
// passed on (security-baseline.md T6).
func (p Plan) env(prefix string) []string {
	env := []string{"LANG=C.UTF-8"}
	for _, item := range p.Environ {
		name, _, ok := strings.Cut(item, "=")
		if ok && (passed(name, prefix) || p.opensBucket(name, prefix)) {
			env = append(env, item)
		}
	}
	if !slices.ContainsFunc(env, func(item string) bool { return strings.HasPrefix(item, "GOMEMLIMIT=") }) {
		env = append(env, memoryLimit)
	}
	slices.Sort(env)
	return env
}

// memoryLimit makes the collector work harder before a service becomes a burden to its
// host. Collecting more often below it gains an idle process nothing, and costs a busy one
// a tenth of its work.
const memoryLimit = "GOMEMLIMIT=256MiB"

// opensBucket: rails-api and sidekiq open object storage, if there is a bucket, with
// the credentials that AWS's variables hold or lead to.
func (p Plan) opensBucket(name, prefix string) bool {
	return p.Settings.ObjectStorage != "" && prefix == railsPrefix && strings.HasPrefix(name, "AWS_")
}

func passed(name, prefix string) bool {
	if name == settings.VarPassword {
		return false
	}
	exact := []string{
		"PATH", "HOME", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR",
		"GOGC", "GOMEMLIMIT", "GOMAXPROCS", "GODEBUG", "GOTRACEBACK", "GOCOVERDIR", "GORACE",
	}
	return slices.Contains(exact, name) || strings.HasPrefix(name, "OTEL_") || strings.HasPrefix(name, "GITSPLIT_") ||
		prefix != "" && strings.HasPrefix(name, prefix)
}
