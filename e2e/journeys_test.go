package e2e_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"gitsplit/e2e/internal/user"
)

// TestJourneys runs each script of testdata/both over SSH and over HTTP, and
// those of testdata/ssh, testdata/http and testdata/https over their own
// transport. In a script $REMOTE is the address in front of a project's path.
func TestJourneys(t *testing.T) {
	t.Parallel()
	remotes := map[string]string{
		"ssh":   "ssh://git@" + shared.SSHHost + ":" + shared.SSHPort,
		"http":  shared.HTTP,
		"https": shared.HTTPS,
	}
	for transport, remote := range remotes {
		for _, dir := range []string{"both", transport} {
			t.Run(transport+"/"+dir, func(t *testing.T) {
				t.Parallel()
				testscript.Run(t, testscript.Params{
					Files:               scripts(t, transport, dir),
					RequireExplicitExec: true,
					RequireUniqueNames:  true,
					Setup: func(env *testscript.Env) error {
						env.Setenv("REMOTE", remote)
						env.Setenv("TRANSPORT", transport)
						env.Setenv("HTTP", shared.HTTP)
						env.Setenv("CA", shared.CA)
						if transport == "https" && dir == "both" { // the others show what it takes
							env.Setenv("GIT_SSL_CAINFO", shared.CA)
						}
						env.Setenv("SSH", remotes["ssh"])
						env.Setenv("SSH_PORT", shared.SSHPort)
						env.Setenv("BIN", bin)
						env.Values[actorsKey{}] = map[string]*actor{}
						return user.NewHome(context.Background(), shared, filepath.Join(env.WorkDir, "home"))
					},
					Cmds: commands(),
				})
			})
		}
	}
}

// scripts are the files of a directory. Of what is the same over HTTP and HTTPS, HTTPS
// gets only what TLS and HTTP/2 could break: large bodies both ways, many round trips,
// refusals in the middle.
func scripts(t *testing.T, transport, dir string) []string {
	t.Helper()
	if transport == "https" && dir == "both" {
		return []string{"testdata/both/large-blob.txtar", "testdata/both/lfs.txtar", "testdata/both/protocols.txtar", "testdata/both/refused-late.txtar"}
	}
	found, err := filepath.Glob(filepath.Join("testdata", dir, "*.txtar"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no scripts in %s: %v", dir, err)
	}
	return found
}
