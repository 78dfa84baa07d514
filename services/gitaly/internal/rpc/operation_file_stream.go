package rpc

import (
	"context"
	"encoding/base64"
	"errors"
	"io"

	"gitsplit/kit/errs"
	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/operation"
)

// fileStream reads the changes of UserCommitFiles as they come: for each a header,
// then its content in pieces, which need not be read.
type fileStream struct {
	recv   func() (*gitalypb.UserCommitFilesRequest, error)
	ahead  *gitalypb.UserCommitFilesActionHeader // was read while looking for content
	inside bool                                  // content may follow
	ended  bool
}

// next returns the header of the next change, io.EOF after the last.
func (f *fileStream) next() (*gitalypb.UserCommitFilesActionHeader, error) {
	for f.ahead == nil {
		if f.ended {
			return nil, io.EOF
		}
		first := !f.inside
		if _, err := f.content(); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		} else if err == nil && first {
			return nil, invalid("content sent before action")
		}
	}
	header := f.ahead
	f.ahead, f.inside = nil, true
	return header, nil
}

// content returns the next piece of the present change, io.EOF after the last.
func (f *fileStream) content() ([]byte, error) {
	if f.ahead != nil || f.ended {
		return nil, io.EOF
	}
	req, err := f.recv()
	if errors.Is(err, io.EOF) {
		f.ended = true
	}
	if err != nil {
		return nil, err
	}
	switch payload := req.GetAction().GetUserCommitFilesActionPayload().(type) {
	case *gitalypb.UserCommitFilesAction_Header:
		f.ahead = payload.Header
		return nil, io.EOF
	case *gitalypb.UserCommitFilesAction_Content:
		return payload.Content, nil
	}
	return nil, invalid("empty UserCommitFilesAction")
}

// apply carries one change out.
func (f *fileStream) apply(ctx context.Context, files *operation.Files, h *gitalypb.UserCommitFilesActionHeader) error {
	path := string(h.GetFilePath())
	content := io.Reader(streamio.NewReader(f.content))
	if h.GetBase64Content() {
		content = unbase64{base64.NewDecoder(base64.StdEncoding, content)}
	}
	switch h.GetAction() {
	case gitalypb.UserCommitFilesActionHeader_CREATE:
		return files.Create(ctx, path, h.GetExecuteFilemode(), content)
	case gitalypb.UserCommitFilesActionHeader_CREATE_DIR:
		return files.CreateDir(ctx, path)
	case gitalypb.UserCommitFilesActionHeader_UPDATE:
		return files.Update(ctx, path, content)
	case gitalypb.UserCommitFilesActionHeader_MOVE:
		if h.GetInferContent() {
			content = nil
		}
		return files.Move(ctx, string(h.GetPreviousPath()), path, content)
	case gitalypb.UserCommitFilesActionHeader_DELETE:
		return files.Delete(path)
	case gitalypb.UserCommitFilesActionHeader_CHMOD:
		return files.Chmod(path, h.GetExecuteFilemode())
	}
	return errs.Newf(errs.Invalid, "unknown action %d", h.GetAction())
}

// unbase64 says whose fault it is that content is no base64.
type unbase64 struct{ r io.Reader }

func (u unbase64) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	var corrupt base64.CorruptInputError
	if errors.As(err, &corrupt) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errs.Wrap(errs.Invalid, "content is not base64", err)
	}
	return n, err
}
