package rest_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/protection"
)

// filled is a bench with a project of 45 commits, 22 branches and a tag; ann owns it, dev is a developer and guest a guest.
func filled(t *testing.T) (b *bench, ann, dev, guest person) {
	t.Helper()
	b = setup(t)
	ann, dev, guest = b.person("ann"), b.person("dev"), b.person("guest")
	p := b.project(ann, map[string]any{"path": "p"})
	b.join(member.OfProject(p.ID), dev, member.Developer)
	b.join(member.OfProject(p.ID), guest, member.Guest)
	b.gitaly.fill(p.DiskPath, 45, 21)
	_, err := b.db.Exec(t.Context(), "UPDATE projects SET empty_repo = false")
	b.must(err)
	_, err = protection.New(b.db).Create(t.Context(), protection.Rule{ProjectID: p.ID, Name: "main", PushLevel: member.Maintainer, MergeLevel: member.Developer})
	b.must(err)
	return b, ann, dev, guest
}

const repository = "projects/ann%2Fp/repository/"

type branchShape struct {
	Name               string
	Protected          bool
	Default            bool
	CanPush            bool   `json:"can_push"`
	DevelopersCanPush  bool   `json:"developers_can_push"`
	DevelopersCanMerge bool   `json:"developers_can_merge"`
	WebURL             string `json:"web_url"`
	Commit             struct {
		ID            string
		ShortID       string     `json:"short_id"`
		ParentIDs     []string   `json:"parent_ids"`
		CommittedDate *time.Time `json:"committed_date"`
		Title         string
		Message       string
		Trailers      map[string]string
	}
}

func TestBranches_read(t *testing.T) {
	t.Parallel()
	b, ann, dev, guest := filled(t)
	a := b.as(dev).get(repository+"branches").header("X-Total", "22").header("X-Next-Page", "2").
		header("Link", `<https://git.example/api/v4/projects/ann%2Fp/repository/branches?page=2&per_page=20>; rel="next", `+
			`<https://git.example/api/v4/projects/ann%2Fp/repository/branches?page=1&per_page=20>; rel="first", `+
			`<https://git.example/api/v4/projects/ann%2Fp/repository/branches?page=2&per_page=20>; rel="last"`)
	if got := a.names("name"); !strings.HasPrefix(got, "feat/000 feat/001 ") || len(a.list()) != 20 {
		t.Errorf("branches: %s", got)
	}
	if got := b.as(dev).get(repository + "branches?page=2").names("name"); got != "feat/020 main" {
		t.Errorf("second page: %s", got)
	}
	for query, want := range map[string]string{
		"search=MAI": "main", "search=^feat/00&per_page=2": "feat/000 feat/001", "search=05$": "feat/005", "search=^main$": "main",
		"regex=^feat/01[89]$": "feat/018 feat/019", "search=nothing": "",
	} {
		if got := b.as(dev).get(repository + "branches?" + query).names("name"); got != want {
			t.Errorf("%s: %s", query, got)
		}
	}
	b.as(dev).get(repository+"branches?regex=(").text(400, `{"error":"regex is an invalid regular expression"}`)
	var main branchShape
	b.as(dev).get(repository + "branches/main").want(200).into(&main)
	if !main.Protected || !main.Default || main.CanPush || main.DevelopersCanPush || !main.DevelopersCanMerge || main.Commit.ID != commitID(45) ||
		main.Commit.CommittedDate == nil || main.Commit.Title == "" || len(main.Commit.ParentIDs) != 1 || main.Commit.Trailers == nil {
		t.Errorf("main: %+v", main)
	}
	b.as(ann).get(repository + "branches/main").want(200).into(&main)
	if !main.CanPush {
		t.Error("the owner cannot push to main")
	}
	for _, name := range []string{"feat%2F001", "feat/001"} {
		b.as(dev).get(repository + "branches/" + name).want(200).into(&main)
		if main.Name != "feat/001" || main.Protected || !main.CanPush {
			t.Errorf("%s: %+v", name, main)
		}
	}
	b.as(dev).get(repository+"branches/absent").text(404, `{"message":"404 Branch Not Found"}`)
	b.as(dev).get(repository+"branches/..%2Fx").text(404, `{"message":"404 Branch Not Found"}`)
	b.as(dev).get(repository+"branches/"+commitID(1)).text(404, `{"message":"404 Branch Not Found"}`)
	b.as(guest).get(repository+"branches").text(403, `{"message":"403 Forbidden"}`)
}

