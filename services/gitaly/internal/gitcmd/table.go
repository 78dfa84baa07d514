package gitcmd

import (
	"fmt"
	"slices"
	"strings"
)

// subcommand is what the table knows of one git sub-command.
type subcommand struct {
	updatesRefs  bool     // needs hooks configured or explicitly off; watched for leftovers
	traces       Traces   // what else it leaves when it is killed
	litters      bool     // leaves temporary files behind also when it ends by itself, failing
	noRepo       bool     // runs without --git-dir
	repoArg      bool     // takes the repository's directory as its argument
	endOfOptions bool     // knows --end-of-options in the oldest git we run with
	paths        bool     // takes paths after "--"
	excludes     bool     // takes paths to leave out, too
	flags        []string // what callers may set; one ending in "=" takes a value, as does one ending in "+", at once
	config       []Config // settings of this sub-command alone
}

// subcommands is the whole of git that this service uses (security-baseline.md G1).
var subcommands = map[string]subcommand{
	"version": {noRepo: true},
	"init": {noRepo: true, endOfOptions: true, flags: []string{"--bare", "--quiet", "--initial-branch=", "--object-format="},
		config: []Config{{"init.templateDir", ""}, {"init.defaultBranch", "main"}}},
	"receive-pack": {updatesRefs: true, repoArg: true, endOfOptions: true,
		flags: []string{"--stateless-rpc", "--advertise-refs"}, config: receivePackConfig()},
	"upload-pack": {repoArg: true, endOfOptions: true,
		flags: []string{"--stateless-rpc", "--advertise-refs"}, config: uploadPackConfig()},
	"upload-archive": {repoArg: true},
	"cat-file":       {flags: []string{"--batch", "--batch-check", "--batch-check=", "--batch-command", "--buffer", "--batch-all-objects", "--unordered"}},
	"for-each-ref": {endOfOptions: true, flags: []string{
		"--format=", "--sort=", "--count=", "--points-at=", "--contains=", "--merged=", "--ignore-case"}},
	"show-ref":     {endOfOptions: true, flags: []string{"--verify", "--quiet", "--head"}},
	"symbolic-ref": {updatesRefs: true, endOfOptions: true, flags: []string{"--quiet"}},
	"update-ref":   {updatesRefs: true, flags: []string{"--stdin", "-z", "--no-deref"}},
	"merge-base":   {endOfOptions: true, flags: []string{"--is-ancestor"}},
	"rev-parse":    {flags: []string{"--show-object-format"}},
	"rev-list": {paths: true, flags: append([]string{
		"--stdin", "--count", "--quiet", "--left-right", "--parents", "--disk-usage", "--objects", "--no-object-names", "--use-bitmap-index", "--glob=",
		"--filter=", "--filter-provided-objects"}, walkFlags()...)},
	"fetch": {updatesRefs: true, litters: true, endOfOptions: true, config: fetchConfig(), flags: []string{
		"--quiet", "--atomic", "--force", "--prune", "--tags", "--no-tags", "--no-write-fetch-head"}},
	"ls-remote":     {noRepo: true, endOfOptions: true, flags: []string{"--symref", "--quiet"}, config: remoteConfig()},
	"push":          {endOfOptions: true, flags: []string{"--quiet", "--porcelain", "--force"}, config: remoteConfig()},
	"archive":       {paths: true, excludes: true, flags: []string{"--format=", "--prefix="}},
	"bundle create": {flags: []string{"--quiet", "-", "--ignore-missing", "--stdin", "--all", "--branches", "--tags", "--not", "--glob="}},
	"check-attr":    {flags: []string{"--cached", "--stdin", "-z"}},
	"fast-export":   {flags: []string{"--all", "--signed-tags="}},
	"fsck":          {flags: []string{"--no-progress", "--no-dangling", "--dangling", "--connectivity-only"}},
	"remote prune":  {updatesRefs: true, config: remoteConfig()},
	"pack-objects": {endOfOptions: true, traces: PackTraces, litters: true, flags: []string{
		"--quiet", "--local", "--non-empty", "--all", "--reflog", "--indexed-objects", "--keep-true-parents", "--keep-unreachable",
		"--delta-base-offset", "--delta-islands", "--cruft", "--cruft-expiration=", "--stdin-packs", "--unpacked", "--incremental",
		"--pack-loose-unreachable", "--revs", "--stdout", "--thin", "--shallow", "--progress", "--include-tag", "--filter="}},
	"multi-pack-index write": {traces: PackTraces, config: []Config{{"midx.version", "1"}}, flags: []string{"--bitmap", "--stdin-packs", "--preferred-pack=", "--no-progress"}},
	"commit-graph write": {traces: PackTraces, flags: []string{
		"--reachable", "--changed-paths", "--split", "--split=replace", "--size-multiple=", "--no-progress"}},
	"prune-packed":   {traces: PackTraces, flags: []string{"--quiet"}},
	"prune":          {traces: PackTraces, flags: []string{"--expire="}},
	"pack-refs":      {traces: RefTraces, flags: []string{"--all", "--no-prune", "--auto"}},
	"worktree prune": {traces: PackTraces},
	"blame":          {paths: true, flags: []string{"--porcelain", "-L+", "--ignore-revs-file="}},
	"update-index":   {flags: []string{"-z", "--index-info"}},
	"log": {endOfOptions: true, paths: true, flags: append([]string{"--format=", "--follow", "--shortstat", "-z",
		"--decorate=full", "--decorate-refs=", "--diff-merges=first-parent"}, walkFlags()...)},
	"merge-tree":  {flags: []string{"--write-tree", "-z", "--no-messages", "--allow-unrelated-histories"}},
	"hash-object": {flags: []string{"-tcommit", "-tblob", "-w", "--no-filters", "--stdin-paths"}},
	"mktree":      {flags: []string{"-z", "--batch", "--missing"}},
	"mktag":       {},
	"mailsplit":   {flags: []string{"-b"}},
	"mailinfo":    {},
	"read-tree":   {},
	"write-tree":  {},
	"apply":       {flags: []string{"--cached", "--build-fake-ancestor="}, config: strictPaths()},
	"diff-tree": {endOfOptions: true, paths: true, config: diffConfig(), flags: append([]string{
		"-r", "-z", "-m", "-c", "--raw", "--numstat", "--no-abbrev", "--stdin", "--root", "--diff-filter=", "--combined-all-paths"}, diffFlags()...)},
	"diff":         {endOfOptions: true, paths: true, config: diffConfig(), flags: append([]string{"--unified="}, diffFlags()...)},
	"format-patch": {endOfOptions: true, paths: true, config: diffConfig(), flags: append([]string{"--stdout", "--signature="}, diffFlags()...)},
	"range-diff":   {config: append(diffConfig(), Config{"core.abbrev", "no"}), flags: diffFlags()},
	"patch-id":     {flags: []string{"--verbatim"}},
}

