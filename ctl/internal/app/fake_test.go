package app_test

import (
	"errors"
	"fmt"

	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"gitsplit/ctl/internal/app"
	"gitsplit/kit/netx"
)

// The tests run this binary under the names of all our programs: as gitsplit it is
// the real one, as a service a fake that only has what gitsplit looks at. PostgreSQL
// and Redis are real. GITSPLIT_FAKE_CRASH and GITSPLIT_FAKE_DEAF name the services
// that end at once, and that do not listen to SIGTERM.
func TestMain(m *testing.M) {
	switch name := filepath.Base(os.Args[0]); {
	case name == "gitsplit":
		os.Exit(app.Process())
	case strings.HasSuffix(name, ".test"):
		os.Exit(m.Run())
	default:
		if err := fake(name); err != nil {
			fmt.Fprintln(os.Stderr, name, err)
			os.Exit(3)
		}
	}
}

func fake(name string) error {
	if len(os.Args) > 3 && !strings.HasPrefix(os.Args[3], "-") && name == "rails-api" { // an operator's command
		fmt.Println(strings.Join(os.Args[1:], "\n"))
		fmt.Println(os.Getenv("GITSPLIT_ROOT_PASSWORD"))
		return nil
	}
	fmt.Fprintf(os.Stderr, `{"level":"INFO","msg":"starting","service":%q}`+"\n", name)
	if os.Getenv("GITSPLIT_FAKE_CRASH") == name {
		return errors.New("has had enough")
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	probe, err := probeSocket(name)
	if err != nil {
		return err
	}
	ln, err := netx.Listen("unix:" + probe)
	if err != nil {
		return err
	}
	go func() { _ = http.Serve(ln, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})) }() //nolint:gosec // a test
	if os.Getenv("GITSPLIT_FAKE_DEAF") == name {
		select {}
	}
	<-stop
	return ln.Close()
}

// probeSocket finds the probe's address where the real service would: in the
// arguments and in the configuration files that they name.
func probeSocket(name string) (string, error) {
	text := strings.Join(os.Args, "\n")
	for _, arg := range os.Args[1:] {
		for _, file := range []string{arg, filepath.Join(arg, "config.yml")} {
			if content, err := os.ReadFile(file); err == nil { //nolint:gosec // a test
				text += "\n" + string(content)
			}
		}
	}
	found := regexp.MustCompile(`unix:(\S+/` + name + `-probe\.sock)`).FindStringSubmatch(text)
	if found == nil {
		return "", errors.New("is not told where its probe is")
	}
	return found[1], nil
}