func TestBranches_write(t *testing.T) {
	t.Parallel()
	b, ann, dev, guest := filled(t)
	branches := repository + "branches"
	var made branchShape
	b.as(dev).post(branches, map[string]any{"branch": "fix/1", "ref": "v1"}).want(201).into(&made)
	if made.Name != "fix/1" || made.Commit.ID != commitID(1) {
		t.Errorf("made: %+v", made)
	}
	b.as(dev).send("POST", branches+"?branch=fix/2&ref="+commitID(3), nil).want(201)
	b.as(dev).post(branches, map[string]any{"branch": "fix/1", "ref": "main"}).text(400, `{"message":"Branch already exists"}`)
	b.as(dev).post(branches, map[string]any{"branch": "a..b", "ref": "main"}).text(400, `{"message":"Branch name is invalid"}`)
	b.as(dev).post(branches, map[string]any{"branch": commitID(1), "ref": "main"}).text(400, `{"message":"Branch name is invalid"}`)
	b.as(dev).post(branches, map[string]any{"branch": "x", "ref": "absent"}).
		text(400, `{"message":"Failed to create branch 'x': invalid reference name 'absent'"}`)
	b.as(dev).post(branches, map[string]any{"branch": "x", "ref": "--all"}).want(400)
	b.as(dev).post(branches, map[string]any{"branch": "x", "ref": ""}).text(400, `{"error":"ref is missing"}`)
	b.as(guest).post(branches, map[string]any{"branch": "x", "ref": "main"}).text(403, `{"message":"403 Forbidden"}`)

	b.as(dev).delete(branches+"/fix%2F1").text(204, "")
	b.as(dev).delete(branches+"/fix%2F1").text(404, `{"message":"404 Branch Not Found"}`)
	b.as(ann).delete(branches+"/main").text(405, `{"message":"Cannot remove HEAD branch"}`)
	b.as(ann).post("projects/ann%2Fp/protected_branches", map[string]any{"name": "feat/*"}).want(201)
	b.as(dev).delete(branches+"/feat%2F001").text(403, `{"message":"403 Forbidden - You are not allowed to delete protected branches from this project. `+
		`Only a project maintainer or owner can delete a protected branch."}`)
	b.as(ann).delete(branches+"/feat%2F001").text(204, "")
	b.as(ann).post("projects/ann%2Fp/archive", nil).want(201)
	b.as(ann).delete(branches + "/feat%2F002").want(403)
}

func TestBranches_hooksRefuse(t *testing.T) {
	t.Parallel()
	b, _, dev, _ := filled(t)
	create, err := status.New(codes.PermissionDenied, "denied").WithDetails(&gitalypb.UserCreateBranchError{
		Error: &gitalypb.UserCreateBranchError_CustomHook{CustomHook: &gitalypb.CustomHookError{Stderr: []byte("GitLab: not today\n")}},
	})
	b.must(err)
	b.gitaly.hook = create.Err()
	b.as(dev).post(repository+"branches", map[string]any{"branch": "x", "ref": "main"}).text(403, `{"message":"403 Forbidden - not today"}`)
	remove, err := status.New(codes.PermissionDenied, "denied").WithDetails(&gitalypb.UserDeleteBranchError{
		Error: &gitalypb.UserDeleteBranchError_AccessCheck{AccessCheck: &gitalypb.AccessCheckError{ErrorMessage: "no"}},
	})
	b.must(err)
	b.gitaly.hook = remove.Err()
	b.as(dev).delete(repository+"branches/feat%2F001").text(403, `{"message":"403 Forbidden - no"}`)
	for code, want := range map[codes.Code]int{
		codes.Unimplemented: 501, codes.Unavailable: 503, codes.Internal: 500, codes.AlreadyExists: 400, codes.FailedPrecondition: 400,
	} {
		b.gitaly.hook = status.Error(code, "secret text of gitaly")
		if a := b.as(dev).post(repository+"branches", map[string]any{"branch": "x", "ref": "main"}).want(want); strings.Contains(a.Body.String(), "secret") {
			t.Errorf("%v: %s", code, a.Body.String())
		}
	}
}

