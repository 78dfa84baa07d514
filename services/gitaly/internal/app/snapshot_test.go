package app_test

import (
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/proto/go/gitalypb"
)

func TestRepositoryService_GetSnapshot(t *testing.T) {
	t.Parallel()
	x := withOddNames(t)
	// A fork borrows what it does not have of its own: a loose object, a pack, a
	// reference of each kind, and what must stay behind.
	fork := odd{bundle: x.bundle, dir: x.create(t, "fork.git")}
	if err := writeFile(filepath.Join(fork.dir, "objects/info/alternates"), "../../"+rel+"/objects\n"); err != nil {
		t.Fatal(err)
	}
	x.feed(t, nil, "repack", "-a", "-d", "-q")
	main := strings.TrimSpace(x.feed(t, nil, "rev-parse", "main"))
	fork.feed(t, nil, "update-ref", "refs/heads/packed", main)
	fork.feed(t, nil, "pack-refs", "--all")
	blob := strings.TrimSpace(fork.feed(t, []byte("loose"), "hash-object", "-w", "--stdin"))
	fork.feed(t, nil, "update-ref", "refs/heads/main", main)
	for _, name := range []string{"refs/heads/x.lock", "custom_hooks/update", "objects/pack/tmp_pack_x", "logs/HEAD", "objects/tmp_objdir-incoming-x/aa"} {
		if err := writeFile(filepath.Join(fork.dir, name), "x"); err != nil {
			t.Fatal(err)
		}
	}
	get := func(rel string) ([]byte, error) {
		return gather(x.repos.GetSnapshot(t.Context(), &gitalypb.GetSnapshotRequest{Repository: repository(rel)}))
	}
	data, err := get("fork.git")
	if err != nil {
		t.Fatal(err)
	}
	list := runProgram(t, data, "tar", "-t")
	for _, wanted := range []string{"HEAD\n", "packed-refs\n", "refs/heads/main\n", "objects/" + blob[:2] + "/" + blob[2:] + "\n", ".pack\n", ".idx\n"} {
		if !strings.Contains(list, wanted) {
			t.Errorf("no %q in\n%s", wanted, list)
		}
	}
	for _, unwanted := range []string{"config", "hooks", "lock", "tmp_pack", "logs", "incoming-x/", "alternates"} {
		if strings.Contains(list, unwanted) {
			t.Errorf("%q in\n%s", unwanted, list)
		}
	}
	again := odd{dir: t.TempDir()}
	runProgram(t, data, "tar", "-x", "-C", again.dir)
	if got, want := again.feed(t, nil, "show-ref", "--head"), fork.feed(t, nil, "show-ref", "--head"); got != want {
		t.Errorf("references of the copy:\n%s\nwant\n%s", got, want)
	}
	again.feed(t, nil, "fsck", "--strict")

	for _, outside := range []string{"/etc", "../../../x", x.bundle.dir + "/../x"} {
		if err := writeFile(filepath.Join(fork.dir, "objects/info/alternates"), outside+"\n"); err != nil {
			t.Fatal(err)
		}
		_, err := get("fork.git")
		if status.Code(err) != codes.FailedPrecondition || status.Convert(err).Message() != "repository borrows from outside of its storage" {
			t.Errorf("alternate %q: %v", outside, err)
		}
	}
	if err := writeFile(filepath.Join(fork.dir, "objects/info/alternates"), "../objects\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := get("fork.git"); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("an alternate of itself: %v", err)
	}
}