// strictPaths refuses names that some file system takes for git's own, whatever ours
// does.
func strictPaths() []Config {
	return []Config{{"core.protectHFS", "true"}, {"core.protectNTFS", "true"}}
}

func walkFlags() []string {
	return []string{
		"--all", "--branches", "--tags", "--not", "--no-walk", "--max-count=", "--skip=", "--since=", "--until=",
		"--author=", "--grep=", "--regexp-ignore-case", "--max-parents=", "--first-parent", "--no-merges",
		"--reverse", "--topo-order", "--date-order", "--cherry-pick", "--right-only",
	}
}

func diffFlags() []string {
	return []string{
		"--no-ext-diff", "--no-textconv", "--no-color", "--src-prefix=a/", "--dst-prefix=b/", "--patch", "--full-index",
		"--find-renames", "--find-renames=", "--no-renames", "--ignore-space-change", "--ignore-all-space", "--word-diff=porcelain",
	}
}

// diffConfig makes output that is parsed look the same whatever a repository says, and
// takes what is text from the .gitattributes of HEAD (wire/gitaly.md §8.1; git before
// 2.43 ignores that).
func diffConfig() []Config {
	return []Config{{"diff.suppressBlankEmpty", "false"}, {"core.quotePath", "true"}, {"attr.tree", "HEAD"}}
}

func receivePackConfig() []Config {
	c := []Config{
		{"receive.advertisePushOptions", "true"}, {"receive.advertiseAtomic", "true"}, {"receive.autogc", "false"},
		{"receive.keepAlive", "5"}, {"receive.maxInputSize", "5368709120"}, {"transfer.fsckObjects", "true"},
		// The pack stays as it came. Unpacked, each object would be synced alone, and what
		// is large would be compressed now and again for every clone.
		{"receive.unpackLimit", "1"},
	}
	for _, ns := range []string{"environments", "keep-around", "merge-requests", "pipelines", "remotes", "tmp"} {
		c = append(c, Config{"receive.hideRefs", "refs/" + ns + "/"})
	}
	for _, id := range fsckTolerated() {
		c = append(c, Config{"receive.fsck." + id, "ignore"})
	}
	for _, id := range []string{"hasDot", "hasDotdot", "hasDotgit", "fullPathname", "nullSha1"} {
		c = append(c, Config{"receive.fsck." + id, "error"})
	}
	return c
}

// remoteConfig is what every sub-command gets that may talk to another server.
func remoteConfig() []Config {
	return []Config{{"http.followRedirects", "false"}, {"core.askPass", ""}, {"http.proxy", ""}, {"http.sslVerify", "true"}}
}

