package e2e_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestJourneys runs each script of testdata/both over SSH and over HTTP, and
// those of testdata/ssh, testdata/http and testdata/https over their own
// transport. In a script $REMOTE is the address in front of a project's path.
func TestJourneys(t *testing.T) {
	t.Parallel()
	remotes := map[string]string{
		"ssh":  "ssh://git@" + shared.SSHHost + ":" + shared.SSHPort,
		"http": shared.HTTP,
		// What is the same over HTTP and HTTPS is shown once.
		"https": shared.HTTPS,
	}
	for transport, remote := range remotes {
		for _, dir := range []string{"both", transport} {
			if transport == "https" && dir == "both" {
				continue
			}
			t.Run(transport+"/"+dir, func(t *testing.T) {
				t.Parallel()
				testscript.Run(t, testscript.Params{
					Dir:                 filepath.Join("testdata", dir),
					RequireExplicitExec: true,
					RequireUniqueNames:  true,
					Setup: func(env *testscript.Env) error {
						env.Setenv("REMOTE", remote)
						env.Setenv("TRANSPORT", transport)
						env.Setenv("HTTP", shared.HTTP)
						env.Setenv("CA", shared.CA)
						env.Setenv("SSH", remotes["ssh"])
						env.Setenv("SSH_PORT", shared.SSHPort)
						env.Setenv("BIN", bin)
						env.Values[actorsKey{}] = map[string]*actor{}
						return newHome(context.Background(), shared, filepath.Join(env.WorkDir, "home"))
					},
					Cmds: commands(),
				})
			})
		}
	}
}
