package rpc

import (
	"bytes"
	"context"

	"google.golang.org/grpc/codes"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/commit"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/operation"
	"gitsplit/services/gitaly/internal/ref"
)

// UserCreateTag makes a tag, annotated if there is a message.
func (s Operation) UserCreateTag(ctx context.Context, req *gitalypb.UserCreateTagRequest) (*gitalypb.UserCreateTagResponse, error) {
	repo, err := s.standing(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	if err := checkTag(req); err != nil {
		return nil, err
	}
	w, done, err := s.begin(ctx, req.GetRepository(), repo, req.GetUser())
	if err != nil {
		return nil, err
	}
	defer done()
	change := ref.Change{Name: ref.Tags + string(req.GetTagName())}
	tag, err := s.makeTag(ctx, w, req, &change)
	if err != nil {
		return nil, err
	}
	if info, err := w.Objects.Info(change.Name); err == nil {
		return nil, detailed(codes.AlreadyExists, "tag reference exists already", &gitalypb.UserCreateTagError{
			Error: &gitalypb.UserCreateTagError_ReferenceExists{ReferenceExists: &gitalypb.ReferenceExistsError{
				ReferenceName: []byte(change.Name), Oid: info.OID,
			}},
		})
	} else if errs.KindOf(err) != errs.NotFound {
		return nil, err
	}
	change.Old = ref.ZeroOID(change.New)
	if err := tagRefused(w.Move(ctx, change), req.GetUser(), change); err != nil {
		return nil, err
	}
	return &gitalypb.UserCreateTagResponse{Tag: tag}, nil
}

func checkTag(req *gitalypb.UserCreateTagRequest) error {
	if len(req.GetTagName()) == 0 {
		return invalid("empty tag name")
	}
	if err := ref.CheckRevision(string(req.GetTagName())); err != nil {
		return invalid("invalid tag name: " + errs.Message(err))
	}
	switch {
	case !ref.ValidShort(string(req.GetTagName())):
		return invalid("invalid tag name")
	case req.GetUser() == nil:
		return invalid("empty user")
	case len(req.GetTargetRevision()) == 0:
		return invalid("empty target revision")
	case bytes.IndexByte(req.GetMessage(), 0) >= 0:
		return invalid("tag message contains NUL byte")
	}
	return ref.CheckRevision(string(req.GetTargetRevision()))
}

// makeTag makes the object of an annotated tag, and sets what the reference shall
// point at. Another tag is pointed at by annotated tags only.
func (s Operation) makeTag(ctx context.Context, w *operation.Work, req *gitalypb.UserCreateTagRequest, change *ref.Change) (*gitalypb.Tag, error) {
	revision := string(req.GetTargetRevision())
	info, err := w.Objects.Info(revision)
	if errs.KindOf(err) == errs.NotFound {
		return nil, errs.Newf(errs.FailedPrecondition, "revspec '%s' not found", revision)
	}
	if err != nil {
		return nil, err
	}
	peeled, err := w.Objects.Info(info.OID + "^{}")
	if err != nil {
		return nil, err
	}
	tag := &gitalypb.Tag{Name: req.GetTagName(), Id: peeled.OID}
	if len(bytes.TrimSpace(req.GetMessage())) > 0 {
		if err := s.annotate(ctx, w, req, info, tag); err != nil {
			return nil, err
		}
	}
	change.New = tag.GetId()
	if peeled.Type != "commit" {
		return tag, nil
	}
	_, raw, err := w.Objects.Contents(peeled.OID)
	if err != nil {
		return nil, err
	}
	tag.TargetCommit, err = commit.Parse(peeled.OID, raw)
	return tag, err
}

func (s Operation) annotate(ctx context.Context, w *operation.Work, req *gitalypb.UserCreateTagRequest, info object.Info, tag *gitalypb.Tag) error {
	tagger, err := s.Operations.Sign(req.GetUser(), req.GetTimestamp())
	if err != nil {
		return err
	}
	if tag.Id, err = w.Tag(ctx, string(req.GetTagName()), info, req.GetMessage(), tagger); err != nil {
		return err
	}
	_, raw, err := w.Objects.Contents(tag.GetId())
	if err != nil {
		return err
	}
	made, _, err := commit.ParseTag(tag.GetId(), raw)
	tag.Message, tag.MessageSize = made.GetMessage(), made.GetMessageSize()
	return err
}

func tagRefused(err error, user *gitalypb.User, c ref.Change) error {
	r, refused := asRefused(err)
	switch {
	case refused && r.Custom:
		return detailed(codes.PermissionDenied, "reference update denied by custom hooks: "+r.Error(), &gitalypb.UserCreateTagError{
			Error: &gitalypb.UserCreateTagError_CustomHook{CustomHook: customHook(r)},
		})
	case refused:
		return detailed(codes.PermissionDenied, "reference update denied by access checks: "+r.Error(), &gitalypb.UserCreateTagError{
			Error: &gitalypb.UserCreateTagError_AccessCheck{AccessCheck: accessCheck(r, user, c)},
		})
	case errs.KindOf(err) == errs.Conflict:
		return detailed(codes.FailedPrecondition, "reference update failed: "+changedText(c.Name), &gitalypb.UserCreateTagError{
			Error: &gitalypb.UserCreateTagError_ReferenceUpdate{ReferenceUpdate: referenceUpdate(c)},
		})
	}
	return err
}

// UserDeleteTag removes a tag. A no of the hooks is part of a good answer.
func (s Operation) UserDeleteTag(ctx context.Context, req *gitalypb.UserDeleteTagRequest) (*gitalypb.UserDeleteTagResponse, error) {
	repo, err := s.standing(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	change := ref.Change{Name: ref.Tags + string(req.GetTagName()), Old: req.GetExpectedOldOid()}
	switch {
	case len(req.GetTagName()) == 0:
		return nil, invalid("empty tag name")
	case req.GetUser() == nil:
		return nil, invalid("empty user")
	case !ref.Valid(change.Name):
		return nil, invalid("invalid tag name")
	case change.Old != "" && !ref.ValidOID(change.Old):
		return nil, errs.Newf(errs.Invalid, "invalid expected old object ID: %q", change.Old)
	}
	if change.Old == "" {
		if change.Old, err = s.refOID(ctx, &repo.Repo, change.Name); err != nil {
			return nil, err
		}
	}
	if change.Old == "" {
		return nil, errs.Newf(errs.FailedPrecondition, "tag not found: %s", req.GetTagName())
	}
	change.New = ref.ZeroOID(change.Old)
	err = s.Operations.Move(ctx, operation.Push{Request: requestBy(ctx, req.GetRepository(), repo, req.GetUser()), Change: change})
	if r, ok := asRefused(err); ok {
		return &gitalypb.UserDeleteTagResponse{PreReceiveError: r.Error()}, nil
	}
	return &gitalypb.UserDeleteTagResponse{}, changed(err, change.Name)
}
