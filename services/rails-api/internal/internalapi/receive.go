package internalapi

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"gitsplit/kit/errs"
	points "gitsplit/kit/fault"
	wire "gitsplit/kit/internalapi"
	"gitsplit/kit/logging"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/event"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/refname"
	"gitsplit/services/rails-api/internal/user"
)

// preReceive answers POST /internal/pre_receive: a push begins. When Redis is down
// the push goes on uncounted, since false would refuse it. It is refused here when the
// project was removed since the access check, or its repository made read-only, or moved.
func (a *api) preReceive(r *http.Request, body []byte) (any, error) {
	ctx := r.Context()
	req, err := decode[wire.PreReceiveRequest](body)
	if err != nil {
		return nil, err
	}
	id, ok := project.IDOf(req.GLRepository)
	if !ok {
		return nil, badRequest("gl_repository is missing or invalid")
	}
	if err := pushID(req.PushID); err != nil {
		return nil, err
	}
	countErr := a.Counter.Begin(ctx, req.GLRepository, req.PushID)
	if countErr != nil {
		a.Log.WarnContext(ctx, "push not counted", slog.Any(logging.KeyError, countErr))
	}
	admitted, err := a.projects.Admit(ctx, id, req.RelativePath, countErr == nil)
	if err == nil && admitted {
		return wire.PreReceiveResponse{ReferenceCounterIncreased: true}, nil
	}
	if countErr == nil {
		a.uncount(ctx, req)
	}
	if err == nil {
		err = access.ReadOnly()
	} else if errs.KindOf(err) == errs.NotFound {
		err = access.Gone()
	}
	return refusal(ctx, err)
}

// uncount takes back the count of a push that is refused after all.
func (a *api) uncount(ctx context.Context, req wire.PreReceiveRequest) {
	const limit = 3 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	if err := a.Counter.End(ctx, req.GLRepository, req.PushID); err != nil {
		a.Log.WarnContext(ctx, "push not counted", slog.Any(logging.KeyError, err))
	}
}

// pushID refuses what is no identity of a push; "" is the report of who knows none.
func pushID(id string) error {
	const digits = 32
	if id != "" && (len(id) != digits || strings.Trim(id, "0123456789abcdef") != "") {
		return badRequest("push_id is invalid")
	}
	return nil
}

// recordTime bounds the recording of a push.
const recordTime = 30 * time.Second

// postReceive answers POST /internal/post_receive: git has moved the references
// (wire/internal-api.md §3.7). The push is recorded before anything is said. The
// report of a push with an identity may come again: it changes nothing then, and is
// answered as the first was, less the notices that were taken with that.
func (a *api) postReceive(r *http.Request, body []byte) (any, error) {
	// The references have moved: who pushed may be gone, the record is made all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), recordTime)
	defer cancel()
	req, err := decode[wire.PostReceiveRequest](body)
	if err != nil {
		return nil, err
	}
	if err := clientContext(req.ClientContext); err != nil {
		return nil, err
	}
	if err := pushID(req.PushID); err != nil {
		return nil, err
	}
	changes, err := access.ParseChanges(req.Changes)
	if err != nil {
		return nil, err
	}
	if err := a.Counter.End(ctx, req.GLRepository, req.PushID); err != nil {
		a.Log.WarnContext(ctx, "push not counted", slog.Any(logging.KeyError, err))
	}
	answer := wire.PostReceiveResponse{Messages: []wire.Message{}, ReferenceCounterDecreased: true}
	p, err := a.pushed(ctx, req, changes)
	if errs.KindOf(err) == errs.NotFound { // gone meanwhile
		return answer, nil
	}
	if err != nil {
		return nil, err
	}
	for _, text := range a.texts(ctx, p) {
		answer.Messages = append(answer.Messages, wire.Message{Message: text, Type: wire.MessageBasic})
	}
	return answer, nil
}