func TestCommits(t *testing.T) {
	t.Parallel()
	b, _, dev, guest := filled(t)
	a := b.as(dev).get(repository+"commits?per_page=20&page=2").header("X-Total", "").header("X-Next-Page", "3").header("X-Prev-Page", "1")
	if got := a.list(); len(got) != 20 || got[0]["id"] != commitID(25) {
		t.Errorf("second page: %d of %v", len(got), got[0]["id"])
	}
	if got := b.as(dev).get(repository+"commits?page=3").header("X-Next-Page", "").list(); len(got) != 5 {
		t.Errorf("last page: %d", len(got))
	}
	if got := b.as(dev).get(repository + "commits?ref_name=v1").list(); len(got) != 1 || got[0]["id"] != commitID(1) {
		t.Errorf("of the tag: %v", got)
	}
	b.as(dev).get(repository+"commits?ref_name=absent").text(404, `{"message":"404 Ref Not Found"}`)
	b.as(dev).get(repository+"commits?path=../x").text(400, `{"error":"path is invalid"}`)
	b.as(dev).get(repository+"commits?since=yesterday").text(400, `{"error":"since is invalid"}`)
	b.as(guest).get(repository+"commits").text(403, `{"message":"403 Forbidden"}`)

	var c struct {
		ID           string
		AuthoredDate string          `json:"authored_date"`
		LastPipeline json.RawMessage `json:"last_pipeline"`
		ProjectID    int64           `json:"project_id"`
		Status       *string
		Stats        *struct{ Additions, Deletions, Total int }
	}
	for _, ref := range []string{"main", "HEAD", commitID(45), "feat%2F001", "refs%2Fheads%2Fmain", commitID(45)[:39]} {
		b.as(dev).get(repository + "commits/" + ref).want(200).into(&c)
		if !strings.HasPrefix(commitID(45), c.ID[:39]) || c.Stats == nil || c.Stats.Total != 4 || string(c.LastPipeline) != "null" {
			t.Errorf("%s: %+v", ref, c)
		}
	}
	if c.AuthoredDate != "2023-11-15T03:43:20.000+05:30" {
		t.Errorf("date: %s", c.AuthoredDate)
	}
	c.Stats = nil
	b.as(dev).get(repository + "commits/main?stats=false").want(200).into(&c)
	if c.Stats != nil {
		t.Error("stats were not asked for")
	}
	for _, ref := range []string{"absent", "--all", "main..v1", "HEAD~1", commitID(99), "%2E%2E"} {
		b.as(dev).get(repository+"commits/"+ref).text(404, `{"message":"404 Commit Not Found"}`)
	}
}

func TestCommits_empty(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.project(b.root, map[string]any{"path": "p"})
	root := b.as(b.root)
	root.get("projects/root%2Fp/repository/commits").text(200, "[]")
	root.get("projects/root%2Fp/repository/branches").text(200, "[]").header("X-Total", "0")
	root.get("projects/root%2Fp/repository/tree").text(404, `{"message":"404 Tree Not Found"}`)
	root.get("projects/root%2Fp/repository/files/README.md").text(404, `{"message":"404 Commit Not Found"}`)
}

func TestTree(t *testing.T) {
	t.Parallel()
	b, _, dev, _ := filled(t)
	if got := b.as(dev).get(repository+"tree").header("X-Total", "3").names("path"); got != "README.md bin lib" {
		t.Errorf("root: %s", got)
	}
	entries := b.as(dev).get(repository + "tree?path=bin&ref=main").list()
	if len(entries) != 1 || entries[0]["path"] != "bin/run" || entries[0]["name"] != "run" || entries[0]["type"] != "blob" || entries[0]["mode"] != "100755" {
		t.Errorf("bin: %v", entries)
	}
	if got := b.as(dev).get(repository + "tree?recursive=true&per_page=4&page=2").names("path"); got != "lib/deep lib/deep/a.txt" {
		t.Errorf("recursive: %s", got)
	}
	a := b.as(dev).get(repository+"tree?pagination=keyset&per_page=2").header("X-Total", "")
	if got := a.names("path"); got != "README.md bin" {
		t.Errorf("by key: %s", got)
	}
	next := strings.TrimPrefix(strings.TrimSuffix(a.Header().Get("Link"), `>; rel="next"`), "<https://git.example/api/v4/")
	if got := b.as(dev).get(next).header("Link", "").names("path"); got != "lib" {
		t.Errorf("by key from %s: %s", next, got)
	}
	b.as(dev).get(repository+"tree?ref=absent").text(404, `{"message":"404 Tree Not Found"}`)
	b.as(dev).get(repository+"tree?path=absent").text(404, `{"message":"404 invalid revision or path Not Found"}`)
	b.as(dev).get(repository+"tree?path=../..").text(400, `{"error":"path should be a valid file path"}`)
}

func TestFiles(t *testing.T) {
	t.Parallel()
	b, _, dev, guest := filled(t)
	want := `{"file_name":"README.md","file_path":"README.md","size":5,"encoding":"base64",` +
		`"content_sha256":"045d2d07c2db3b9e6cef022457ee89434045a508c2dadccf9abe182ad633c273","ref":"main","blob_id":"` + commitID(7) +
		`","commit_id":"` + commitID(45) + `","last_commit_id":"` + commitID(1) + `","execute_filemode":false,"content":"IyBoaQo="}`
	for _, query := range []string{"?ref=main", "", "?ref=", "?ref=HEAD"} {
		b.as(dev).get(repository+"files/README%2Emd"+query).text(200, want).header("X-Gitlab-Last-Commit-Id", commitID(1)).
			header("X-Gitlab-Content-Sha256", "045d2d07c2db3b9e6cef022457ee89434045a508c2dadccf9abe182ad633c273")
	}
	b.as(dev).get(repository+"files/absent.md").text(404, `{"message":"404 File Not Found"}`)
	b.as(dev).get(repository+"files/bin").text(404, `{"message":"404 File Not Found"}`)
	b.as(dev).get(repository+"commits/main%00").text(404, `{"message":"404 Not found"}`)
	b.as(guest).get(repository+"files/README.md").text(403, `{"message":"403 Forbidden"}`)
}
