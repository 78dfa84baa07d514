package rpc

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/pack"
	"gitsplit/services/gitaly/internal/ref"
	"gitsplit/services/gitaly/internal/remote"
)

// maxRefmaps bounds the refspecs of a request: they are arguments of git.
const maxRefmaps = 256

// FetchRemote brings references up to date with a remote repository.
func (s Repository) FetchRemote(ctx context.Context, req *gitalypb.FetchRemoteRequest) (*gitalypb.FetchRemoteResponse, error) {
	repo, err := s.standing(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	params := req.GetRemoteParams()
	refspecs, err := refmaps(params.GetMirrorRefmaps())
	switch {
	case params == nil:
		return nil, invalid("missing remote params")
	case params.GetUrl() == "":
		return nil, invalid("blank or empty remote URL")
	case err != nil:
		return nil, err
	case req.GetTimeout() < 0:
		return nil, invalid("negative timeout")
	}
	if req.GetTimeout() > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(req.GetTimeout())*time.Second)
		defer cancel()
	}
	from, err := s.Outbound.CheckAny(ctx, remote.Target{
		URL: params.GetUrl(), Authorization: params.GetHttpAuthorizationHeader(), Resolved: params.GetResolvedAddress(),
		Key: req.GetSshKey(), KnownHosts: req.GetKnownHosts(),
	})
	if err != nil {
		return nil, err
	}
	o := remote.FetchOptions{Refspecs: refspecs, Force: req.GetForce(), Prune: !req.GetNoPrune(), Tags: remote.AllTags}
	if req.GetNoTags() {
		o.Tags = remote.NoTags
	}
	return s.fetchRemote(ctx, &repo.Repo, from, o, req.GetCheckTagsChanged())
}

// fetchRemote fetches and compares the references before and after.
func (s Repository) fetchRemote(ctx context.Context, repo *gitcmd.Repo, from remote.Remote, o remote.FetchOptions, tags bool) (*gitalypb.FetchRemoteResponse, error) {
	before, err := s.digest(ctx, repo)
	if err != nil {
		return nil, err
	}
	began := s.Now()
	if err := s.Remotes.Fetch(ctx, repo, from, o); err != nil {
		return nil, err
	}
	if err := pack.SyncChanged(repo.Dir, began); err != nil {
		return nil, err
	}
	after, err := s.digest(ctx, repo)
	if err != nil {
		return nil, err
	}
	return &gitalypb.FetchRemoteResponse{TagsChanged: !tags || before.tags != after.tags, RepoChanged: before != after}, nil
}

// digest stands for the references of a repository and what they point at.
type digest struct{ tags, others [sha256.Size]byte }

func (s Repository) digest(ctx context.Context, repo *gitcmd.Repo) (digest, error) {
	tags, others := sha256.New(), sha256.New()
	err := ref.List(ctx, s.Git, repo, ref.Query{}, func(r ref.Ref) error {
		h := others
		if ref.IsTag(r.Name) {
			h = tags
		}
		_, err := fmt.Fprintf(h, "%s %s\n", r.OID, r.Name)
		return err
	})
	return digest{[sha256.Size]byte(tags.Sum(nil)), [sha256.Size]byte(others.Sum(nil))}, err
}

// refmaps turns what a request says about references into refspecs.
func refmaps(maps []string) ([]string, error) {
	if len(maps) == 0 {
		maps = []string{"all_refs"}
	}
	if len(maps) > maxRefmaps {
		return nil, invalid("too many mirror refmaps")
	}
	known := map[string]string{"all_refs": "refs/*:refs/*", "heads": "refs/heads/*:refs/heads/*", "tags": "refs/tags/*:refs/tags/*"}
	specs := make([]string, 0, len(maps))
	for _, m := range maps {
		spec, ok := known[m]
		if !ok {
			spec = m
		}
		if err := remote.CheckRefspec(spec); err != nil {
			return nil, err
		}
		specs = append(specs, spec)
	}
	return specs, nil
}

// FetchSourceBranch copies a branch of another repository to a reference of this
// one, with the objects that it needs.
func (s Repository) FetchSourceBranch(ctx context.Context, req *gitalypb.FetchSourceBranchRequest) (*gitalypb.FetchSourceBranchResponse, error) {
	repo, err := s.standing(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	target, old := string(req.GetTargetRef()), req.GetExpectedTargetOldOid()
	if err := ref.CheckRevision(string(req.GetSourceBranch())); err != nil {
		return nil, err
	}
	switch {
	case !ref.Valid(target):
		return nil, invalid("invalid target reference")
	case old != "" && !ref.ValidOID(old):
		return nil, invalid("invalid expected target object ID")
	case req.GetSourceRepository() == nil:
		return nil, invalid("empty SourceRepository")
	}
	source, err := s.source(ctx, req.GetSourceRepository())
	if err != nil {
		return nil, err
	}
	oid, err := source.Resolve(ctx, string(req.GetSourceBranch()))
	if err != nil || oid == "" {
		return &gitalypb.FetchSourceBranchResponse{}, err
	}
	began := s.Now()
	found, err := s.Clones.Source(ctx, repo, source, oid, target, old)
	if err != nil {
		return nil, err
	}
	return &gitalypb.FetchSourceBranchResponse{Result: found}, pack.SyncChanged(repo.Dir, began)
}
