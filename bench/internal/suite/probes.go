package suite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// ask gets a page of a service's private listener: metrics and Go profiles.
func (s *Suite) ask(ctx context.Context, service, page string) (_ io.ReadCloser, err error) {
	socket, err := filepath.EvalSymlinks(filepath.Join(s.ours.Home, "run", service+"-probe.sock"))
	if err != nil {
		return nil, err
	}
	t := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://probe"+page, nil)
	if err != nil {
		return nil, err
	}
	res, err := t.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("%s of %s: %s", page, service, res.Status), res.Body.Close())
	}
	return res.Body, nil
}

// packCPU is what `git pack-objects` has used for the instance so far, in ms.
func (s *Suite) packCPU(ctx context.Context) (float64, error) {
	body, err := s.ask(ctx, "gitaly", "/metrics")
	if err != nil {
		return 0, err
	}
	defer body.Close() //nolint:errcheck // read only
	return sumOf(body, "gitaly_command_cpu_seconds_total{", `subcmd="pack-objects"`)
}

// sumOf adds up the samples of a metric that have the label, in thousandths.
func sumOf(metrics io.Reader, name, label string) (sum float64, err error) {
	lines := bufio.NewScanner(metrics)
	for lines.Scan() {
		line := lines.Text()
		if !strings.HasPrefix(line, name) || !strings.Contains(line, label) {
			continue
		}
		x, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			return 0, err
		}
		sum += 1000 * x
	}
	return sum, lines.Err()
}

// profiles begins to take profiles of all services during a row. The returned function
// waits for them and takes those of allocations.
func (s *Suite) profiles(ctx context.Context, row int) func() error {
	if s.Profile < 3 {
		return func() error { return nil }
	}
	const seconds = 15
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	save := func(service, kind, page string) {
		if err := s.save(ctx, service, page, fmt.Sprintf("row%d-%s.%s.pb.gz", row, service, kind)); err != nil {
			mu.Lock()
			failed = errors.Join(failed, err)
			mu.Unlock()
		}
	}
	for _, service := range goServices {
		wg.Go(func() { save(service, "cpu", fmt.Sprintf("/debug/pprof/profile?seconds=%d", seconds)) })
		wg.Go(func() { save(service, "block", fmt.Sprintf("/debug/pprof/block?seconds=%d", seconds)) })
	}
	return func() error {
		wg.Wait()
		for _, service := range goServices {
			save(service, "allocs", "/debug/pprof/allocs")
		}
		return failed
	}
}

func (s *Suite) save(ctx context.Context, service, page, name string) (err error) {
	body, err := s.ask(ctx, service, page)
	if err != nil {
		return err
	}
	defer body.Close() //nolint:errcheck // read only
	dir := filepath.Join(s.Out, "profiles")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, name)) //nolint:gosec // our own output
	if err != nil {
		return err
	}
	_, err = io.Copy(f, body)
	return errors.Join(err, f.Close())
}
