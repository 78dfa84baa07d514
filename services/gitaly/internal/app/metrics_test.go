package app_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/metadata"

	"gitsplit/kit/gitalyclient"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/app"
)

// scrape reads /metrics.
func scrape(t *testing.T, addr string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestMetrics: those of wire/gitaly.md §18 about the server, its limits and its
// processes are there under their names, with their labels.
func TestMetrics(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	b := setup(t, func(c *app.Config) {
		c.PrometheusListenAddr = addr
		c.Concurrency = []app.Concurrency{{RPC: "/gitaly.RefService/RefExists", ConcurrencyLimits: app.ConcurrencyLimits{
			Adaptive: true, InitialLimit: 3, MinLimit: 1, MaxLimit: 9,
		}}}
	})
	b.create(t, rel)
	c := b.client(t)
	c.commit(t, "a", "a")
	c.git(t, "push", "-q", remote(rel), "main")
	pool := gitalyclient.NewPool(gitalyclient.Options{})
	t.Cleanup(func() { _ = pool.Close() })
	for _, token := range []string{"", "wrong"} {
		conn, err := pool.Conn(b.address, token)
		if err != nil {
			t.Fatal(err)
		}
		if serverInfo(t, conn) == nil {
			t.Errorf("token %q is good", token)
		}
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "username", "ada")
	if _, err := gitalypb.NewRefServiceClient(b.conn).RefExists(ctx, &gitalypb.RefExistsRequest{Repository: repository(rel), Ref: []byte("refs/heads/main")}); err != nil {
		t.Fatal(err)
	}
	const push = `grpc_method="SSHReceivePack",grpc_service="gitaly.SSHService"`
	const git = `{cmd="git",grpc_method="SSHReceivePack",grpc_service="gitaly.SSHService",`
	for _, want := range []string{
		"gitlab_build_info{git_version=", `gitaly_connections_total{type="unix"} `,
		`gitaly_authentications_total{enforced="true",status="ok"} `, `gitaly_authentications_total{enforced="true",status="unauthenticated"} 1`,
		`gitaly_authentication_errors_total{error="authentication required",version="unknown"} 1`,
		`gitaly_authentication_errors_total{error="wrong hmac signature",version="v2"} 1`,
		"gitaly_concurrency_limiting_in_progress{" + push, "gitaly_concurrency_limiting_queued{" + push, "gitaly_concurrency_limiting_acquiring_seconds_count{" + push,
		`gitaly_concurrency_limiting_current_limit{limit="perRPC/gitaly.RefService/RefExists"} 3`,
		"gitaly_pack_objects_in_progress ", "gitaly_pack_objects_queued ", "gitaly_pack_objects_acquiring_seconds_count ",
		"gitaly_commands_running" + git, "gitaly_spawn_forking_time_seconds_count ", "gitaly_command_cpu_seconds_total" + git + `mode="user"`,
		"gitaly_command_real_seconds_total" + git, "gitaly_command_minor_page_faults_total" + git, "gitaly_command_major_page_faults_total" + git,
		"gitaly_command_signals_received_total" + git, `ctxswitchtype="voluntary"`, `ctxswitchtype="nonvoluntary"`,
		`grpc_server_handled_total{grpc_code="OK",` + push,
	} {
		if body := scrape(t, addr); !strings.Contains(body, want) {
			t.Errorf("%s is missing", want)
		}
	}
}