// pushed records a push and returns it with the project as it is afterwards.
func (a *api) pushed(ctx context.Context, req wire.PostReceiveRequest, changes []access.Change) (event.Push, error) {
	push := event.Push{ID: req.PushID, Options: pushOptions(req.PushOptions), Changes: changes}
	id, ok := project.IDOf(req.GLRepository)
	if !ok {
		return push, errs.Newf(errs.NotFound, "Invalid GL Repository %q", req.GLRepository)
	}
	var err error
	if push.Project, err = a.projects.ByID(ctx, id); err != nil {
		return push, err
	}
	logging.AddAttrs(ctx, slog.String(logging.KeyProject, push.Project.FullPath))
	if err := a.pusher(ctx, req.Identifier, &push); err != nil {
		return push, err
	}
	if len(changes) == 0 {
		return push, nil
	}
	branch, err := a.Events.Record(ctx, push)
	if err != nil {
		return push, err
	}
	if points.Enabled {
		points.Point(ctx, points.AfterCommit, req.GLRepository)
	}
	a.refresh(ctx, push, branch)
	push.Project.DefaultBranch = branch
	return push, nil
}

// pusher fills in who pushed; an orphaned key leaves it open.
func (a *api) pusher(ctx context.Context, identifier string, push *event.Push) error {
	w := identified(identifier)
	push.KeyID, push.UserID, push.Protocol = w.KeyID, w.UserID, "http"
	var u user.User
	var err error
	switch {
	case w.KeyID != 0:
		push.Protocol = "ssh"
		k, keyErr := a.keys.ByID(ctx, w.KeyID)
		if err = keyErr; err == nil {
			u, err = a.users.ByID(ctx, k.UserID)
		}
	case w.UserID != 0:
		u, err = a.users.ByID(ctx, w.UserID)
	default:
		u, err = a.users.ByUsername(ctx, w.Username)
	}
	if err != nil && errs.KindOf(err) != errs.NotFound {
		return err
	}
	push.UserID = u.ID
	logging.AddAttrs(ctx, slog.String(logging.KeyUser, u.Username))
	return nil
}

// pushOptions keeps what security-baseline V7 admits.
func pushOptions(list []string) []string {
	const most, longest = 50, 1024
	kept := []string{}
	for _, o := range list {
		if len(kept) < most && len(o) <= longest && printable(o) {
			kept = append(kept, o)
		}
	}
	return kept
}

// refresh does at once what the next reader would miss; the job does it again.
func (a *api) refresh(ctx context.Context, push event.Push, branch string) {
	const limit = 3 * time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	before := push.Project
	if slices.ContainsFunc(push.Changes, func(c access.Change) bool {
		return strings.HasPrefix(c.Ref, refname.Heads) && (c.Creates() || c.Deletes())
	}) {
		if err := a.Branches.Expire(ctx, before.GLRepository()); err != nil {
			a.Log.WarnContext(ctx, "branch names not refreshed", slog.Any(logging.KeyError, err))
		}
	}
	if branch == before.DefaultBranch {
		return
	}
	if err := a.Gitaly.SetDefaultBranch(ctx, before, branch); err != nil {
		a.Log.WarnContext(ctx, "HEAD not moved yet, left to the job", slog.Any(logging.KeyError, err))
	}
}

// texts are the lines for the pusher's terminal, in the order of
// wire/internal-api.md §3.7.
func (a *api) texts(ctx context.Context, p event.Push) []string {
	texts := a.links(p)
	notices, err := a.Notices.Take(ctx, p.UserID, p.Project.GLRepository())
	if err != nil {
		a.Log.WarnContext(ctx, "notices not read", slog.Any(logging.KeyError, err))
	}
	return append(texts, notices...)
}

// maxLinks bounds the links of one push: nobody reads more.
const maxLinks = 20

func (a *api) links(p event.Push) []string {
	texts := []string{}
	for _, c := range p.Changes {
		branch, ok := strings.CutPrefix(c.Ref, refname.Heads)
		if !ok || c.Deletes() || branch == p.Project.DefaultBranch || !p.Project.MergeRequestLinks || len(texts) == maxLinks {
			continue
		}
		texts = append(texts, "To create a merge request for "+branch+", visit:\n  "+a.Site.NewMergeRequest(p.Project.FullPath, branch))
	}
	return texts
}
