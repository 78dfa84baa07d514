package app

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"time"

	"gitsplit/ctl/internal/banner"
	"gitsplit/ctl/internal/home"
	"gitsplit/ctl/internal/pg"
	"gitsplit/ctl/internal/redis"
	"gitsplit/ctl/internal/services"
	"gitsplit/ctl/internal/settings"
	"gitsplit/ctl/internal/status"
	"gitsplit/ctl/internal/supervise"
)

// statusFile is the name of the status file in the run directory.
const statusFile = "status.json"

// patience is how long processes of a killed gitsplit may take to end by
// themselves before they are made to.
const patience = 5 * time.Second

// open makes the directories of the home and takes its lock.
func open(h home.Home) (unlock func(), err error) {
	if err := h.MakeDirs(); err != nil {
		return nil, err
	}
	return h.Lock()
}

// clearLeftovers ends what a killed gitsplit left running and removes its sockets,
// so that this start finds everything free.
func clearLeftovers(ctx context.Context, sys System, h home.Home) error {
	last, err := status.Read(h.Run(statusFile))
	if err == nil {
		for _, l := range supervise.Clear(ctx, last.Leftovers(), patience) {
			_, _ = fmt.Fprintf(sys.Stderr, "gitsplit: ended %s (process %d), left over from a gitsplit that was killed\n", l.Name, l.PID)
		}
	}
	// A status that cannot be read names nothing; it will be replaced.
	return errors.Join(h.ClearSockets(), h.MakeDirs())
}

// prepare makes what the services need, and with cluster the database too. The
// slow parts, an RSA key and a database cluster, are made side by side.
func prepare(ctx context.Context, sys System, set settings.Settings, h home.Home, cluster bool) (services.Plan, error) {
	plan := services.Plan{Home: h, Settings: set, Bin: sys.Bin, Environ: sys.Environ}
	var err error
	if plan.Postgres, err = pg.Open(h); err != nil {
		return plan, err
	}
	if plan.Redis, err = redis.Find(); err != nil {
		return plan, err
	}
	var keysErr, clusterErr error
	var both sync.WaitGroup
	both.Go(func() { keysErr = makeSecrets(sys, set, h) })
	if cluster {
		clusterErr = plan.Postgres.Init(ctx)
	}
	both.Wait()
	return plan, errors.Join(keysErr, clusterErr, plan.WriteConfigs())
}

func makeSecrets(sys System, set settings.Settings, h home.Home) error {
	kept, err := h.MakeSecrets(set.RootPassword)
	if err != nil {
		return err
	}
	if kept {
		_, _ = fmt.Fprintf(sys.Stderr, "gitsplit: %s has no effect: root got a password at the first start; change it through the API\n", settings.VarPassword)
	}
	keys, err := h.MakeHostKeys()
	if err != nil {
		return err
	}
	return banner.WriteKnownHosts(h, set, keys)
}

// checkPrograms reports everything that has to be installed or built first.
func checkPrograms(bin string) error {
	var gitErr error
	if _, err := exec.LookPath("git"); err != nil {
		gitErr = errors.New("git is not installed; run: apt-get install git")
	}
	return errors.Join(services.CheckPrograms(bin), gitErr)
}