func fetchConfig() []Config {
	c := append(remoteConfig(), []Config{
		{"fetch.fsckObjects", "true"}, {"fetch.writeCommitGraph", "false"}, {"fetch.recurseSubmodules", "no"},
		{"fetch.unpackLimit", "1"},
	}...)
	for _, id := range fsckTolerated() {
		c = append(c, Config{"fetch.fsck." + id, "ignore"})
	}
	return c
}

// fsckTolerated are faults of old commits that cannot be mended any more.
func fsckTolerated() []string {
	return []string{"badTimezone", "missingSpaceBeforeDate", "zeroPaddedFilemode"}
}

func uploadPackConfig() []Config {
	c := []Config{{"uploadpack.allowFilter", "true"}, {"uploadpack.allowAnySHA1InWant", "true"}, {"uploadpack.keepAlive", "5"},
		{"uploadpack.advertiseBundleURIs", "false"}}
	for _, ns := range []string{"keep-around", "remotes", "tmp"} {
		c = append(c, Config{"uploadpack.hideRefs", "refs/" + ns + "/"})
	}
	return c
}

// leaves returns what the sub-command leaves when it is killed.
func (c subcommand) leaves() Traces {
	if c.updatesRefs {
		return RefTraces
	}
	return c.traces
}

// permits reports whether the table allows the flag.
func (c subcommand) permits(flag string) bool {
	return slices.ContainsFunc(c.flags, func(f string) bool {
		short, attached := strings.CutSuffix(f, "+")
		return flag == f || (attached || strings.HasSuffix(f, "=")) && strings.HasPrefix(flag, short)
	})
}

// arguments builds git's argument list, or says which rule the caller broke.
func (f *Factory) arguments(repo *Repo, s Spec) ([]string, error) {
	c, ok := subcommands[s.Name]
	if !ok {
		return nil, fmt.Errorf("git %q is not in the table", s.Name)
	}
	if err := c.check(repo, s); err != nil {
		return nil, fmt.Errorf("git %s: %w", s.Name, err)
	}
	var args []string
	if repo != nil {
		args = append(args, "--git-dir", repo.Dir)
	}
	if c.paths && !c.excludes {
		args = append(args, "--literal-pathspecs")
	}
	if s.IgnoreShallow {
		args = append(args, "--shallow-file", "")
	}
	for _, kv := range f.configuration(c, s) {
		args = append(args, "-c", kv.Key+"="+kv.Value)
	}
	args = append(append(args, strings.Fields(s.Name)...), s.Flags...)
	if c.endOfOptions {
		args = append(args, "--end-of-options")
	}
	args = append(args, s.Args...)
	if c.repoArg {
		args = append(args, repo.Dir)
	}
	if c.paths {
		args = append(append(args, "--"), c.pathspecs(s)...)
	}
	return args, nil
}

// pathspecs are the paths as git reads them. Leaving out is a pathspec's magic, which
// --literal-pathspecs would switch off for all: there each path says itself that it
// is literal.
func (c subcommand) pathspecs(s Spec) []string {
	if !c.excludes {
		return s.Paths
	}
	var specs []string
	for _, p := range s.Paths {
		specs = append(specs, ":(top,literal)"+p)
	}
	for _, p := range s.Exclude {
		specs = append(specs, ":(top,literal,exclude)"+p)
	}
	return specs
}

func (c subcommand) check(repo *Repo, s Spec) error {
	if (repo == nil) != c.noRepo {
		return fmt.Errorf("repository given: %v, needed: %v", repo != nil, !c.noRepo)
	}
	if repo != nil && slices.ContainsFunc(repo.Alternates, unlistable) {
		return fmt.Errorf("repository's path has a colon: its object directories cannot be listed")
	}
	if c.updatesRefs && (s.HooksPath == "") == !s.NoHooks {
		return fmt.Errorf("may update refs: hooks must be configured or explicitly off")
	}
	for _, flag := range s.Flags {
		if !c.permits(flag) {
			return fmt.Errorf("flag %q is not permitted", flag)
		}
	}
	for _, arg := range s.Args {
		if strings.HasPrefix(arg, "-") {
			return fmt.Errorf("argument %q begins with a dash", arg)
		}
	}
	if len(s.Paths) > 0 && !c.paths || len(s.Exclude) > 0 && !c.excludes {
		return fmt.Errorf("takes no paths")
	}
	if all := slices.Concat(s.Flags, s.Args, s.Paths, s.Exclude, s.Env); slices.ContainsFunc(all, hasNUL) {
		return fmt.Errorf("NUL in an argument")
	}
	return nil
}

// unlistable reports whether git would take a directory for several: it could look for
// objects outside of the storage.
func unlistable(dir string) bool { return strings.ContainsRune(dir, ':') }

func hasNUL(s string) bool { return strings.ContainsRune(s, 0) }
