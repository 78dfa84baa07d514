package internalapi_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/kit/apijwt"
	"gitsplit/services/rails-api/internal/branchcache"
	"gitsplit/services/rails-api/internal/counter"
	"gitsplit/services/rails-api/internal/internalapi"
	"gitsplit/services/rails-api/internal/key"
	"gitsplit/services/rails-api/internal/notice"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/protection"
	"gitsplit/services/rails-api/internal/redistest"
	"gitsplit/services/rails-api/internal/visibility"
)

const done = `{"messages":[],"reference_counter_decreased":true}`

func (b *bench) postReceive(glRepository, identifier string, changes ...string) answer {
	b.TB.Helper()
	return b.post("/post_receive", map[string]any{
		"gl_repository": glRepository, "identifier": identifier, "changes": strings.Join(changes, "\n") + "\n", "push_options": nil,
	})
}

func TestCounter(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada := b.User("ada")
	p := b.Inhabited(ada.NamespaceID, "p", visibility.Private)
	at := "git-receive-pack-reference-counter:" + p.GLRepository()
	for range 2 {
		b.post("/pre_receive", map[string]string{"gl_repository": p.GLRepository()}).want(t, 200, `{"reference_counter_increased":true}`)
	}
	if n, err := b.Redis.Get(t.Context(), at).Int(); n != 2 || err != nil {
		t.Errorf("count %d, %v; want 2", n, err)
	}
	if ttl := b.Redis.TTL(t.Context(), at).Val(); ttl <= 590*time.Second || ttl > 600*time.Second {
		t.Errorf("expires in %v, want 600 s", ttl)
	}
	who := fmt.Sprintf("user-%d", ada.ID)
	for _, want := range []string{"1", "", ""} { // the third finds the count expired
		b.postReceive(p.GLRepository(), who, id(1)+" "+id(2)+" refs/heads/main").want(t, 200, done)
		if got := b.Redis.Get(t.Context(), at).Val(); got != want {
			t.Errorf("count %q, want %q", got, want)
		}
	}
	if !strings.Contains(b.Logged.String(), "push counter below zero") {
		t.Error("no warning about a count below zero")
	}
}

// reported posts to an endpoint of pushes with an identity.
func (b *bench) reported(path, id, glRepository, who string, changes ...string) answer {
	b.TB.Helper()
	return b.post(path, map[string]any{
		"gl_repository": glRepository, "identifier": who, "changes": strings.Join(changes, "\n"), "push_options": nil, "push_id": id,
	})
}

// TestPushID: a push with an identity counts once, however often each of its reports comes.
func TestPushID(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada := b.User("ada")
	p, who, push := b.Inhabited(ada.NamespaceID, "p", visibility.Private), fmt.Sprintf("user-%d", ada.ID), strings.Repeat("0f", 16)
	inFlight := func(want int64) {
		t.Helper()
		if n, err := counter.New(b.Redis, b.Log, b.Now).InFlight(t.Context(), p.GLRepository()); n != want || err != nil {
			t.Errorf("%d pushes in flight, %v; want %d", n, err, want)
		}
	}
	for range 2 {
		b.reported("/pre_receive", push, p.GLRepository(), "").want(t, 200, `{"reference_counter_increased":true}`)
		inFlight(1)
	}
	link := `{"messages":[{"message":"To create a merge request for x, visit:\n` +
		`  https://git.example.test/ada/p/-/merge_requests/new?merge_request%5Bsource_branch%5D=x","type":"basic"}],"reference_counter_decreased":true}`
	for range 2 {
		b.reported("/post_receive", push, p.GLRepository(), who, id(0)+" "+id(2)+" refs/heads/x").want(t, 200, link)
		inFlight(0)
	}
	// A push that moved nothing only ends.
	b.reported("/pre_receive", strings.Repeat("a", 32), p.GLRepository(), "")
	inFlight(1)
	for range 2 {
		b.reported("/post_receive", strings.Repeat("a", 32), p.GLRepository(), who).want(t, 200, done)
		inFlight(0)
	}
	var pushes, jobs, ids int
	b.Must(b.DB.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM push_events), (SELECT count(*) FROM river_job WHERE kind = 'post_receive'), (SELECT count(*) FROM push_ids)").
		Scan(&pushes, &jobs, &ids))
	if pushes != 2 || jobs != 2 || ids != 1 { // with the one of Inhabited
		t.Errorf("%d pushes, %d jobs, %d identities", pushes, jobs, ids)
	}
	for _, bad := range []string{"x", strings.Repeat("F", 32), strings.Repeat("0", 31), strings.Repeat("0", 33)} {
		for _, path := range []string{"/pre_receive", "/post_receive"} {
			checkStatus(t, bad, b.reported(path, bad, p.GLRepository(), who), http.StatusBadRequest)
		}
	}
}

// TestPreReceive_gone: a push to a project that is removed under its hands is refused, and not counted.
func TestPreReceive_gone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	p := b.Inhabited(b.User("ada").NamespaceID, "p", visibility.Private)
	b.Must(b.Repositories.Delete(t.Context(), p))
	for _, push := range []string{"", strings.Repeat("a", 32)} {
		b.reported("/pre_receive", push, p.GLRepository(), "").want(t, 404, `{"status":false,"message":"`+notFound+`"}`)
	}
	if n, err := counter.New(b.Redis, b.Log, b.Now).InFlight(t.Context(), p.GLRepository()); n != 0 || err != nil {
		t.Errorf("%d pushes in flight, %v", n, err)
	}
}

// TestRedisDown: a push goes on without Redis.
func TestRedisDown(t *testing.T) {
	t.Parallel()
	down := redistest.Down(t)
	b := setup(t, func(d *internalapi.Deps) { useRedis(d, down) })
	ada := b.User("ada")
	p := b.Inhabited(ada.NamespaceID, "p", visibility.Private)
	who := fmt.Sprintf("user-%d", ada.ID)
	checkVerdict(t, "allowed", b.ask("user_id", fmt.Sprint(ada.ID), "git-receive-pack", "ADA/p"), "")
	b.post("/pre_receive", map[string]string{"gl_repository": p.GLRepository()}).want(t, 200, `{"reference_counter_increased":true}`)
	b.postReceive(p.GLRepository(), who, id(1)+" "+id(2)+" refs/heads/main").want(t, 200, done)
	var pushes int
	b.Must(b.DB.QueryRow(t.Context(), "SELECT count(*) FROM push_events").Scan(&pushes))
	var noted bool // where a move sees that a push is in flight that nobody counts
	b.Must(b.DB.QueryRow(t.Context(), "SELECT uncounted_push_at IS NOT NULL FROM projects").Scan(&noted))
	if !noted {
		t.Error("the push is neither counted nor noted")
	}
	if pushes != 2 { // the one of Inhabited, and this
		t.Errorf("%d pushes recorded", pushes)
	}
}

func useRedis(d *internalapi.Deps, r *redis.Client) {
	d.Redis, d.Notices, d.Counter, d.Branches = r, notice.New(r, d.Site), counter.New(r, d.Log, d.Now), branchcache.New(r)
}

func TestPostReceive_recorded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada := b.User("ada")
	k, _ := b.Key(ada, key.NewKey{})
	p := b.Project(ada.NamespaceID, "p", visibility.Private)
	b.Must(branchcache.New(b.Redis).Put(t.Context(), p.GLRepository(), []string{"old"}))
	got := b.post("/post_receive", map[string]any{
		"gl_repository": p.GLRepository(), "identifier": fmt.Sprintf("key-%d", k.ID), "push_options": []string{"ci.skip", "bad\x1b[0m", strings.Repeat("x", 2000)},
		"changes": id(0) + " " + id(1) + " refs/tags/v1\n" + id(0) + " " + id(2) + " refs/heads/trunk\n" + id(0) + " " + id(3) + " refs/heads/topic/a b",
	})
	got.want(t, 200, `{"messages":[{"message":"To create a merge request for topic/a b, visit:\n`+
		`  https://git.example.test/ada/p/-/merge_requests/new?merge_request%5Bsource_branch%5D=topic%2Fa+b","type":"basic"}],"reference_counter_decreased":true}`)

	var event struct {
		user, key int64
		protocol  string
		options   []string
		refs      string
	}
	const query = `SELECT e.user_id, e.key_id, e.protocol, e.push_options,
		(SELECT string_agg(position || ' ' || before_oid || ' ' || after_oid || ' ' || ref, ',' ORDER BY position) FROM push_event_refs WHERE push_event_id = e.id)
		FROM push_events e WHERE project_id = $1`
	b.Must(b.DB.QueryRow(t.Context(), query, p.ID).Scan(&event.user, &event.key, &event.protocol, &event.options, &event.refs))
	want := "1 " + id(0) + " " + id(1) + " refs/tags/v1,2 " + id(0) + " " + id(2) + " refs/heads/trunk,3 " + id(0) + " " + id(3) + " refs/heads/topic/a b"
	if event.user != ada.ID || event.key != k.ID || event.protocol != "ssh" || event.refs != want || !cmp.Equal(event.options, []string{"ci.skip"}) {
		t.Errorf("recorded %+v", event)
	}
	var job string
	b.Must(b.DB.QueryRow(t.Context(), "SELECT kind || ' ' || (args->>'project_id') FROM river_job WHERE kind = 'post_receive'").Scan(&job))
	if job != fmt.Sprintf("post_receive %d", p.ID) {
		t.Errorf("job %q", job)
	}
	if _, ok, _ := branchcache.New(b.Redis).Get(t.Context(), p.GLRepository()); ok {
		t.Error("branch names outlived a push")
	}
	checkFirstBranch(t, b, p)
	b.Must(branchcache.New(b.Redis).Put(t.Context(), p.GLRepository(), []string{"trunk", "topic/a b"}))
	b.post("/post_receive", map[string]any{
		"gl_repository": p.GLRepository(), "identifier": fmt.Sprintf("key-%d", k.ID), "changes": id(2) + " " + id(4) + " refs/heads/trunk",
	})
	if _, ok, _ := branchcache.New(b.Redis).Get(t.Context(), p.GLRepository()); !ok {
		t.Error("branch names were forgotten although none has changed")
	}
}

// checkFirstBranch: main did not come, so the first branch that did is the default one.
func checkFirstBranch(t *testing.T, b *bench, p project.Project) {
	t.Helper()
	now, err := project.New(b.DB).ByID(t.Context(), p.ID)
	if err != nil || now.DefaultBranch != "trunk" || now.EmptyRepo {
		t.Errorf("project after its first push: default branch %q, empty %v, %v", now.DefaultBranch, now.EmptyRepo, err)
	}
	if head := b.Server.Repository(p.DiskPath).HEAD; head != "refs/heads/trunk" {
		t.Errorf("HEAD is %q", head)
	}
	rules, err := protection.New(b.DB).All(t.Context(), p.ID)
	if err != nil || len(rules) != 1 || rules[0].Name != "trunk" || rules[0].PushLevel != 40 || rules[0].MergeLevel != 40 || rules[0].AllowForcePush {
		t.Errorf("protection after the first push: %+v, %v", rules, err)
	}
}

func TestPostReceive_messages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada := b.User("ada")
	who := fmt.Sprintf("user-%d", ada.ID)
	checkVerdict(t, "create", b.ask("user_id", fmt.Sprint(ada.ID), "git-receive-pack", "ada/made.git"), "")
	p, _, err := project.New(b.DB).ByPath(t.Context(), "ada/made")
	b.Must(err)
	b.postReceive(p.GLRepository(), who, id(0)+" "+id(1)+" refs/heads/main").want(t, 200,
		`{"messages":[{"message":"\nThe private project ada/made was successfully created.\n\nTo configure the remote, run:\n`+
			`  git remote add origin ssh://git@git.example.test:2222/ada/made.git\n\nTo view the project, visit:\n  https://git.example.test/ada/made\n",`+
			`"type":"basic"}],"reference_counter_decreased":true}`)
	for name, changes := range map[string][]string{
		"default branch": {id(1) + " " + id(2) + " refs/heads/main"}, "deleted": {id(1) + " " + id(0) + " refs/heads/x"}, "tag": {id(0) + " " + id(1) + " refs/tags/x"},
		"nothing": {},
	} {
		if got := b.postReceive(p.GLRepository(), who, changes...); got.status != 200 || got.body != done {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	no := false
	_, err = project.New(b.DB).Update(t.Context(), p.ID, project.Changes{MergeRequestLinks: &no})
	b.Must(err)
	b.postReceive(p.GLRepository(), who, id(1)+" "+id(2)+" refs/heads/x").want(t, 200, done)
	many := []string{}
	for i := range 100 {
		many = append(many, fmt.Sprintf("%s %s refs/heads/b%d", id(0), id(1), i))
	}
	yes := true
	_, err = project.New(b.DB).Update(t.Context(), p.ID, project.Changes{MergeRequestLinks: &yes})
	b.Must(err)
	if n := strings.Count(b.postReceive(p.GLRepository(), who, many...).body, "To create a merge request"); n != 20 {
		t.Errorf("%d links for 100 branches", n)
	}
}

// TestPostReceive_gone: neither an orphaned key nor a removed project is an error.
func TestPostReceive_gone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada := b.User("ada")
	p := b.Inhabited(ada.NamespaceID, "p", visibility.Private)
	change := id(1) + " " + id(2) + " refs/heads/main"
	for _, identifier := range []string{"key-999", "user-999", "username-nobody", "nonsense", ""} {
		b.postReceive(p.GLRepository(), identifier, change).want(t, 200, done)
	}
	for _, repository := range []string{"project-999", "wiki-1", "project-01", "project--1", ""} {
		b.postReceive(repository, fmt.Sprintf("user-%d", ada.ID), change).want(t, 200, done)
	}
	checkStatus(t, "malformed", b.postReceive(p.GLRepository(), "user-1", "hello"), http.StatusBadRequest)
}

// TestPostReceive_gitalyDown: HEAD is left to the job.
func TestPostReceive_gitalyDown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada := b.User("ada")
	p := b.Project(ada.NamespaceID, "p", visibility.Private)
	b.Server.SetFail(status.Error(codes.Internal, "broken"))
	got := b.postReceive(p.GLRepository(), fmt.Sprintf("user-%d", ada.ID), id(0)+" "+id(1)+" refs/heads/trunk")
	got.want(t, 200, done)
	if !strings.Contains(b.Logged.String(), "left to the job") {
		t.Error("no warning about HEAD")
	}
}

// TestPostReceive_atomic: a push is recorded with its job or not at all.
func TestPostReceive_atomic(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada := b.User("ada")
	p := b.Project(ada.NamespaceID, "p", visibility.Private)
	_, err := b.DB.Exec(t.Context(), "ALTER TABLE river_job RENAME TO lost")
	b.Must(err)
	got := b.postReceive(p.GLRepository(), fmt.Sprintf("user-%d", ada.ID), id(0)+" "+id(1)+" refs/heads/main")
	checkStatus(t, "no jobs", got, http.StatusInternalServerError)
	var events, rules int
	b.Must(b.DB.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM push_events), (SELECT count(*) FROM protected_branches)").Scan(&events, &rules))
	if events+rules != 0 {
		t.Errorf("%d events and %d rules without a job", events, rules)
	}
}

// TestPostReceive_callerGone: the client pressed Ctrl-C after the references had moved.
func TestPostReceive_callerGone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada := b.User("ada")
	p := b.Inhabited(ada.NamespaceID, "p", visibility.Private)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	token, err := apijwt.Sign([]byte(secret), apijwt.ShellIssuer, b.Now())
	b.Must(err)
	body := fmt.Sprintf(`{"gl_repository":%q,"identifier":"user-%d","changes":"%s %s refs/heads/main\\n"}`, p.GLRepository(), ada.ID, id(1), id(2))
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/api/v4/internal/post_receive", strings.NewReader(body))
	r.Header.Set(apijwt.ShellHeader, token)
	b.http.ServeHTTP(httptest.NewRecorder(), r)
	var events, jobs int
	b.Must(b.DB.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM push_events), (SELECT count(*) FROM river_job WHERE kind = 'post_receive')").Scan(&events, &jobs))
	if events != 2 || jobs != 2 { // with those of Inhabited
		t.Errorf("%d events, %d jobs", events, jobs)
	}
}
